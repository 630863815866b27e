//! SHELL: the words in front of every shell form from here on.

use super::form::{CommandLine, Flags, at_least_one};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::{Error, Result};

/// `SHELL ["WORD", ...]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// The words.
    pub words: Vec<String>,
}

impl Meaning for Shell {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Shell> {
        Flags::check(statement, &[])?;
        let command = CommandLine::parse(statement.rest())?;
        if command.words.is_empty() || statement.rest().is_empty() {
            return Err(at_least_one("SHELL"));
        }
        if command.shell {
            return Err(Error::input("SHELL requires the arguments to be in JSON form")
                .hint("write SHELL [\"/bin/sh\", \"-c\"]"));
        }
        Ok(Shell { words: command.words })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        scope.config.shell = Some(self.words.clone());
        let created_by = format!("SHELL [{}]", self.words.join(" "));
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::form;

    #[test]
    fn only_the_json_form_is_taken() {
        for (text, message) in [
            ("SHELL", "SHELL requires at least one argument"),
            ("SHELL []", "SHELL requires at least one argument"),
            ("SHELL /bin/sh -c", "SHELL requires the arguments to be in JSON form"),
        ] {
            assert_eq!(form(text).unwrap_err(), message);
        }
        assert!(form("SHELL [\"/bin/sh\"]").is_ok());
    }
}
