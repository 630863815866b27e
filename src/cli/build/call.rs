//! `--call`: what a Dockerfile takes or lacks, instead of a build.
//!
//! Texts and JSON are buildx's: the tables of `PrintOutline` and `PrintTargets`, the fields of
//! BuildKit's subrequests. Sources are in base64 there.

use std::io::Write;

use crate::build::{Checked, Lines, Outline};
use crate::cli::table::Table;
use crate::cli::{Output, exit, findings, safe};
use crate::error::{Error, Result};
use crate::image::json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Check,
    Outline,
    Targets,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    what: What,
    is_json: bool,
    /// Findings do not show in the exit code.
    ignores_status: bool,
}

impl Call {
    /// Reads `WHAT[,format=text|json][,ignorestatus=BOOL]`. `None`: a build.
    pub fn parse(word: &str) -> Result<Option<Call>> {
        let bad = |field: &str| {
            Error::usage(format!("--call: invalid value {field:?}"))
                .hint("write --call=WHAT or --call=WHAT,format=json: check, outline or targets")
        };
        let mut what = None;
        let (mut is_json, mut ignores_status) = (false, false);
        for (at, field) in word.split(',').enumerate() {
            match field {
                "" | "build" if at == 0 => {}
                "check" | "lint" if at == 0 => what = Some(What::Check),
                "outline" if at == 0 => what = Some(What::Outline),
                "targets" if at == 0 => what = Some(What::Targets),
                "format=json" => is_json = true,
                "format=text" => is_json = false,
                "ignorestatus=true" | "ignorestatus=1" => ignores_status = true,
                "ignorestatus=false" | "ignorestatus=0" => ignores_status = false,
                other => return Err(bad(other)),
            }
        }
        match what {
            None if is_json || ignores_status => Err(bad(word)),
            what => Ok(what.map(|what| Call { what, is_json, ignores_status })),
        }
    }

    /// Prints the answer; gives the exit code.
    pub fn answer(self, mut checked: Checked, out: &mut Output) -> Result<i32> {
        match checked.fault.take() {
            Some(error) if self.what != What::Targets => return Err(error),
            _ => {}
        }
        if self.is_json {
            writeln!(out, "{}", json(self.what, &checked).to_pretty())?;
        } else {
            match self.what {
                What::Check => findings::page(out, &checked)?,
                What::Outline => outline(out, &checked.outline)?,
                What::Targets => targets(out, &checked.outline)?,
            }
        }
        let is_clean =
            self.what != What::Check || checked.findings.is_empty() || self.ignores_status;
        Ok(if is_clean { exit::SUCCESS } else { exit::FAILED })
    }
}

fn outline(out: &mut dyn Write, outline: &Outline) -> Result<()> {
    let target = outline.targets.get(outline.target);
    if let Some(target) = target.filter(|target| !target.name.is_empty()) {
        match target.description.as_str() {
            "" => writeln!(out, "TARGET: {}", target.name)?,
            about => {
                writeln!(out, "TARGET:      {}\nDESCRIPTION: {}", target.name, safe::text(about))?;
            }
        }
        out.write_all(b"\n")?;
    }
    let rows = outline.args.iter().map(|arg| [&*arg.name, &arg.value, &arg.description]);
    table(out, &["BUILD ARG", "VALUE", "DESCRIPTION"], rows)?;
    for (kind, header) in [("secret", "SECRET"), ("ssh", "SSH"), ("cache", "CACHE MOUNT")] {
        let mounts = outline.mounts.iter().filter(|mount| mount.kind == kind);
        let rows = mounts.map(|mount| [&*mount.id, if mount.required { "true" } else { "" }]);
        let columns = [header, "REQUIRED"];
        // A cache cannot be missing.
        table(out, columns.get(..2 - usize::from(kind == "cache")).unwrap_or_default(), rows)?;
    }
    Ok(())
}

