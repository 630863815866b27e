//! ONBUILD: stores a statement for the builds that begin on this image.

use super::form::{CommandLine, Flags, at_least_one};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::{self, Statement, name_values};
use crate::error::{Error, Result};

/// `ONBUILD STATEMENT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The statement as written, its here-documents behind it.
    pub trigger: String,
}

impl Meaning for Onbuild {
    /// A trigger with an unknown name is stored too: only the build that carries it out fails. What
    /// BuildKit's parser refuses before it knows what an instruction means is refused here.
    fn parse(statement: &Statement<'_>, escape: char) -> Result<Onbuild> {
        let Some(word) = statement.rest().split_whitespace().next() else {
            return Err(at_least_one("ONBUILD"));
        };
        Flags::check(statement, &[])?;
        match word.to_ascii_uppercase().as_str() {
            "ONBUILD" => {
                return Err(Error::input("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
            }
            name @ ("FROM" | "MAINTAINER") => {
                return Err(Error::input(format!("{name} isn't allowed as an ONBUILD trigger")));
            }
            _ => {}
        }
        let mut trigger = statement.rest().to_owned();
        for document in statement.heredocs() {
            trigger.push('\n');
            trigger.push_str(&document.content);
            trigger.push_str(&document.name);
        }
        if let Some(own) = dockerfile::parse(trigger.as_bytes())
            .ok()
            .and_then(|document| document.statements().next())
        {
            match own.keyword().as_ref() {
                keyword @ ("ENV" | "LABEL") if !own.rest().is_empty() => {
                    name_values(keyword, own.rest(), escape).map_err(Error::input)?;
                }
                "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "ADD" | "COPY" | "VOLUME" => {
                    CommandLine::parse(own.rest())?;
                }
                _ => {}
            }
        }
        Ok(Onbuild { trigger })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        scope.config.on_build.push(self.trigger.clone());
        let created_by = format!("ONBUILD {}", self.trigger);
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn triggers_are_stored_as_written() {
        let mut scope = scope();
        let text = "ONBUILD RUN echo $A > /t\nonbuild env  A=b\nONBUILD BOGUS x\n\
                    ONBUILD COPY <<f /d\n1\nf\n";
        lower(text, &mut scope).unwrap();
        let wanted = ["RUN echo $A > /t", "env  A=b", "BOGUS x", "COPY <<f /d\n1\nf"];
        assert_eq!(scope.config.on_build, wanted);
    }

    #[test]
    fn some_statements_are_no_triggers() {
        for (text, message) in [
            ("ONBUILD", "ONBUILD requires at least one argument"),
            ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
            ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"),
            ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
            ("ONBUILD ENV A", "ENV must have two arguments"),
            (
                "ONBUILD label A=1 B",
                "Syntax error - can't find = in \"B\". Must be of the form: name=value",
            ),
            (
                "ONBUILD RUN --network=none [1]",
                "when using JSON array syntax, arrays must be comprised of strings only",
            ),
        ] {
            assert_eq!(form(text).unwrap_err(), message);
        }
    }
}
