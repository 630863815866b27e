//! `lath start`: starts containers that do not run, in the background.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, each, exit};
use crate::container::control;
use crate::error::{Error, Result};

/// Start containers
#[derive(FromArgs)]
#[argh(subcommand, name = "start")]
pub struct Args {
    /// every one that its restart policy wants to run, as after a boot
    #[argh(switch)]
    all: bool,
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::switch("all", None)],
    planned: &["attach", "a", "detach-keys", "interactive", "i", "checkpoint"],
    ..Shape::PLAIN
};

/// Starts them.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    if !args.all {
        return each::start("start", &args.containers, globals, out, &mut |_| Ok(()));
    }
    if !args.containers.is_empty() {
        return Err(Error::usage("--all takes no names"));
    }
    let session = globals.open()?;
    let mut names = Vec::new();
    for container in control::all(&session)? {
        if container.is_wanted()? {
            names.push(container.record.id);
        }
    }
    drop(session);
    if names.is_empty() {
        return Ok(exit::SUCCESS);
    }
    each::start("start", &names, globals, out, &mut |_| Ok(()))
}
