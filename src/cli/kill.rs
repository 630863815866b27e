//! `lath kill`: sends programs a signal.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, each};
use crate::error::Result;

/// Send containers a signal
#[derive(FromArgs)]
#[argh(subcommand, name = "kill")]
pub struct Args {
    /// which one; KILL without it
    #[argh(option, short = 's', arg_name = "signal")]
    signal: Option<String>,
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::value("signal", Some('s'))],
    ..Shape::PLAIN
};

/// Sends it.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let signal = arguments::signal(args.signal.as_deref().unwrap_or("KILL"))?;
    each::run("kill", &args.containers, globals, out, &mut |container| container.signal(signal))
}
