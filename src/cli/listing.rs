//! Commands that answer with rows: a table of their own, or what `--format` says.

#[cfg(feature = "containers")]
use std::io::Write as _;

use super::Output;
use super::template::Template;
#[cfg(feature = "containers")]
use super::{exit, report};
#[cfg(feature = "containers")]
use crate::error::Kind;
use crate::error::Result;
use crate::image::json::Value;

/// Prints rows. `format` is the user's; without one, or with `table` alone, it is `own`. `names`
/// has the names of the columns that differ from the fields'.
pub fn print(
    format: Option<&str>,
    own: &str,
    names: &[(&str, &str)],
    rows: &mut dyn Iterator<Item = Value>,
    out: &mut Output,
) -> Result<()> {
    let mut template = Template::parse(format.filter(|text| !text.is_empty()).unwrap_or(own))?;
    if template.is_default_table() {
        template = Template::parse(own)?;
    }
    template.write(rows, names, out)
}

/// Prints what `inspect` shows of each word, as an array or by a template. One that `find` does not find
/// stops no other, is told, and makes the exit code 1. `own` and `names` are those of `print`.
#[cfg(feature = "containers")]
pub fn inspect(
    words: &[String],
    format: Option<&str>,
    (own, names): (&str, &[(&str, &str)]),
    find: &mut dyn FnMut(&str) -> Result<Value>,
    out: &mut Output,
) -> Result<i32> {
    let (mut found, mut code) = (Vec::new(), exit::SUCCESS);
    for word in words {
        match find(word) {
            Ok(value) => found.push(value),
            Err(error) if error.kind() == Kind::NotFound => {
                let _ = report::error(&mut std::io::stderr(), &error);
                code = 1;
            }
            Err(error) => return Err(error),
        }
    }
    match format.filter(|format| !format.is_empty() && *format != "json") {
        Some(format) => print(Some(format), own, names, &mut found.into_iter(), out)?,
        None => writeln!(out, "{}", Value::Array(found).to_pretty())?,
    }
    Ok(code)
}

/// Whether a filter `label=NAME` or `label=NAME=VALUE` takes these.
#[cfg(feature = "containers")]
pub fn has_label(labels: &[String], wanted: &str) -> bool {
    labels.iter().any(|label| label == wanted || label.split('=').next() == Some(wanted))
}

/// An id as it is shown: 12 digits, or in full.
pub fn id(id: &crate::image::digest::ImageId, in_full: bool) -> String {
    if in_full { id.to_string() } else { id.short() }
}
