//! ARG: declares variables of the build that the user may set.

use super::form::{Flags, at_least_one};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::{Pair, Statement, split_words};
use crate::error::{Error, Result};

/// `ARG NAME[=DEFAULT]...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Names and defaults, not yet expanded.
    pub pairs: Vec<Pair>,
}

impl Arg {
    /// Declares the arguments in front of the first FROM.
    pub fn declare_global(&self, scope: &mut Scope) -> Result<()> {
        for pair in &self.pairs {
            let value = match (scope.build_args.get(&pair.name), &pair.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(scope.global_word(default)?),
                (None, None) => None,
            };
            scope.declare_global(&pair.name, value)?;
        }
        Ok(())
    }
}

impl Meaning for Arg {
    fn parse(statement: &Statement<'_>, escape: char) -> Result<Arg> {
        Flags::check(statement, &[])?;
        let mut pairs = Vec::new();
        for word in split_words(statement.rest(), escape) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            if name.is_empty() {
                return Err(Error::input("ARG names can not be blank"));
            }
            pairs.push(Pair { name, value });
        }
        if pairs.is_empty() {
            return Err(at_least_one("ARG"));
        }
        Ok(Arg { pairs })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let mut created_by = "ARG".to_owned();
        for pair in &self.pairs {
            let name = scope.word(&pair.name)?;
            if name.is_empty() {
                return Err(Error::input("ARG names can not be blank"));
            }
            // A default that is not used may be wrong.
            let value = match (scope.build_args.get(&name), &pair.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(scope.word(default)?),
                (None, None) => scope.global(&name),
            };
            created_by.push_str(&format!(" {name}"));
            if let Some(value) = &value {
                created_by.push_str(&format!("={value}"));
            }
            scope.declare(&name, value)?;
        }
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::Instruction;
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn values_come_from_the_user_the_default_or_the_globals() {
        for (text, cli, name, value) in [
            ("ARG A=one", None, "A", Some("one")),
            ("ARG A=one", Some("x"), "A", Some("x")),
            ("ARG A=one", Some(""), "A", Some("")),
            ("ARG A", None, "A", None),
            ("ARG G", None, "G", Some("global")),
            ("ARG G=local", None, "G", Some("local")),
            ("ARG A=1 B=$A", None, "B", Some("1")),
            ("ARG A=\"x y\" B='p $A'", None, "B", Some("p $A")),
            ("ARG A=${B:?x}", Some("given"), "A", Some("given")),
            ("ENV E=e\nARG A=${E}-x", None, "A", Some("e-x")),
            ("ARG A=b=c", None, "A", Some("b=c")),
        ] {
            let mut scope = scope();
            scope.global_args.push(("G".into(), Some("global".into())));
            scope.build_args.extend(cli.map(|value| ("A".to_owned(), value.to_owned())));
            lower(text, &mut scope).expect(text);
            assert_eq!(scope.variable(name).as_deref(), value, "{text}");
            assert!(scope.config.env_value(name).is_none());
        }
        assert_eq!(form("ARG").unwrap_err(), "ARG requires at least one argument");
        assert_eq!(form("ARG =x").unwrap_err(), "ARG names can not be blank");
    }

    #[test]
    fn globals_see_earlier_globals_and_what_the_user_gave() {
        let mut scope = scope();
        scope.build_args.insert("T".into(), "cli".into());
        for text in ["ARG A=busy", "ARG B=${A}box-$TARGETOS T=x U"] {
            let Ok(Instruction::Arg(arg)) = form(text) else { panic!("{text}") };
            arg.declare_global(&mut scope).unwrap();
        }
        assert_eq!(scope.global("B").as_deref(), Some("busybox-linux"));
        assert_eq!(scope.global("T").as_deref(), Some("cli"));
        assert_eq!(scope.global("U"), None);
    }
}
