//! WORKDIR: where the next steps and the container start; made if it is not there.

use super::form::only;
use super::paths::absolute;
use super::table::Meaning;
use super::{CopyEffect, CopyFrom, Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::Result;

/// `WORKDIR PATH`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workdir {
    /// The rest of the line, not yet expanded.
    pub path: String,
}

impl Meaning for Workdir {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Workdir> {
        Ok(Workdir { path: only(statement)? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        // A variable that is empty leaves the directory as it is, as with BuildKit.
        let path = scope.word(&self.path)?;
        let path = absolute(&scope.config.working_dir, &path);
        scope.config.working_dir = path.clone();
        let created_by = format!("WORKDIR {path}");
        if path == "/" {
            return Ok(Lowered { effect: Effect::Config, created_by });
        }
        let user = Some(scope.config.user.clone()).filter(|user| !user.is_empty());
        let effect = Effect::Copy(CopyEffect {
            from: CopyFrom::Context,
            sources: Vec::new(),
            dest: path,
            chown: user,
            chmod: None,
            link: false,
            parents: false,
            excludes: Vec::new(),
            unpack: false,
            unpack_urls: false,
            checksum: None,
            keep_git_dir: false,
            is_add: false,
        });
        Ok(Lowered { effect, created_by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn a_relative_path_goes_on_from_the_last_one() {
        for (text, path) in [
            ("WORKDIR /a\nWORKDIR b\nWORKDIR ./c\nWORKDIR ../d", "/a/b/d"),
            ("WORKDIR x/y", "/x/y"),
            ("WORKDIR /a b/c", "/a b/c"),
            ("WORKDIR \"/a b\"", "/a b"),
            ("WORKDIR /../../x", "/x"),
            ("ENV D=/x\nWORKDIR $D/${E:-e}/", "/x/e"),
            ("WORKDIR /a\nWORKDIR $NOPE", "/a"),
        ] {
            let mut scope = scope();
            let Effect::Copy(made) = lower(text, &mut scope).unwrap().effect else { panic!() };
            assert_eq!((scope.config.working_dir.as_str(), made.dest.as_str()), (path, path));
        }
    }

    #[test]
    fn the_directory_belongs_to_the_user_and_the_root_is_not_made() {
        let made = lower("USER app\nWORKDIR /a", &mut scope()).unwrap().effect;
        let Effect::Copy(made) = made else { panic!() };
        assert_eq!(made.chown.as_deref(), Some("app"));
        assert_eq!(lower("WORKDIR /", &mut scope()).unwrap().effect, Effect::Config);
        assert_eq!(form("WORKDIR").unwrap_err(), "WORKDIR requires exactly one argument");
        assert_eq!(lower("WORKDIR $NOPE", &mut scope()).unwrap().effect, Effect::Config);
    }
}
