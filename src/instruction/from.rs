//! FROM: begins a stage on an image, on another stage, or on nothing.

use super::form::{Flags, Takes};
use super::table::Meaning;
use super::{Lowered, Scope};
use crate::dockerfile::{Statement, blank_separated};
use crate::error::{Error, Result};
use crate::image::platform::Platform;

/// `FROM [--platform=P] IMAGE [AS NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The base as written.
    pub image_written: String,
    /// `--platform` as written.
    pub platform_written: Option<String>,
    /// The stage's name in lower case.
    pub name: Option<String>,
    /// The stage's name as written, for the linter.
    pub name_written: Option<String>,
    /// `AS` as written, for the linter.
    pub as_written: Option<String>,
}

impl From {
    /// The base with the arguments in front of the first FROM put in.
    pub fn image(&self, scope: &Scope) -> Result<String> {
        let image = scope.global_word(&self.image_written)?;
        if image.is_empty() {
            let written = &self.image_written;
            return Err(Error::input(format!("base name ({written}) should not be blank"))
                .hint("give the ARG a default, or a value with --build-arg"));
        }
        Ok(image)
    }

    /// The platform of `--platform`.
    pub fn platform(&self, scope: &Scope) -> Result<Option<Platform>> {
        let Some(written) = &self.platform_written else { return Ok(None) };
        let platform = scope.global_word(written)?;
        if platform.is_empty() {
            return Err(Error::input(format!("empty platform value from expression {written}")));
        }
        Platform::parse(&platform).map(Some)
    }
}

impl Meaning for From {
    fn parse(statement: &Statement<'_>, _: char) -> Result<From> {
        let mut words = blank_separated(statement.rest()).into_iter();
        let (image, keyword, name) = (words.next(), words.next(), words.next());
        let surplus = words.next().is_some();
        let (image, name, as_written) = match (image, keyword, name) {
            (Some(image), None, None) => (image, None, None),
            (Some(image), Some(word), Some(name))
                if !surplus && word.eq_ignore_ascii_case("as") =>
            {
                (image, Some(name), Some(word))
            }
            _ => {
                return Err(Error::input("FROM requires either one or three arguments")
                    .hint("write FROM IMAGE or FROM IMAGE AS NAME"));
            }
        };
        if let Some(name) =
            name.as_deref().filter(|name| !is_stage_name(&name.to_ascii_lowercase()))
        {
            return Err(Error::input(format!(
                "invalid name for build stage: {name:?}, name can't start with a number or contain \
                 symbols"
            )));
        }
        let flags = Flags::check(statement, &[("platform", Takes::Text)])?;
        Ok(From {
            image_written: image,
            platform_written: flags.text("platform"),
            name: name.as_deref().map(str::to_ascii_lowercase),
            name_written: name,
            as_written,
        })
    }

    fn lower(&self, _: &mut Scope) -> Result<Lowered> {
        Err(Error::input("FROM begins a stage and cannot stand inside one"))
    }
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::Instruction;
    use crate::instruction::table::tests::{form, scope};

    fn from(text: &str) -> From {
        match form(text).unwrap() {
            Instruction::From(from) => from,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn base_name_and_platform_are_read() {
        let read = from("FROM --platform=$P busybox aS Build-1.x");
        assert_eq!(read.name.as_deref(), Some("build-1.x"));
        assert_eq!(read.name_written.as_deref(), Some("Build-1.x"));
        let mut scope = scope();
        scope.global_args.push(("P".into(), Some("linux/arm64".into())));
        assert_eq!(read.platform(&scope).unwrap().unwrap().architecture, "arm64");
        assert_eq!(from("FROM ${B:-busybox}").image(&scope).unwrap(), "busybox");
        let blank = from("FROM $B").image(&scope).unwrap_err();
        assert_eq!(blank.text(), "base name ($B) should not be blank");
    }

    #[test]
    fn a_wrong_count_or_name_is_refused() {
        for text in ["FROM", "FROM a b", "FROM a AS b c", "FROM a BY b", "FROM a AS"] {
            let message = form(text).unwrap_err();
            assert_eq!(message, "FROM requires either one or three arguments", "{text}");
        }
        for name in ["1abc", "a/b", "_x", "ü"] {
            let message = form(&format!("FROM x AS {name}")).unwrap_err();
            assert!(message.starts_with("invalid name for build stage"), "{name}");
        }
    }
}
