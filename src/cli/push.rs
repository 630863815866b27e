//! `lath push`: an image to the registry that its name names.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{CONTENT_TRUST, Opt, Shape};
use super::progress::{self, Mode, Terminals};
use super::{Globals, Output, arguments, exit};
use crate::catalog::push::{self, Sent};
use crate::error::Result;
use crate::image::reference::Reference;

/// Send an image to the registry of its name
#[derive(FromArgs)]
#[argh(subcommand, name = "push")]
pub struct Args {
    /// tell the name alone
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// false: without TLS, or with a certificate that nobody vouches for
    #[argh(option, arg_name = "bool")]
    tls_verify: Option<bool>,
    /// the image's name
    #[argh(positional, arg_name = "name")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::switch("quiet", Some('q')), Opt::truth("tls-verify", None)],
    settled: &[CONTENT_TRUST],
    planned: &["all-tags", "a", "platform"],
    ..Shape::PLAIN
};

/// Pushes the image and tells what became of its layers.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("push", args.names)?;
    let reference = Reference::parse(&name)?;
    let session = globals.open()?;
    if !args.quiet {
        writeln!(out, "The push refers to repository [{}]", reference.full_name())?;
        out.flush()?;
    }
    let mode = if args.quiet { Mode::Quiet } else { Mode::Auto };
    let (mut none, mut err) = (std::io::sink(), std::io::stderr());
    let mut progress = progress::choose(mode, &mut none, &mut err, Terminals::probe());
    let pushed = push::push(&session, &name, args.tls_verify == Some(false), &mut *progress);
    progress.finish(pushed.as_ref().err());
    let pushed = pushed?;
    if args.quiet {
        writeln!(out, "{}:{}", reference.full_name(), reference.tag_or_latest())?;
        return Ok(exit::SUCCESS);
    }
    // The topmost first, as docker has it.
    for (layer, sent) in pushed.layers.iter().rev() {
        let what = match sent {
            Sent::Pushed => "Pushed",
            Sent::Exists => "Layer already exists",
            Sent::Mounted(from) => &format!("Mounted from {from}"),
        };
        writeln!(out, "{}: {what}", layer.short())?;
    }
    let (tag, digest, size) = (reference.tag_or_latest(), pushed.digest, pushed.size_bytes);
    writeln!(out, "{tag}: digest: {digest} size: {size}")?;
    Ok(exit::SUCCESS)
}
