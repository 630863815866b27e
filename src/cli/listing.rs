//! Commands that answer with rows: a table of their own, or what `--format` says.

use super::Output;
use super::template::Template;
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

/// An id as it is shown: 12 digits, or in full.
pub fn id(id: &crate::image::digest::ImageId, in_full: bool) -> String {
    if in_full { id.to_string() } else { id.short() }
}
