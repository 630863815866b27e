//! `lath start`: starts containers that do not run, in the background.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, each, exit, run};
use crate::container::control;
use crate::error::{Error, Result};

/// Start containers
#[derive(FromArgs)]
#[argh(subcommand, name = "start")]
pub struct Args {
    /// every one that its restart policy wants to run, as after a boot
    #[argh(switch)]
    all: bool,
    /// in the foreground, with this terminal's streams: its exit code is lath's
    #[argh(switch, short = 'a')]
    attach: bool,
    /// the same, and what its -i was for
    #[argh(switch, short = 'i')]
    interactive: bool,
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("all", None),
        Opt::switch("attach", Some('a')),
        Opt::switch("interactive", Some('i')),
    ],
    planned: &["detach-keys", "checkpoint"],
    ..Shape::PLAIN
};

/// Starts them.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    if args.attach || args.interactive {
        return attached(args, globals);
    }
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

/// Starts one here.
fn attached(args: Args, globals: &Globals) -> Result<i32> {
    if args.all || args.containers.len() != 1 {
        return Err(Error::usage("you cannot start and attach multiple containers at once"));
    }
    let [name] = arguments::exactly("start", args.containers)?;
    let session = globals.open()?;
    let container = control::find(&session, &name)?;
    container.hold()?;
    let code = run::started(container.run_here(&session));
    container.go_if_brief(&session)?;
    code
}
