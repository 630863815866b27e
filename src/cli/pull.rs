//! `lath pull`: an image from its registry.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{CONTENT_TRUST, Opt, Shape};
use super::progress::{self, Mode, Terminals};
use super::{Globals, Output, arguments, exit, priority};
use crate::catalog::pull;
use crate::error::Result;
use crate::image::platform::Platform;
use crate::image::reference::Reference;

/// Bring an image in from its registry
#[derive(FromArgs)]
#[argh(subcommand, name = "pull")]
pub struct Args {
    /// which one of an image for several platforms, e.g. linux/arm/v7
    #[argh(option, arg_name = "platform")]
    platform: Option<String>,
    /// low: give way to all else; normal. low where there is one processor, else normal
    #[argh(option, arg_name = "word")]
    priority: Option<String>,
    /// tell the name alone
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// false: without TLS, or with a certificate that nobody vouches for
    #[argh(option, arg_name = "bool")]
    tls_verify: Option<bool>,
    /// the image
    #[argh(positional, arg_name = "name")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::value("platform", None),
        Opt::value("priority", None),
        Opt::switch("quiet", Some('q')),
        Opt::truth("tls-verify", None),
    ],
    settled: &[CONTENT_TRUST],
    planned: &["all-tags", "a"],
    ..Shape::PLAIN
};

/// Pulls the image and tells what it was.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("pull", args.names)?;
    let reference = Reference::parse(&name)?;
    let platform = args.platform.as_deref().filter(|text| !text.is_empty());
    let platform = platform.map(Platform::parse).transpose()?;
    priority::take(args.priority.as_deref())?;
    let session = globals.open()?;
    let word = match &reference.digest {
        Some(digest) => digest.to_string(),
        None => reference.tag_or_latest().to_owned(),
    };
    if !args.quiet {
        let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        if !has_tag {
            writeln!(out, "Using default tag: latest")?;
        }
        writeln!(out, "{word}: Pulling from {}", reference.repository)?;
        out.flush()?;
    }
    let mode = if args.quiet { Mode::Quiet } else { Mode::Auto };
    let (mut none, mut err) = (std::io::sink(), std::io::stderr());
    let mut progress = progress::choose(mode, &mut none, &mut err, Terminals::probe());
    let may_be_plain = args.tls_verify == Some(false);
    let pulled =
        pull::pull(&session, &reference, platform.as_ref(), may_be_plain, &mut *progress);
    progress.finish(pulled.as_ref().err());
    let pulled = pulled?;
    if !args.quiet {
        writeln!(out, "Digest: {}", pulled.digest)?;
        let status = if pulled.is_new { "Downloaded newer image" } else { "Image is up to date" };
        writeln!(out, "Status: {status} for {reference}")?;
    }
    // In full, as docker ends it.
    let end = if reference.digest.is_some() { "@" } else { ":" };
    writeln!(out, "{}{end}{word}", reference.full_name())?;
    Ok(exit::SUCCESS)
}
