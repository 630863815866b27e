//! MAINTAINER: the author of the image. Deprecated, and still read.

use super::form::only;
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::Result;

/// `MAINTAINER TEXT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintainer {
    /// The rest of the line.
    pub author: String,
}

impl Meaning for Maintainer {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Maintainer> {
        Ok(Maintainer { author: only(statement)? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        scope.author = Some(self.author.clone());
        let created_by = format!("MAINTAINER {}", self.author);
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}
