//! VOLUME: paths whose content lives outside of a container.

use super::form::{Flags, at_least_one, insert, list};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::{Error, Result};

/// More could not be read again: a config has 32,768 values at most.
const MAX_VOLUMES: usize = 16_384;

/// `VOLUME ["PATH", ...]` or `VOLUME PATH...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The paths, not yet expanded.
    pub paths: Vec<String>,
}

impl Meaning for Volume {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Volume> {
        let paths = list(statement.rest())?;
        if paths.is_empty() {
            return Err(at_least_one("VOLUME"));
        }
        Flags::check(statement, &[])?;
        let paths: Vec<String> = paths.iter().map(|path| path.trim().to_owned()).collect();
        if paths.iter().any(String::is_empty) {
            return Err(empty());
        }
        Ok(Volume { paths })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let mut paths = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let path = scope.word(path)?;
            if path.is_empty() {
                return Err(empty());
            }
            paths.push(path);
        }
        let created_by = format!("VOLUME [{}]", paths.join(" "));
        // The path stays as it is written, relative or not, as docker has it.
        paths.into_iter().for_each(|path| insert(&mut scope.config.volumes, path));
        if scope.config.volumes.len() > MAX_VOLUMES {
            return Err(Error::input(format!("more than {MAX_VOLUMES} volumes")));
        }
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

fn empty() -> Error {
    Error::input("VOLUME specified can not be an empty string")
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn volumes_are_added_to_those_that_are_there() {
        let mut scope = scope();
        scope.config.volumes.push("/old".into());
        lower("ENV V=/v1\nVOLUME $V ${V}2\nVOLUME [\"$V/3\", \"/v 2\"]\nVOLUME data", &mut scope)
            .unwrap();
        assert_eq!(scope.config.volumes, ["/old", "/v 2", "/v1", "/v1/3", "/v12", "data"]);
        assert_eq!(form("VOLUME").unwrap_err(), "VOLUME requires at least one argument");
        let empty = "VOLUME specified can not be an empty string";
        assert_eq!(form("VOLUME [\"\"]").unwrap_err(), empty);
        assert_eq!(lower("VOLUME $U", &mut scope).unwrap_err(), empty);
    }
}
