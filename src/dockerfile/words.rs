//! Splitting arguments into words: by blanks alone, with quotes, and as lists of names with values.

/// How the values of ENV and LABEL were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `NAME=VALUE NAME=VALUE`
    Pairs,
    /// `NAME the rest of the line`, which the linter warns about.
    Legacy,
}

/// A name and its value, neither expanded nor rid of quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value; none for `ARG NAME`.
    pub value: Option<String>,
}

/// The words of a text that are separated by blanks; quotes mean nothing here.
pub fn blank_separated(text: &str) -> Vec<String> {
    text.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The words of a text where quotes and the escape character hold blanks; both stay in the words.
pub fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // One at the very end escapes nothing and is dropped.
            let Some(next) = chars.next() else { break };
            word.push(c);
            word.push(next);
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The pairs of ENV and LABEL in either form.
pub fn name_values(
    instruction: &str,
    text: &str,
    escape: char,
) -> Result<(Form, Vec<Pair>), String> {
    let words = split(text, escape);
    let Some(first) = words.first() else {
        return Err(format!("{instruction} requires at least one argument"));
    };
    if !first.contains('=') {
        let Some((name, value)) = text.split_once(is_blank) else {
            return Err(format!("{instruction} must have two arguments"));
        };
        let value = value.trim_start_matches(is_blank).to_owned();
        let pair = Pair { name: name.to_owned(), value: Some(value) };
        return Ok((Form::Legacy, vec![pair]));
    }
    let mut pairs = Vec::with_capacity(words.len());
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ));
        };
        if name.is_empty() {
            return Err(format!("{instruction} names can not be blank"));
        }
        pairs.push(Pair { name: name.to_owned(), value: Some(value.to_owned()) });
    }
    Ok((Form::Pairs, pairs))
}

/// What separates words where only blanks count.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_hold_words_together_and_stay() {
        for (text, words) in [
            ("a b", &["a", "b"][..]),
            ("a=\"b c\" d", &["a=\"b c\"", "d"]),
            ("a='b \\' c'", &["a='b \\'", "c'"]),
            ("a=b\\ c", &["a=b\\ c"]),
            ("a=\"x\\\" y\" z", &["a=\"x\\\" y\"", "z"]),
            ("a\\", &["a"]),
            ("\"\" x", &["\"\"", "x"]),
            ("  ", &[]),
            ("a=\"open b", &["a=\"open b"]),
        ] {
            assert_eq!(split(text, '\\'), words, "{text}");
        }
        assert_eq!(split("a` b C:\\x", '`'), ["a` b", "C:\\x"]);
    }

    #[test]
    fn the_first_word_decides_about_the_form() {
        let pairs = |text| name_values("ENV", text, '\\');
        let (form, list) = pairs("A  the rest = of  it").unwrap();
        assert_eq!((form, list.len()), (Form::Legacy, 1));
        assert_eq!(list[0].value.as_deref(), Some("the rest = of  it"));
        let (form, list) = pairs("A=1 B= C=x=y").unwrap();
        assert_eq!(form, Form::Pairs);
        assert_eq!(list[1], Pair { name: "B".into(), value: Some(String::new()) });
        assert_eq!(list[2].value.as_deref(), Some("x=y"));
        for (text, message) in [
            ("A", "ENV must have two arguments"),
            ("", "ENV requires at least one argument"),
            ("=x", "ENV names can not be blank"),
            ("A=1 B", "Syntax error - can't find = in \"B\". Must be of the form: name=value"),
        ] {
            assert_eq!(pairs(text).unwrap_err(), message);
        }
    }
}
