//! `lath stop`: asks programs to end, and kills those that do not.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, each};
use crate::error::Result;

/// Stop containers
#[derive(FromArgs)]
#[argh(subcommand, name = "stop")]
pub struct Args {
    /// the signal that asks
    #[argh(option, short = 's', arg_name = "signal")]
    signal: Option<String>,
    /// seconds until the program is killed
    #[argh(option, short = 't', arg_name = "seconds")]
    time: Option<String>,
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::value("signal", Some('s')), Opt::value("time", Some('t'))],
    ..Shape::PLAIN
};

/// Stops them.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let time = args.time.as_deref().map(arguments::seconds).transpose()?;
    let signal = args.signal.as_deref().map(arguments::signal).transpose()?;
    each::run("stop", &args.containers, globals, out, &mut |container| {
        container.stop(signal, time)
    })
}