/// A table and a blank line, if there is any row.
fn table<'a, const N: usize>(
    out: &mut dyn Write,
    header: &[&str],
    rows: impl Iterator<Item = [&'a str; N]>,
) -> Result<()> {
    let mut table = Table::new(header);
    table.is_narrow = true;
    let mut is_empty = true;
    for row in rows {
        is_empty = false;
        table.row(row.iter().take(header.len()));
    }
    if !is_empty {
        table.write(out)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn targets(out: &mut dyn Write, outline: &Outline) -> Result<()> {
    let mut table = Table::new(&["TARGET", "DESCRIPTION"]);
    table.is_narrow = true;
    for (at, target) in outline.targets.iter().enumerate() {
        let is_default = at + 1 == outline.targets.len();
        let blank = if target.name.is_empty() || !is_default { "" } else { " " };
        let default = if is_default { "(default)" } else { "" };
        table.row([&format!("{}{blank}{default}", target.name), &target.description]);
    }
    Ok(table.write(out)?)
}

/// An object with the fields that are not empty.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut object = Value::default();
    for (name, value) in fields {
        let is_empty = match &value {
            Value::Array(values) => values.is_empty(),
            Value::Bool(is_on) => !is_on,
            value => value.as_str() == Some(""),
        };
        object.set(name, (!is_empty).then_some(value));
    }
    object
}

fn json(what: What, checked: &Checked) -> Value {
    let text = |text: &str| Value::string(text);
    let outline = &checked.outline;
    let source = || text(&base64(&checked.text));
    match what {
        What::Check => {
            let warning = |finding: &crate::event::Finding| {
                object([
                    ("ruleName", text(finding.rule)),
                    ("url", text(&finding.url())),
                    ("detail", text(&finding.message)),
                    ("location", location(finding.lines)),
                ])
            };
            let mut all = Value::default();
            let warnings = checked.findings.iter().map(warning);
            all.set("warnings", Some(Value::Array(warnings.collect())));
            let source = object([
                ("filename", text(&checked.file)),
                ("language", text("Dockerfile")),
                ("data", source()),
            ]);
            all.set("sources", Some(Value::Array(vec![source])));
            all
        }
        What::Outline => {
            let target = outline.targets.get(outline.target);
            let own = |field: fn(&crate::build::Target) -> &str| text(target.map_or("", field));
            let args = outline.args.iter().map(|arg| {
                object([
                    ("name", text(&arg.name)),
                    ("description", text(&arg.description)),
                    ("value", text(&arg.value)),
                    ("location", location(arg.lines)),
                ])
            });
            let mounts = |kind: &str, name: &str| {
                let mounts = outline.mounts.iter().filter(|mount| mount.kind == kind);
                let mounts = mounts.map(|mount| {
                    object([
                        (name, text(&mount.id)),
                        ("required", Value::Bool(mount.required)),
                        ("location", location(mount.lines)),
                    ])
                });
                Value::Array(mounts.collect())
            };
            object([
                ("name", own(|target| &target.name)),
                ("description", own(|target| &target.description)),
                ("args", Value::Array(args.collect())),
                ("secrets", mounts("secret", "name")),
                ("ssh", mounts("ssh", "name")),
                ("cache", mounts("cache", "ID")),
                ("sources", Value::Array(vec![source()])),
            ])
        }
        What::Targets => {
            let targets = outline.targets.iter().enumerate().map(|(at, target)| {
                object([
                    ("name", text(&target.name)),
                    ("default", Value::Bool(at + 1 == outline.targets.len())),
                    ("description", text(&target.description)),
                    ("base", text(&target.base)),
                    ("platform", text(&target.platform)),
                    ("location", location(target.lines)),
                ])
            });
            object([
                ("targets", Value::Array(targets.collect())),
                ("sources", Value::Array(vec![source()])),
            ])
        }
    }
}

fn location((first, last): Lines) -> Value {
    let line = |line: usize| object([("line", Value::number(line as u64))]);
    let range = object([("start", line(first)), ("end", line(last))]);
    object([("ranges", Value::Array(vec![range]))])
}

/// RFC 4648, with its padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits: usize, at| {
            bits << 8 | three.get(at).copied().map_or(0, usize::from)
        });
        for at in 0..4 {
            let letter = LETTERS.get(bits >> (18 - 6 * at) & 63).copied().unwrap_or_default();
            out.push(if at > three.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_read_as_buildx_reads_it() {
        let call = |what, is_json, ignores_status| Some(Call { what, is_json, ignores_status });
        for (word, wanted) in [
            ("", None),
            ("build", None),
            ("check", call(What::Check, false, false)),
            ("lint", call(What::Check, false, false)),
            ("check,format=json,ignorestatus=true", call(What::Check, true, true)),
            ("outline,format=text", call(What::Outline, false, false)),
            ("targets,format=json", call(What::Targets, true, false)),
        ] {
            assert_eq!(Call::parse(word).unwrap(), wanted, "{word}");
        }
        for word in ["x", "check,outline", "format=json", "check,format=xml", "check,ignorestatus="]
        {
            assert!(Call::parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn base64_has_the_vectors_of_its_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text, "{bytes}");
        }
    }
}
