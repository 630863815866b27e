//! Reads a Dockerfile and says what it cost the process: `read [--plan] FILE`. For benches/parser.py.
//! `read --json` says of each file named on standard input whether it is JSON: for fuzz/json_agrees.py.

#![allow(clippy::print_stdout, reason = "it is all that it does")]

use std::process::ExitCode;

use lath::dockerfile::{self, Fault};
use lath::image::json::Value;
use lath::instruction::Scope;
use lath::plan::Plan;
use lath::plan::lint::{Subject, check};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--json"] {
        for path in std::io::stdin().lines().map_while(Result::ok) {
            let is_json = std::fs::read(path).is_ok_and(|text| Value::parse(&text).is_ok());
            println!("{}", if is_json { "yes" } else { "no" });
        }
        return ExitCode::SUCCESS;
    }
    let Some(text) = words.last().and_then(|path| std::fs::read(path).ok()) else {
        println!("usage: read [--plan] FILE");
        return ExitCode::FAILURE;
    };
    let before = usage();
    match read(&text, words.len() > 1) {
        Ok((statements, findings)) => println!("statements {statements}\nfindings {findings}"),
        Err(faults) => println!("faults {}: {:?}", faults.len(), faults.first()),
    }
    let after = usage();
    println!(
        "bytes {}\nuser_us {}\ngrown_kb {}",
        text.len(),
        after.0 - before.0,
        after.1 - before.1
    );
    ExitCode::SUCCESS
}

fn read(text: &[u8], with_plan: bool) -> Result<(usize, usize), Vec<Fault>> {
    let document = dockerfile::parse(text)?;
    let statements = document.statements().count();
    if !with_plan {
        return Ok((statements, 0));
    }
    let scope = Scope::default();
    let plan = Plan::new(&document, scope.clone(), None)?;
    let subject = Subject {
        document: &document,
        plan: &plan,
        rules: &document.directives.check,
        scope,
        every_stage: true,
        base: &|_| None,
        ignored: &|_| false,
    };
    let outcome = check(&subject, &mut |_, _| {});
    Ok((statements, outcome.findings.len()))
}

/// Microseconds on a processor, and the peak of the memory in KB.
fn usage() -> (i64, i64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().split(' ').next()?.parse().ok());
    // Nanoseconds on a processor: the first word.
    let spent = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let spent = spent.split(' ').next().and_then(|spent| spent.parse::<i64>().ok());
    (spent.unwrap_or(0) / 1000, peak.unwrap_or(0))
}
