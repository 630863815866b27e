//! CMD: the default words of a container's command.

use super::form::{CommandLine, Flags, quoted};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::Result;

/// `CMD ["WORD", ...]` or `CMD LINE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    /// The command.
    pub command: CommandLine,
}

impl Meaning for Cmd {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Cmd> {
        Flags::check(statement, &[])?;
        Ok(Cmd { command: CommandLine::parse(statement.rest())? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let argv = self.command.argv(scope);
        let created_by = format!("CMD {}", quoted(&argv));
        scope.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
        scope.cmd_set = true;
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}
