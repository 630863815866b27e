//! `lath restart`: stops containers and starts them again.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, each};
use crate::error::Result;

/// Stop containers and start them again
#[derive(FromArgs)]
#[argh(subcommand, name = "restart")]
pub struct Args {
    /// seconds until the program is killed
    #[argh(option, short = 't', arg_name = "seconds")]
    time: Option<String>,
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::value("time", Some('t'))],
    planned: &["signal", "s"],
    ..Shape::PLAIN
};

/// Restarts them.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let time = args.time.as_deref().map(arguments::seconds).transpose()?;
    each::start("restart", &args.containers, globals, out, &mut |container| {
        container.stop(None, time)
    })
}
