//! `lath tag`: one more name for an image.

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, arguments, exit};
use crate::catalog;
use crate::error::Result;

/// Give an image one more name
#[derive(FromArgs)]
#[argh(subcommand, name = "tag")]
pub struct Args {
    /// the image, then its new name
    #[argh(positional, arg_name = "source_image target_image")]
    names: Vec<String>,
}

/// No options.
pub const SHAPE: Shape = Shape::PLAIN;

/// Names the image.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, _: &mut Output) -> Result<i32> {
    let [source, target] = arguments::exactly("tag", args.names)?;
    catalog::remove::tag(&globals.open()?, &source, &target)?;
    Ok(exit::SUCCESS)
}
