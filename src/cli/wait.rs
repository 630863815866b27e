//! `lath wait`: waits for programs to end and prints their exit codes.

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, each};
use crate::container::control;
use crate::error::Result;

/// Wait for containers to end
#[derive(FromArgs)]
#[argh(subcommand, name = "wait")]
pub struct Args {
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// No options.
pub const SHAPE: Shape = Shape::PLAIN;

/// Waits.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let session = globals.open()?;
    each::all("wait", &args.containers, false, out, &mut |word| {
        Ok(Some(control::find(&session, word)?.wait()?.to_string()))
    })
}
