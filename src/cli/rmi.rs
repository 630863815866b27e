//! `lath rmi`: takes names and images away, one after the other; one that fails stops no other.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit, report};
use crate::catalog::remove::{Removal, remove};
use crate::error::{Error, Kind, Result};

/// Remove images
#[derive(FromArgs)]
#[argh(subcommand, name = "rmi")]
pub struct Args {
    /// remove images that have several names; one that is not there is no failure
    #[argh(switch, short = 'f')]
    force: bool,
    /// names or ids of images
    #[argh(positional, arg_name = "image")]
    images: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::switch("force", Some('f'))],
    planned: &["no-prune", "platform"],
    ..Shape::PLAIN
};

/// Removes the images.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    arguments::at_least("rmi", &args.images, 1)?;
    let session = globals.open()?;
    let mut code = exit::SUCCESS;
    for image in &args.images {
        match remove(&session, image, args.force) {
            Ok(removal) => show(&removal, out)?,
            Err(error) if matches!(error.kind(), Kind::Interrupted(_)) => return Err(error),
            Err(error) => {
                if !is_forgiven(&error, args.force) {
                    code = exit::of_error(&error, false);
                }
                // What was done before it is told before it.
                out.flush()?;
                let _ = report::error(&mut std::io::stderr(), &error);
            }
        }
    }
    Ok(code)
}

/// With `--force` an image that is not there is told and is no failure, as with docker.
fn is_forgiven(error: &Error, force: bool) -> bool {
    force && error.kind() == Kind::NotFound
}

fn show(removal: &Removal, out: &mut Output) -> Result<()> {
    for name in &removal.untagged {
        writeln!(out, "Untagged: {name}")?;
    }
    for id in removal.deleted.iter().chain(&removal.freed.chains) {
        writeln!(out, "Deleted: {id}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_force_forgives_and_only_what_is_not_there() {
        for (kind, force, forgiven) in [
            (Kind::NotFound, true, true),
            (Kind::NotFound, false, false),
            (Kind::Conflict, true, false),
        ] {
            assert_eq!(is_forgiven(&Error::new(kind, "x"), force), forgiven, "{kind:?} {force}");
        }
    }
}
