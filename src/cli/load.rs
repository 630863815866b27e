//! `lath load`: the images of an archive of docker, podman or lath.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::progress::{self, Mode, Terminals};
use super::{Globals, Output, exit};
use crate::catalog::transfer;
use crate::error::{Context as _, Error, Result};
use crate::image::platform::Platform;

/// Load images from an archive
#[derive(FromArgs)]
#[argh(subcommand, name = "load")]
pub struct Args {
    /// the archive (default: standard input)
    #[argh(option, short = 'i', arg_name = "file")]
    input: Option<String>,
    /// which one of an image for several platforms, e.g. linux/arm/v7
    #[argh(option, arg_name = "platform")]
    platform: Option<String>,
    /// show no progress
    #[argh(switch, short = 'q')]
    quiet: bool,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::value("input", Some('i')),
        Opt::value("platform", None),
        Opt::switch("quiet", Some('q')),
    ],
    ..Shape::PLAIN
};

/// Loads the images and tells their names.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let platform = args.platform.as_deref().filter(|text| !text.is_empty());
    let platform = platform.map(Platform::parse).transpose()?;
    let input = args.input.filter(|path| !path.is_empty());
    if input.is_none() && std::io::stdin().is_terminal() {
        return Err(Error::usage("requested load from stdin, but stdin is empty")
            .hint("use the -i option or redirect"));
    }
    let mode = if args.quiet { Mode::Quiet } else { Mode::Auto };
    let session = globals.open()?;
    let file = open(input.as_deref())?;
    let (mut none, mut err) = (std::io::sink(), std::io::stderr());
    let mut progress = progress::choose(mode, &mut none, &mut err, Terminals::probe());
    let loaded = transfer::load(&session, file, platform.as_ref(), &mut *progress);
    progress.finish(loaded.as_ref().err());
    for image in loaded.context(|| format!("load {}", shown(input.as_deref())))? {
        for name in &image.names {
            writeln!(out, "Loaded image: {name}")?;
        }
        if image.names.is_empty() {
            writeln!(out, "Loaded image ID: {}", image.image)?;
        }
    }
    Ok(exit::SUCCESS)
}

/// What an input is called in a message.
pub(super) fn shown(path: Option<&str>) -> String {
    path.map_or_else(|| "standard input".to_owned(), |path| format!("{path:?}"))
}

/// A file, or standard input.
pub(super) fn open(path: Option<&str>) -> Result<OwnedFd> {
    match path {
        Some(path) => {
            let file = File::open(path).context(|| format!("open {path:?}"))?;
            Ok(OwnedFd::from(file))
        }
        None => std::io::stdin().as_fd().try_clone_to_owned().context(|| "read standard input"),
    }
}
