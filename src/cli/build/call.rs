//! `--call`: what a Dockerfile takes or lacks, instead of a build.
//!
//! Texts and JSON are buildx's: the tables of `PrintOutline` and `PrintTargets`, the fields of
//! BuildKit's subrequests. Sources are in base64 there.

use std::io::Write;

use super::page;
use crate::base64;
use crate::build::{Checked, Entry, Outline};
use crate::cli::table::Table;
use crate::cli::{Output, exit, safe};
use crate::error::{Error, Result};
use crate::image::json::Value;
use crate::sys::flow::Outflow;

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
                What::Check => page::write(out, &checked)?,
                What::Outline => outline(out, &checked.outline)?,
                What::Targets => targets(out, &checked.outline)?,
            }
        }
        let is_clean =
            self.what != What::Check || checked.findings.is_empty() || self.ignores_status;
        Ok(if is_clean { exit::SUCCESS } else { exit::FAILED })
    }
}

fn outline(out: &mut dyn Outflow, outline: &Outline) -> Result<()> {
    if let Some(target) = outline.targets.get(outline.target)
        && !target.name.is_empty()
    {
        let about = safe::text(&target.description);
        let (gap, head) = if about.is_empty() { ("", "") } else { ("     ", "\nDESCRIPTION: ") };
        writeln!(out, "TARGET: {gap}{}{head}{about}\n", target.name)?;
    }
    for (kind, header) in [
        ("arg", &["BUILD ARG", "VALUE", "DESCRIPTION"][..]),
        ("secret", &["SECRET", "REQUIRED"]),
        ("ssh", &["SSH", "REQUIRED"]),
        // A cache cannot be missing.
        ("cache", &["CACHE MOUNT"]),
    ] {
        let mut table = Table::new(header);
        table.is_narrow = true;
        let mut is_empty = true;
        for entry in outline.takes.iter().filter(|entry| entry.kind == kind) {
            is_empty = false;
            let second = if entry.is_needed { "true" } else { &entry.value };
            table.row([&entry.name, second, &entry.description].iter().take(header.len()));
        }
        if !is_empty {
            table.write(out)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn targets(out: &mut dyn Outflow, outline: &Outline) -> Result<()> {
    let mut table = Table::new(&["TARGET", "DESCRIPTION"]);
    table.is_narrow = true;
    for target in &outline.targets {
        let mut name = target.name.clone();
        if target.is_needed {
            name.push_str(if name.is_empty() { "(default)" } else { " (default)" });
        }
        table.row([&*name, &target.description, ""].iter().take(2));
    }
    Ok(table.write(out)?)
}

fn json(what: What, checked: &Checked) -> Value {
    let outline = &checked.outline;
    let mut all = Value::default();
    let mut list = Vec::new();
    let data = Value::String(base64::encode(&checked.text));
    match what {
        What::Check => {
            for finding in &checked.findings {
                let mut warning = Value::default();
                put(&mut warning, "ruleName", finding.rule);
                put(&mut warning, "url", &finding.url());
                put(&mut warning, "detail", &finding.message);
                warning.set("location", Some(location(finding.lines)));
                list.push(warning);
            }
            all.set("warnings", Some(Value::Array(list)));
            let mut source = Value::default();
            put(&mut source, "filename", &checked.file);
            put(&mut source, "language", "Dockerfile");
            source.set("data", Some(data));
            all.set("sources", Some(Value::Array(vec![source])));
            return all;
        }
        What::Outline => {
            if let Some(target) = outline.targets.get(outline.target) {
                put(&mut all, "name", &target.name);
                put(&mut all, "description", &target.description);
            }
            for (kind, list) in
                [("arg", "args"), ("secret", "secrets"), ("ssh", "ssh"), ("cache", "cache")]
            {
                let entries = outline.takes.iter().filter(|entry| entry.kind == kind);
                let entries: Vec<Value> = entries.map(entry).collect();
                all.set(list, (!entries.is_empty()).then_some(Value::Array(entries)));
            }
        }
        What::Targets => {
            list.extend(outline.targets.iter().map(entry));
            all.set("targets", Some(Value::Array(list)));
        }
    }
    all.set("sources", Some(Value::Array(vec![data])));
    all
}

/// A field, unless it is empty.
fn put(object: &mut Value, name: &str, value: &str) {
    if !value.is_empty() {
        object.set(name, Some(Value::string(value)));
    }
}

fn entry(entry: &Entry) -> Value {
    let mut object = Value::default();
    let (flag, value) = match entry.kind.as_str() {
        "target" => ("default", "base"),
        _ => ("required", "value"),
    };
    put(&mut object, if entry.kind == "cache" { "ID" } else { "name" }, &entry.name);
    object.set(flag, entry.is_needed.then_some(Value::Bool(true)));
    put(&mut object, "description", &entry.description);
    put(&mut object, value, &entry.value);
    put(&mut object, "platform", &entry.platform);
    object.set("location", Some(location(entry.lines)));
    object
}

fn location((first, last): (usize, usize)) -> Value {
    let line = |line: usize| {
        let mut place = Value::default();
        place.set("line", Some(Value::number(line as u64)));
        Some(place)
    };
    let (mut range, mut location) = (Value::default(), Value::default());
    range.set("start", line(first));
    range.set("end", line(last));
    location.set("ranges", Some(Value::Array(vec![range])));
    location
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
}
