//! `lath gc`: takes away what lath takes away by itself when the store nears its limit.

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, prune};
use crate::error::Result;

/// Remove cache that nobody needs, down to the limit of the store
#[derive(FromArgs)]
#[argh(subcommand, name = "gc")]
pub struct Args {}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape::PLAIN;

/// Removes, and says how much that was.
pub fn run(_: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    prune::reclaimed(globals.open()?.store.gc()?, out)
}
