//! Ends of lines and blanks, byte by byte: what `str` has for them decodes characters, and takes
//! most of the time of reading where lines are short.

const NEWLINES: u64 = u64::from_ne_bytes([b'\n'; 8]);
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The length of the first line with its end.
pub(super) fn line_length(text: &[u8]) -> usize {
    let mut rest = text;
    // Eight at a time: the lowest byte that is one less a newline's has its highest bit set.
    while let Some((eight, after)) = rest.split_first_chunk() {
        let differs = u64::from_le_bytes(*eight) ^ NEWLINES;
        let found = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        if found != 0 {
            return text.len() - after.len() - 7 + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
    text.len() - rest.len() + end
}

/// As `str::trim_start`.
pub(super) fn start(text: &str) -> &str {
    let mut rest = text.as_bytes();
    if rest.first().is_some_and(u8::is_ascii_graphic) {
        return text;
    }
    while let [byte, after @ ..] = rest {
        if !is_blank(*byte) {
            break;
        }
        rest = after;
    }
    let trimmed = text.get(text.len() - rest.len()..).unwrap_or_default();
    // Blanks of other alphabets.
    if rest.first().is_some_and(|byte| !byte.is_ascii()) { trimmed.trim_start() } else { trimmed }
}

/// The first byte of a line that `str::trim_start` leaves, if there is one.
#[inline(always)]
pub(super) fn first(line: &[u8]) -> Option<u8> {
    let first = *line.get(position(line, |byte| !is_blank(byte))?)?;
    // A blank of another alphabet, or a letter.
    if !first.is_ascii()
        && let Ok(line) = std::str::from_utf8(line)
    {
        return line.trim_start().bytes().next();
    }
    Some(first)
}

/// Where the first byte is that `is_it` wants. A loop in its place: an iterator's steps are calls
/// where the build is for size.
#[inline(always)]
pub(super) fn position(bytes: &[u8], is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let mut rest = bytes;
    while let [byte, after @ ..] = rest {
        if is_it(*byte) {
            return Some(bytes.len() - rest.len());
        }
        rest = after;
    }
    None
}

/// Adds bytes to others. Most are few, and a call that copies costs more than they do.
#[inline(always)]
pub(super) fn append(to: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() > 16 {
        return to.extend_from_slice(bytes);
    }
    // One by one: only what is known to be a slice is copied by that call.
    to.extend(bytes.iter().copied());
}

/// As `str::trim_end`.
pub(super) fn end(text: &str) -> &str {
    if text.as_bytes().last().is_some_and(u8::is_ascii_graphic) {
        return text;
    }
    let rest = end_of(text.as_bytes(), is_blank);
    let trimmed = text.get(..rest.len()).unwrap_or_default();
    if rest.last().is_some_and(|byte| !byte.is_ascii()) { trimmed.trim_end() } else { trimmed }
}

/// The bytes without those at their end that `is_off` takes off.
#[inline(always)]
pub(super) fn end_of(mut bytes: &[u8], is_off: impl Fn(u8) -> bool) -> &[u8] {
    while let [before @ .., byte] = bytes {
        if !is_off(*byte) {
            break;
        }
        bytes = before;
    }
    bytes
}

/// Blanks among ASCII, as `char::is_whitespace` has them.
#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// What a line ends with.
#[inline(always)]
pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_behind_its_first_newline() {
        for before in 0..20 {
            for filler in [b'x', 0, 0x0b, 0x09, 0x8a, 0xff] {
                let mut text = vec![filler; before];
                assert_eq!(line_length(&text), before);
                text.extend(*b"\n\x0b\n123456789");
                assert_eq!(line_length(&text), before + 1, "{filler}");
            }
        }
    }

    #[test]
    fn they_take_off_what_str_takes_off() {
        for inside in ["", "a", "a b", "ü", "ü \u{3000}x", "\u{1c}", "\u{7f}"] {
            for blanks in ["", " ", "\t \x0b\x0c\r\n", " \u{a0} ", "\u{3000}\t", "\u{85}"] {
                let text = format!("{blanks}{inside}{blanks}");
                assert_eq!(start(&text), text.trim_start(), "{text:?}");
                assert_eq!(end(&text), text.trim_end(), "{text:?}");
            }
        }
    }
}
