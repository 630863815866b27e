//! Flags between an instruction's name and its arguments: `--name`, `--name=value`.

use super::scan;

/// One flag as written, quotes taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The name without the dashes.
    pub name: String,
    /// What follows the `=`, if there is one.
    pub value: Option<String>,
}

/// How many flags a statement may have.
pub(super) const MAX_FLAGS: usize = 1000;

/// How many flags there are in front, and what follows them, without blanks in front. The flags are
/// added to `into` if that is given.
pub(super) fn split<'a>(text: &'a str, mut into: Option<&mut Vec<Flag>>) -> (usize, &'a str) {
    let mut count = 0;
    let mut rest = scan::start(text);
    while matches!(rest.as_bytes(), [b'-', b'-', ..]) && count <= MAX_FLAGS {
        let mut flag = String::new();
        let (length, after) = word(rest, into.is_some().then_some(&mut flag));
        rest = scan::start(after);
        // A bare `--` ends the flags. It is taken off, as BuildKit does.
        if length <= 2 {
            break;
        }
        count += 1;
        if let Some(into) = &mut into {
            let body = flag.get(2..).unwrap_or_default();
            into.push(match body.split_once('=') {
                Some((name, value)) => {
                    Flag { name: name.to_owned(), value: Some(value.to_owned()) }
                }
                None => Flag { name: body.to_owned(), value: None },
            });
        }
    }
    (count, rest)
}

/// The length of one word with its quotes and backslashes taken off, and what follows it. The word
/// itself is added to `into` if that is given.
fn word<'a>(text: &'a str, mut into: Option<&mut String>) -> (usize, &'a str) {
    // Most hold nothing that has to be taken off.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'\\');
    let end = scan::position(text.as_bytes(), |byte| !is_plain(byte));
    let (plain, after) = text.split_at_checked(end.unwrap_or(text.len())).unwrap_or((text, ""));
    if after.bytes().next().is_none_or(scan::is_blank) {
        if let Some(into) = into {
            into.push_str(plain);
        }
        return (plain.len(), after);
    }
    let mut length = 0;
    let mut quote = None;
    let mut chars = text.chars();
    loop {
        let here = chars.as_str();
        let Some(c) = chars.next() else { return (length, here) };
        let letter = match (c, quote) {
            (c, None) if c.is_whitespace() => return (length, here),
            ('\'' | '"', None) => {
                quote = Some(c);
                continue;
            }
            (c, Some(open)) if c == open => {
                quote = None;
                continue;
            }
            // Always the backslash: the escape directive has no say inside flags.
            ('\\', _) => match chars.next() {
                Some(next) => next,
                None => continue,
            },
            (c, _) => c,
        };
        length += letter.len_utf8();
        if let Some(into) = &mut into {
            into.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        for (text, names, rest) in [
            ("--a --b=c d --e", &["a", "b=c"][..], "d --e"),
            ("--chown='a b':c x", &["chown=a b:c"], "x"),
            ("--x=\"a\\\"b\" y", &["x=a\"b"], "y"),
            ("--x=a\\ b y", &["x=a b"], "y"),
            ("--a -- --b", &["a"], "--b"),
            ("-x --a", &[], "-x --a"),
            ("--a=ü", &["a=ü"], ""),
            ("--a=b=c d", &["a=b=c"], "d"),
            ("--a= d", &["a="], "d"),
            ("--a=\\", &["a="], ""),
            ("--'' --a", &[], "--a"),
            ("", &[], ""),
        ] {
            let mut flags = Vec::new();
            let (count, left) = split(text, Some(&mut flags));
            assert_eq!(split(text, None), (count, left), "{text}");
            assert_eq!(count, flags.len(), "{text}");
            let written: Vec<String> = flags
                .iter()
                .map(|flag| match &flag.value {
                    Some(value) => format!("{}={value}", flag.name),
                    None => flag.name.clone(),
                })
                .collect();
            assert_eq!(written, names, "{text}");
            assert_eq!(left, rest, "{text}");
        }
    }
}
