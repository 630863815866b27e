//! Values that are fields themselves: `type=local,dest=DIR`, a line of CSV as docker has it.

use crate::error::{Error, Result};

/// The value of an option, for its errors.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    /// The option.
    pub option: &'static str,
    /// What was typed.
    pub word: &'a str,
}

impl Value<'_> {
    /// Splits it: what its `type` is, and all other fields in order. A field in double quotes may
    /// have commas in it.
    pub fn split(self) -> Result<(String, Vec<(String, String)>)> {
        let (mut kind, mut fields) = (None, Vec::new());
        let (mut text, mut is_quoted) = (String::new(), false);
        let mut letters = self.word.chars().chain([',']).peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if is_quoted && letters.next_if_eq(&'"').is_some() => text.push('"'),
                '"' if is_quoted || text.is_empty() => is_quoted = !is_quoted,
                ',' if !is_quoted => match text.split_once('=') {
                    Some(("type", value)) => {
                        kind = Some(value.to_owned());
                        text.clear();
                    }
                    Some((key, value)) => {
                        fields.push((key.trim().to_owned(), value.to_owned()));
                        text.clear();
                    }
                    None => return Err(self.wrong("it is not made of KEY=VALUE")),
                },
                letter => text.push(letter),
            }
        }
        match kind {
            Some(kind) if !is_quoted => Ok((kind, fields)),
            _ => Err(self.wrong("type is required")),
        }
    }

    /// An error about it.
    pub fn wrong(self, what: &str) -> Error {
        Error::usage(format!("--{} {:?}: {what}", self.option, self.word))
    }

    /// That a text in it is unknown, and what there is.
    pub fn unknown(self, what: &str, text: &str, known: &str) -> Error {
        self.wrong(&format!("unknown {what} {text:?}")).hint(format!("there is: {known}"))
    }

    /// That docker has it and lath does not.
    pub fn lacks(self, what: &str) -> Error {
        Error::unsupported(format!("--{} {what} is not supported yet", self.option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas_together() {
        let split = |word| Value { option: "output", word }.split();
        let (kind, fields) = split("a=1,type=oci,\"name=a,b\",\"x=\"\"\", dest = y").unwrap();
        let pairs = [("a", "1"), ("name", "a,b"), ("x", "\""), ("dest", " y")];
        assert_eq!(kind, "oci");
        assert_eq!(fields, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        for bad in ["", "a", "type=a,", "type=a,\"b=1", "type=a,b", "a=b"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
