//! `lath commit`: an image of what a container has changed.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit};
use crate::container::commit::Request;
use crate::container::control::find;
use crate::error::{Error, Result};

/// Make an image of what a container has changed
#[derive(FromArgs)]
#[argh(subcommand, name = "commit")]
pub struct Args {
    /// who made it, e.g. "Ada <ada@example.com>"
    #[argh(option, short = 'a', arg_name = "text")]
    author: Option<String>,
    /// a statement such as "CMD sh" that is applied to the image
    #[argh(option, short = 'c', arg_name = "statement")]
    change: Vec<String>,
    /// a line for its history
    #[argh(option, short = 'm', arg_name = "text")]
    message: Option<String>,
    /// stop the container's processes meanwhile (default: true)
    #[argh(option, short = 'p')]
    pause: Option<bool>,
    /// name or id of a container; then the name of the image
    #[argh(positional, arg_name = "container [repository[:tag]]")]
    words: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::value("author", Some('a')),
        Opt::values("change", Some('c')),
        Opt::value("message", Some('m')),
        Opt::truth("pause", Some('p')),
    ],
    ..Shape::PLAIN
};

/// Makes the image and prints its id.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let mut words = args.words.into_iter();
    let (Some(container), name, None) = (words.next(), words.next(), words.next()) else {
        return Err(Error::usage("\"lath commit\" requires a container, and perhaps a name")
            .hint("see 'lath help commit'"));
    };
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let request = Request {
        name: text(name),
        author: text(args.author),
        message: text(args.message),
        changes: args.change,
        pause: args.pause.unwrap_or(true),
    };
    let session = globals.open()?;
    let image = find(&session, &container)?.commit(&session, &request)?;
    writeln!(out, "{image}")?;
    Ok(exit::SUCCESS)
}
