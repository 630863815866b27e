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

/// Takes the flags off the front; gives them and what is left, without blanks in front.
pub(super) fn split(text: &str) -> (Vec<Flag>, &str) {
    let mut flags = Vec::new();
    let mut rest = scan::start(text);
    while matches!(rest.as_bytes(), [b'-', b'-', ..]) && flags.len() <= MAX_FLAGS {
        let (word, after) = word(rest);
        rest = scan::start(after);
        // A bare `--` ends the flags. It is taken off, as BuildKit does.
        let Some(body) = word.strip_prefix("--").filter(|body| !body.is_empty()) else { break };
        flags.push(match body.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Flag { name: body.to_owned(), value: None },
        });
    }
    (flags, rest)
}

/// One word with its quotes and backslashes taken off, and what follows it.
fn word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    loop {
        let here = chars.as_str();
        let Some(c) = chars.next() else { return (word, here) };
        match (c, quote) {
            (c, None) if c.is_whitespace() => return (word, here),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            // Always the backslash: the escape directive has no say inside flags.
            ('\\', _) => word.extend(chars.next()),
            (c, _) => word.push(c),
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
            ("", &[], ""),
        ] {
            let (flags, left) = split(text);
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
