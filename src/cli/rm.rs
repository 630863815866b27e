//! `lath rm`: removes containers with all their files.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, each};
use crate::container::control;
use crate::error::Result;

/// Remove containers
#[derive(FromArgs)]
#[argh(subcommand, name = "rm")]
pub struct Args {
    /// kill those that run
    #[argh(switch, short = 'f')]
    force: bool,
    /// remove those of their volumes that nobody has named, too
    #[argh(switch, short = 'v')]
    volumes: bool,
    /// names or ids of containers
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::switch("force", Some('f')), Opt::switch("volumes", Some('v'))],
    ..Shape::PLAIN
};

/// Removes them.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let (session, force, volumes) = (globals.open()?, args.force, args.volumes);
    each::all("rm", &args.containers, force, out, &mut |word| {
        if !force || !control::remove_damaged(&session, word)? {
            control::find(&session, word)?.remove(&session, force, volumes)?;
        }
        Ok(Some(word.to_owned()))
    })
}
