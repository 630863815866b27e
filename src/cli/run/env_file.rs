//! `--env-file`: a variable a line, as docker reads it (docker/cli pkg/kvfile).
//!
//! `NAME=value`, or `NAME` for the caller's own value; blanks behind the value belong to it, and
//! there are no quotes. Lines that begin with `#` and empty ones are skipped.

use std::fs::File;

use crate::error::{Context, Error, Place, Result};
use crate::sys::fs::read_bounded;

/// A file larger than this is no list of variables.
const MAX_BYTES: usize = 1 << 20;

/// Reads a file.
pub fn read(path: &str) -> Result<Vec<String>> {
    let read = || read_bounded(File::open(path)?, MAX_BYTES);
    let bytes = read().context(|| format!("read the environment file {path:?}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::input(format!("the environment file {path:?} is not UTF-8")))?;
    parse(&text, path, &|name| std::env::var(name).ok())
}

fn parse(text: &str, path: &str, own: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let mut entries = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        let fault = match name {
            "" => "no variable name in this line".to_owned(),
            name if name.contains(char::is_whitespace) => {
                format!("variable {name:?} contains whitespaces")
            }
            _ if line.contains('=') => {
                entries.push(line.to_owned());
                continue;
            }
            // Not set at all: then the image's own value stays, other than with `-e NAME`.
            name => {
                entries.extend(own(name).map(|value| format!("{name}={value}")));
                continue;
            }
        };
        let place = Place { file: path.to_owned(), line: at + 1, text: line.to_owned() };
        return Err(Error::input(fault).at(place).hint("write NAME=value or NAME"));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_docker_reads_them() {
        let text = "\u{feff}A=1\n# no\n\n  B= x y \nC\r\nD=\"q\"=1\n   # no\nE=\nUNSET";
        let own = |name: &str| (name == "C").then(|| "mine".to_owned());
        let entries = parse(text, "f", &own).unwrap();
        assert_eq!(entries, ["A=1", "B= x y ", "C=mine", "D=\"q\"=1", "E="]);
    }

    #[test]
    fn a_wrong_line_is_shown() {
        for (text, line, fault) in [
            ("A=1\n=x", 2, "no variable name in this line"),
            ("export A=1", 1, "variable \"export A\" contains whitespaces"),
            ("A =1", 1, "variable \"A \" contains whitespaces"),
        ] {
            let error = parse(text, "f", &|_| None).unwrap_err();
            assert_eq!(error.text(), fault);
            assert_eq!(error.place().map(|place| place.line), Some(line));
        }
    }
}
