//! Small records that tell damage themselves: their first line is a checksum of the others.
//! Records of before there was one are believed as they are.

use super::checksum;

const START: &str = "sum ";

/// The line with the checksum of a text.
pub(super) fn line(text: &str) -> String {
    format!("{START}{:016x}\n", u64::from_be_bytes(checksum(text.as_bytes())))
}

/// A text with its checksum in front.
pub(super) fn seal(text: &str) -> String {
    line(text) + text
}

/// The text behind a checksum that is right, or a text without one.
pub(super) fn unseal(sealed: &str) -> Option<&str> {
    if !sealed.starts_with(START) {
        return Some(sealed);
    }
    let (_, text) = sealed.split_once('\n')?;
    sealed.strip_prefix(&line(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_is_whole_or_none() {
        let sealed = seal("a 1\nb 2\n");
        assert_eq!(unseal(&sealed), Some("a 1\nb 2\n"));
        assert_eq!(unseal("a 1\n"), Some("a 1\n"));
        assert_eq!(unseal(""), Some(""));
        for end in 4..sealed.len() {
            assert_eq!(unseal(sealed.get(..end).unwrap()), None, "{end}");
        }
        assert_eq!(unseal(&sealed.replace("b 2", "b 3")), None);
    }
}
