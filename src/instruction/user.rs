//! USER: who runs the next steps and the container.

use super::form::only;
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::Result;

/// `USER NAME[:GROUP]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The rest of the line, not yet expanded.
    pub user: String,
}

impl Meaning for User {
    fn parse(statement: &Statement<'_>, _: char) -> Result<User> {
        Ok(User { user: only(statement)? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        scope.config.user = scope.word(&self.user)?;
        let created_by = format!("USER {}", scope.config.user);
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}
