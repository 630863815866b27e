//! Columns, laid out as docker's are: at least ten wide, three blanks between them.
//!
//! Source: Go's text/tabwriter with minwidth 10 and padding 3, blanks.

use std::io::{self, Write};

use super::safe;
use crate::sys::flow::Outflow;

const LEAST: usize = 10;
const GAP: usize = 3;

/// Rows that become columns when all are known.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns may be less than ten wide, as in buildx's tables.
    pub is_narrow: bool,
}

impl Table {
    /// A table with the names of its columns.
    pub fn new(header: &[&str]) -> Table {
        let rows = vec![header.iter().map(|&name| name.to_owned()).collect()];
        Table { rows, is_narrow: false }
    }

    /// A table without a header.
    pub fn without_header() -> Table {
        Table::default()
    }

    /// Adds a row; the cells are made safe for terminals.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| safe::text(cell.as_ref()).into_owned());
        self.rows.push(cells.collect());
    }

    /// Writes all rows.
    pub fn write(&self, out: &mut dyn Outflow) -> io::Result<()> {
        let widths = self.widths();
        let mut line = String::new();
        for row in &self.rows {
            line.clear();
            for (at, cell) in row.iter().enumerate() {
                line.push_str(cell);
                // The last cell ends the line and needs no blanks.
                if at + 1 < row.len() {
                    let width = widths.get(at).copied().unwrap_or_default();
                    let blanks = width.saturating_sub(cell.chars().count());
                    line.extend(std::iter::repeat_n(' ', blanks));
                }
            }
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// The width of each column, its gap included. Last cells count for none.
    fn widths(&self) -> Vec<usize> {
        let least = if self.is_narrow { 0 } else { LEAST };
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            let inner = row.len().saturating_sub(1);
            for (at, cell) in row.iter().take(inner).enumerate() {
                let width = (cell.chars().count() + GAP).max(least);
                match widths.get_mut(at) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_laid_out_as_dockers() {
        let mut table = Table::new(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
        table.row(["alpine", "latest", "3fed6d4a8a3c", "2 weeks ago", "8.72MB"]);
        table.row(["hub/redis", "v1", "5b2a77c0d9ef", "About a minute ago", "12MB"]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "REPOSITORY   TAG       IMAGE ID       CREATED              SIZE\n\
             alpine       latest    3fed6d4a8a3c   2 weeks ago          8.72MB\n\
             hub/redis    v1        5b2a77c0d9ef   About a minute ago   12MB\n"
        );
    }

    #[test]
    fn cells_are_made_safe() {
        let mut table = Table::without_header();
        table.row(["a\x1b[2J", "b"]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\\u{1b}[2J   b\n");
    }
}
