//! `lath cp`: files into a container and out of it.

use std::io::IsTerminal as _;

use argh::FromArgs;

use super::normalize::{Opt, Settled, Shape};
use super::{Globals, Output, arguments, exit, load};
use crate::container::control::find;
use crate::container::copy::{Manner, from_host, from_tar, to_host, to_tar};
use crate::error::{Error, Result};

/// Copy files into a container, or out of it
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "cp",
    note = "One of the two is CONTAINER:PATH. As the source, - is a tar on standard input; as the \
            destination, a tar on standard output. DIR/. means what is in DIR."
)]
pub struct Args {
    /// keep the owners of what comes out of a container
    #[argh(switch, short = 'a')]
    archive: bool,
    /// a source that is a link means what it points at
    #[argh(switch, short = 'L')]
    follow_link: bool,
    /// source and destination
    #[argh(positional, arg_name = "source destination")]
    words: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::switch("archive", Some('a')), Opt::switch("follow-link", Some('L'))],
    settled: &[Settled {
        opt: Opt::switch("quiet", Some('q')),
        values: &["true"],
        hint: "cp says nothing of its progress",
    }],
    ..Shape::PLAIN
};

/// Copies.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [source, destination] = arguments::exactly("cp", args.words)?;
    let manner = Manner { keeps_owners: args.archive, follows: args.follow_link };
    let (from, to) = (place(&source), place(&destination));
    let session = globals.open()?;
    match (from, to) {
        (Some(_), Some(_)) => {
            return Err(Error::usage("copying between containers is not supported")
                .hint("use two: lath cp ONE:PATH - | lath cp - OTHER:PATH"));
        }
        (None, None) => {
            return Err(Error::usage("must specify at least one container source")
                .hint("write it as CONTAINER:PATH"));
        }
        (Some((name, path)), None) => {
            let container = find(&session, name)?;
            if destination != "-" {
                to_host(&session, &container, &path, &destination, manner)?;
            } else if std::io::stdout().is_terminal() {
                return Err(Error::usage("cowardly refusing to write a tar to a terminal")
                    .hint("name a file or redirect"));
            } else {
                to_tar(&session, &container, &path, out, manner)?;
            }
        }
        (None, Some((name, path))) => {
            let container = find(&session, name)?;
            match source == "-" {
                true => from_tar(&session, &container, load::open(None)?, &path)?,
                false => from_host(&session, &container, &source, &path, manner)?,
            }
        }
    }
    Ok(exit::SUCCESS)
}

/// A container and a path from its root on, by docker's rule: what begins with `/` or `.` is a path
/// of the host.
fn place(word: &str) -> Option<(&str, String)> {
    let (name, path) = word.split_once(':').filter(|_| !word.starts_with(['/', '.']))?;
    Some((name, format!("/{}", path.trim_start_matches('/'))))
}
