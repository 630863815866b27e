//! ENTRYPOINT: the fixed first words of a container's command.

use super::form::{CommandLine, Flags, quoted};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::Result;

/// `ENTRYPOINT ["WORD", ...]` or `ENTRYPOINT LINE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrypoint {
    /// The command.
    pub command: CommandLine,
}

impl Meaning for Entrypoint {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Entrypoint> {
        Flags::check(statement, &[])?;
        Ok(Entrypoint { command: CommandLine::parse(statement.rest())? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let argv = self.command.argv(scope);
        let created_by = format!("ENTRYPOINT {}", quoted(&argv));
        scope.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
        // A CMD of the base was meant for the base's ENTRYPOINT.
        if !scope.cmd_set {
            scope.config.cmd = None;
        }
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{lower, scope};

    #[test]
    fn an_entrypoint_drops_the_cmd_of_the_base_and_keeps_its_own() {
        let words = |list: &[&str]| Some(list.iter().map(|w| w.to_string()).collect::<Vec<_>>());
        for (text, entrypoint, cmd) in [
            ("ENTRYPOINT [\"/e\"]", words(&["/e"]), None),
            ("CMD [\"c\"]\nENTRYPOINT [\"/e\"]", words(&["/e"]), words(&["c"])),
            ("ENTRYPOINT [\"/e\"]\nCMD [\"c\"]", words(&["/e"]), words(&["c"])),
            ("CMD one  'x'", None, words(&["/bin/sh", "-c", "one  'x'"])),
            (
                "SHELL [\"/bin/sh\", \"-xc\"]\nCMD run it",
                None,
                words(&["/bin/sh", "-xc", "run it"]),
            ),
            ("CMD []", None, None),
            ("CMD", None, words(&["/bin/sh", "-c", ""])),
            ("ENTRYPOINT []", None, None),
            ("CMD [ \"a\", b ]", None, words(&["/bin/sh", "-c", "[ \"a\", b ]"])),
            ("CMD [\"$A\"]", None, words(&["$A"])),
        ] {
            let mut scope = scope();
            scope.config.cmd = words(&["base"]);
            lower(text, &mut scope).expect(text);
            assert_eq!(scope.config.entrypoint, entrypoint, "{text}");
            assert_eq!(scope.config.cmd, cmd, "{text}");
        }
    }
}
