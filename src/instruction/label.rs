//! LABEL: notes on the image.

use super::env::expand;
use super::form::Flags;
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::{Form, Pair, Statement, name_values};
use crate::error::{Error, Result};

/// More are no notes. A sorted list of them is quick enough, whoever writes each alone.
const MAX_LABELS: usize = 16_384;

/// `LABEL NAME=VALUE...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Names and values, not yet expanded.
    pub pairs: Vec<Pair>,
    /// How they were written, for the linter.
    pub form: Form,
}

impl Meaning for Label {
    fn parse(statement: &Statement<'_>, escape: char) -> Result<Label> {
        Flags::check(statement, &[])?;
        let (form, pairs) = name_values("LABEL", statement.rest(), escape).map_err(Error::input)?;
        Ok(Label { pairs, form })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let mut created_by = "LABEL".to_owned();
        let pairs = expand("LABEL", &self.pairs, scope)?;
        for (name, value) in &pairs {
            created_by.push_str(&format!(" {name}={value}"));
        }
        scope.config.labels.extend(pairs);
        if scope.config.labels.len() > MAX_LABELS {
            return Err(Error::input(format!("more than {MAX_LABELS} labels")));
        }
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn so_many_are_enough() {
        let mut scope = scope();
        let text = |count: usize| (0..count).map(|n| format!("LABEL n{n}=v\n")).collect::<String>();
        lower(&text(super::MAX_LABELS), &mut scope).unwrap();
        lower("LABEL n7=again", &mut scope).unwrap();
        let error = lower("LABEL other=v", &mut scope).unwrap_err();
        assert_eq!(error, "more than 16384 labels");
    }

    #[test]
    fn labels_are_set_in_both_forms() {
        let mut scope = scope();
        let text = "LABEL \"quoted.key\"=\"v\" e= j='{\"a\": [1]}' p=$PATH\nLABEL old style value";
        lower(text, &mut scope).unwrap();
        let labels: Vec<_> = scope.config.labels.into_iter().collect();
        let wanted = [
            ("e", ""),
            ("j", "{\"a\": [1]}"),
            ("old", "style value"),
            ("p", "/bin"),
            ("quoted.key", "v"),
        ];
        assert_eq!(labels, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(form("LABEL a").unwrap_err(), "LABEL must have two arguments");
    }
}
