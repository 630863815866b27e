//! `lath logs`: what a container in the background has said.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit};
use crate::container::control::find;
use crate::container::log::{Source, Wanted, read};
use crate::error::{Error, Result};
use crate::image::time::{parse_until, rfc3339};
use crate::sys::fs::now;

/// Show what a container has said
#[derive(FromArgs)]
#[argh(subcommand, name = "logs")]
pub struct Args {
    /// go on until the container ends
    #[argh(switch, short = 'f')]
    follow: bool,
    /// nothing older: a time, or how long ago, e.g. 10m
    #[argh(option, arg_name = "time")]
    since: Option<String>,
    /// nothing newer
    #[argh(option, arg_name = "time")]
    until: Option<String>,
    /// only the last lines, or all
    #[argh(option, short = 'n', arg_name = "number")]
    tail: Option<String>,
    /// with times
    #[argh(switch, short = 't')]
    timestamps: bool,
    /// name or id of a container
    #[argh(positional, arg_name = "container")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("follow", Some('f')),
        Opt::value("since", None),
        Opt::value("until", None),
        Opt::value("tail", Some('n')),
        Opt::switch("timestamps", Some('t')),
    ],
    planned: &["details"],
    ..Shape::PLAIN
};

/// Prints the log; what went to standard error goes there.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("logs", args.names)?;
    let session = globals.open()?;
    let container = find(&session, &name)?;
    let time = |text: Option<String>| match text {
        None => Ok(None),
        Some(text) => parse_until(&text, now().0)
            .map(Some)
            .ok_or_else(|| Error::usage(format!("{text:?} is no time")).hint("write it as 10m or 2026-12-01T10:00:00Z")),
    };
    let tail = match args.tail.as_deref() {
        None | Some("all") => None,
        // Less than none is all, as docker has it.
        Some(text) if text.starts_with('-') => None,
        Some(text) => Some(text.parse().map_err(|_| Error::usage(format!("--tail {text:?} is no number")))?),
    };
    let wanted = Wanted { tail, since: time(args.since)?, until: time(args.until)?, follow: args.follow };
    let mut err = std::io::stderr();
    let mut begins = true;
    read(&container, &wanted, &mut |entry| {
        let mut line = Vec::with_capacity(entry.text.len() + 40);
        if args.timestamps && begins {
            line.extend_from_slice(rfc3339(entry.time.0, entry.time.1).as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(entry.text);
        if entry.is_whole {
            line.push(b'\n');
        }
        begins = entry.is_whole;
        match entry.source {
            Source::Out => {
                out.write_all(&line)?;
                if args.follow {
                    out.flush()?;
                }
                Ok(!out.is_closed())
            }
            Source::Err => {
                out.flush()?;
                Ok(err.write_all(&line).is_ok())
            }
        }
    })?;
    Ok(exit::SUCCESS)
}
