//! `lath diff`: what a container has changed of its image's files.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, arguments, exit};
use crate::container::changes::Change;
use crate::container::control::find;
use crate::error::Result;

/// Show what a container has changed of its image's files: added (A), changed (C), deleted (D)
#[derive(FromArgs)]
#[argh(subcommand, name = "diff")]
pub struct Args {
    /// name or id of a container
    #[argh(positional, arg_name = "container")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape::PLAIN;

/// Prints a line for each path.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("diff", args.names)?;
    let session = globals.open()?;
    find(&session, &name)?.diff(&session, &mut |change, path| {
        let letter = match change {
            Change::Added => b"A /",
            Change::Changed => b"C /",
            Change::Deleted => b"D /",
        };
        for part in [letter, path, b"\n"] {
            out.write_all(part)?;
        }
        Ok(())
    })?;
    Ok(exit::SUCCESS)
}
