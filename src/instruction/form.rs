//! Checks of form that instructions share: flags, lists of arguments, command lines.

use super::Scope;
use crate::dockerfile::json_form::{self, JsonForm};
use crate::dockerfile::{Flag, Statement, blank_separated, nearest};
use crate::error::{Error, Result};

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A text, once.
    Text,
    /// A text, any number of times.
    Texts,
    /// Nothing, `true` or `false`.
    Bool,
}

/// The flags of a statement, all of them known and well-formed.
pub(super) struct Flags(Vec<Flag>);

impl Flags {
    /// Checks the flags of a statement against those that its instruction knows.
    pub(super) fn check(statement: &Statement<'_>, known: &[(&str, Takes)]) -> Result<Flags> {
        let flags = statement.flags();
        for (at, flag) in flags.iter().enumerate() {
            let name = &flag.name;
            let Some((_, takes)) = known.iter().find(|(known, _)| known == name) else {
                return Err(unknown(statement, name, known));
            };
            let mut earlier = flags.iter().take(at);
            if *takes != Takes::Texts && earlier.any(|earlier| earlier.name == *name) {
                return Err(Error::input(format!("duplicate flag specified: --{name}")));
            }
            match (takes, flag.value.as_deref()) {
                (Takes::Bool, Some("")) | (Takes::Text | Takes::Texts, None) => {
                    return Err(Error::input(format!("missing a value on flag: --{name}"))
                        .hint(format!("write --{name}=VALUE, without a blank")));
                }
                (Takes::Bool, Some(value)) if is_true(value).is_none() => {
                    let message =
                        format!("expecting boolean value for flag --{name}, not: {value}");
                    return Err(Error::input(message));
                }
                _ => {}
            }
        }
        Ok(Flags(flags))
    }

    /// The value of a flag, if it is given and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let flag = self.0.iter().find(|flag| flag.name == name)?;
        flag.value.clone().filter(|value| !value.is_empty())
    }

    /// All values of a flag.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let flags = self.0.iter().filter(|flag| flag.name == name);
        flags.filter_map(|flag| flag.value.clone()).collect()
    }

    /// Whether a flag is given, and as what.
    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        let flag = self.0.iter().find(|flag| flag.name == name)?;
        flag.value.as_deref().map_or(Some(true), is_true)
    }
}

/// A command in either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The words of the JSON form, or the line of the shell form.
    pub words: Vec<String>,
    /// It is the shell form.
    pub shell: bool,
}

impl CommandLine {
    /// Reads a command. No text at all is a shell form with nothing in it.
    pub(super) fn parse(text: &str) -> Result<CommandLine> {
        match json_form::parse(text) {
            JsonForm::Strings(words) => {
                Ok(CommandLine { words: without_nul(words)?, shell: false })
            }
            JsonForm::NotStrings => Err(Error::input(json_form::NOT_STRINGS)),
            JsonForm::NotJson => Ok(CommandLine { words: vec![text.to_owned()], shell: true }),
        }
    }

    /// The words to start, those of the shell in front where it takes one.
    pub(super) fn argv(&self, scope: &Scope) -> Vec<String> {
        if !self.shell {
            return self.words.clone();
        }
        let mut argv = scope.config.shell_words();
        argv.push(self.words.join(" "));
        argv
    }
}

/// Puts a text into a sorted list that has each one once.
pub(super) fn insert(list: &mut Vec<String>, text: String) {
    if let Err(at) = list.binary_search(&text) {
        list.insert(at, text);
    }
}

/// Arguments as a JSON array, or separated by blanks.
pub(super) fn list(text: &str) -> Result<Vec<String>> {
    match json_form::parse(text) {
        JsonForm::Strings(words) => without_nul(words),
        JsonForm::NotStrings => Err(Error::input(json_form::NOT_STRINGS)),
        JsonForm::NotJson => Ok(blank_separated(text)),
    }
}

/// `\u0000` is the one way for this character to come in, and no path or argument may hold it.
fn without_nul(words: Vec<String>) -> Result<Vec<String>> {
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Error::input("an argument holds a NUL character").hint("take out the \\u0000"));
    }
    Ok(words)
}

/// The whole text as the one argument that there must be.
pub(super) fn only(statement: &Statement<'_>) -> Result<String> {
    Flags::check(statement, &[])?;
    if statement.rest().is_empty() {
        let keyword = statement.keyword();
        return Err(Error::input(format!("{keyword} requires exactly one argument")));
    }
    Ok(statement.rest().to_owned())
}

/// An instruction without any argument that needs some.
pub(super) fn at_least_one(keyword: &str) -> Error {
    Error::input(format!("{keyword} requires at least one argument"))
}

/// Words as docker's history shows them: `["a" "b"]`.
pub(super) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// What a flag that takes nothing may have after all; no numbers and single letters.
fn is_true(text: &str) -> Option<bool> {
    parse_bool(text).filter(|_| text.len() > 1)
}

/// Go's `strconv.ParseBool`, letters of any case.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

fn unknown(statement: &Statement<'_>, name: &str, known: &[(&str, Takes)]) -> Error {
    let error = match nearest(name, &mut known.iter().map(|(name, _)| *name)) {
        Some(meant) => Error::input(format!("unknown flag: --{name} (did you mean --{meant}?)")),
        None => Error::input(format!("unknown flag: --{name}")),
    };
    let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
    match names.is_empty() {
        true => error.hint(format!("{} takes no flags", statement.keyword())),
        false => error.hint(format!("{} knows {}", statement.keyword(), names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::form;

    #[test]
    fn flags_are_checked_with_the_words_of_docker() {
        for (text, message) in [
            ("COPY --nope=1 a b", "unknown flag: --nope"),
            ("COPY --chwon=1 a b", "unknown flag: --chwon (did you mean --chown?)"),
            ("COPY --chown a b", "missing a value on flag: --chown"),
            ("COPY --chown=1 --chown=2 a b", "duplicate flag specified: --chown"),
            ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
            ("COPY --link=1 a b", "expecting boolean value for flag --link, not: 1"),
            ("COPY --link= a b", "missing a value on flag: --link"),
            ("USER --x y", "unknown flag: --x"),
            ("ADD --from=x a b", "unknown flag: --from"),
            ("CMD [\"\\u0000\"]", "an argument holds a NUL character"),
            ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ] {
            assert_eq!(form(text).unwrap_err(), message, "{text}");
        }
        assert!(form("COPY --link=False --exclude=a --exclude=b a b").is_ok());
    }
}
