//! ENV: sets variables of the image. All values of a line see the variables before that line.

use super::form::Flags;
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::{Form, Pair, Statement, name_values};
use crate::error::{Error, Result};

/// `ENV NAME=VALUE...` or `ENV NAME VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// Names and values, not yet expanded.
    pub pairs: Vec<Pair>,
    /// How they were written, for the linter.
    pub form: Form,
}

impl Meaning for Env {
    fn parse(statement: &Statement<'_>, escape: char) -> Result<Env> {
        Flags::check(statement, &[])?;
        let (form, pairs) = name_values("ENV", statement.rest(), escape).map_err(Error::input)?;
        Ok(Env { pairs, form })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let pairs = expand("ENV", &self.pairs, scope)?;
        let mut created_by = "ENV".to_owned();
        for (name, value) in pairs {
            scope.set_env(&name, &value)?;
            created_by.push_str(&format!(" {name}={value}"));
        }
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

/// Names and values with the variables put in.
pub(super) fn expand(
    keyword: &str,
    pairs: &[Pair],
    scope: &Scope,
) -> Result<Vec<(String, String)>> {
    let mut expanded = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let name = scope.word(&pair.name)?;
        if name.is_empty() {
            return Err(Error::input(format!("{keyword} names can not be blank")));
        }
        expanded.push((name, scope.word(pair.value.as_deref().unwrap_or_default())?));
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn values_are_set_as_docker_sets_them() {
        for (text, env) in [
            (
                "ENV A=1 B=two C=\"three four\" D='five six' E=seven\\ eight",
                &["A=1", "B=two", "C=three four", "D=five six", "E=seven eight"][..],
            ),
            (
                "ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc",
                &["abc=bye", "def=hello", "ghi=bye"],
            ),
            ("ENV A the rest of  the line", &["A=the rest of  the line"]),
            ("ENV A a\\ b\\tc", &["A=a btc"]),
            ("ENV A=1 B=2\nENV C=3\nENV A=9", &["A=9", "B=2", "C=3"]),
            ("ENV K=NAME\nENV ${K}_X=1 $K=2", &["K=NAME", "NAME_X=1", "NAME=2"]),
            (
                "ENV A=\"it's\" B='say \"x\"' C=a\"b c\"d'e f'g D=\\\"q\\\"",
                &["A=it's", "B=say \"x\"", "C=ab cde fg", "D=\"q\""],
            ),
            ("ENV A=\"a\\\\b\" B='a\\b' C=a\\\\b", &["A=a\\b", "B=a\\b", "C=a\\b"]),
            ("ENV A= B=\"\"", &["A=", "B="]),
            ("ENV A=1 A=2", &["A=2"]),
            ("# escape=`\nENV P=C:\\dir Q=a`$b", &["P=C:\\dir", "Q=a$b"]),
        ] {
            let mut scope = scope();
            if text.starts_with('#') {
                scope.escape = '`';
            }
            lower(text, &mut scope).expect(text);
            assert_eq!(scope.config.env[1..], *env, "{text}");
        }
    }

    #[test]
    fn a_wrong_form_is_said() {
        for (text, message) in [
            ("ENV", "ENV requires at least one argument"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV =x", "ENV names can not be blank"),
            ("ENV A=1 B", "Syntax error - can't find = in \"B\". Must be of the form: name=value"),
        ] {
            assert_eq!(form(text).unwrap_err(), message);
        }
        assert_eq!(lower("ENV $U=1", &mut scope()).unwrap_err(), "ENV names can not be blank");
    }
}
