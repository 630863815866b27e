//! `lath health`: how a container is by its health check, for scripts that watch it.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, arguments, exit};
use crate::container::control::find;
use crate::error::Result;

/// Say how a container is by its health check: code 0 if healthy, 1 if not, 3 at its start, 4 without a check
#[derive(FromArgs)]
#[argh(subcommand, name = "health")]
pub struct Args {
    /// name or id of a container
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// No options.
pub const SHAPE: Shape = Shape::PLAIN;

/// Prints docker's word for it.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("health", args.containers)?;
    let (is_running, health) = find(&globals.open()?, &name)?.health()?;
    writeln!(out, "{}", health.status)?;
    Ok(match health.status.as_str() {
        "healthy" => exit::SUCCESS,
        "starting" => 3,
        "none" if is_running => 4,
        _ => 1,
    })
}
