//! `lath doctor`: what this device has of what lath wants.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit};
use crate::doctor::{Finding, State, examine};
use crate::error::Result;
use crate::image::json::Value;

/// Say what this device lacks, what that costs and what to add; code 1 when lath cannot work on it
#[derive(FromArgs)]
#[argh(subcommand, name = "doctor")]
pub struct Args {
    /// print an array of JSON
    #[argh(switch)]
    json: bool,
    /// code 1 for what is limited, too
    #[argh(switch)]
    strict: bool,
}

/// The options, for the normaliser.
pub const SHAPE: Shape =
    Shape { options: &[Opt::switch("json", None), Opt::switch("strict", None)], ..Shape::PLAIN };

/// Prints what was found.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let found = examine(&globals.open());
    match args.json {
        true => writeln!(out, "{}", Value::Array(found.iter().map(json).collect()).to_text())?,
        false => found.iter().try_for_each(|finding| show(finding, out))?,
    }
    let has = |state| found.iter().any(|finding| finding.state == state);
    let is_bad = has(State::Missing) || args.strict && has(State::Limited);
    Ok(if is_bad { exit::FAILED } else { exit::SUCCESS })
}

fn show(finding: &Finding, out: &mut Output) -> Result<()> {
    let Finding { name, state, cost, remedy } = finding;
    writeln!(out, "{:<8} {name}", word(*state))?;
    if *state != State::There {
        writeln!(out, "         {cost}")?;
        writeln!(out, "         add: {remedy}")?;
    }
    Ok(())
}

fn json(finding: &Finding) -> Value {
    let mut value = Value::default();
    let text = |text: &str| Some(Value::string(text));
    value.set("Name", text(finding.name));
    value.set("State", text(word(finding.state)));
    if finding.state != State::There {
        value.set("Cost", text(&finding.cost));
        value.set("Remedy", text(&finding.remedy));
    }
    value
}

fn word(state: State) -> &'static str {
    match state {
        State::There => "ok",
        State::Limited => "limited",
        State::Missing => "missing",
    }
}
