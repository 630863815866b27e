//! `lath rename`: another name for a container.

use argh::FromArgs;

use super::normalize::Shape;
use super::run::checked_name;
use super::{Globals, Output, arguments, exit};
use crate::container::control::find;
use crate::error::Result;

/// Give a container another name
#[derive(FromArgs)]
#[argh(subcommand, name = "rename")]
pub struct Args {
    /// the container, then its new name
    #[argh(positional, arg_name = "container new_name")]
    names: Vec<String>,
}

/// No options.
pub const SHAPE: Shape = Shape::PLAIN;

/// Names the container.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, _: &mut Output) -> Result<i32> {
    let [container, name] = arguments::exactly("rename", args.names)?;
    let name = checked_name(&name)?;
    let session = globals.open()?;
    find(&session, &container)?.rename(&session, &name)?;
    Ok(exit::SUCCESS)
}
