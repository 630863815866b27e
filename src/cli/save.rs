//! `lath save`: images as one archive that docker, podman and lath load.

use std::io::IsTerminal as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::progress::{self, Mode, Terminals};
use super::whole_file::WholeFile;
use super::{Globals, Output, arguments, exit};
use crate::catalog::transfer;
use crate::error::{Error, Result};
use crate::sys::flow::Outflow;

/// Save images to an archive
#[derive(FromArgs)]
#[argh(subcommand, name = "save")]
pub struct Args {
    /// the archive (default: standard output)
    #[argh(option, short = 'o', arg_name = "file")]
    output: Option<String>,
    /// names or ids; a name without a tag means all its tags
    #[argh(positional, arg_name = "image")]
    images: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::value("output", Some('o'))],
    planned: &["platform"],
    ..Shape::PLAIN
};

/// Writes the archive.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    arguments::at_least("save", &args.images, 1)?;
    let path = args.output.filter(|path| !path.is_empty());
    if path.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::usage("cowardly refusing to save to a terminal")
            .hint("use the -o option or redirect"));
    }
    let session = globals.open()?;
    let mut whole = path.as_deref().map(|path| WholeFile::create(path, 0o600)).transpose()?;
    let to: &mut dyn Outflow = match &mut whole {
        Some(file) => file,
        None => out,
    };
    // Standard output is the archive's.
    let (mut none, mut err) = (std::io::sink(), std::io::stderr());
    let mut progress = progress::choose(Mode::Auto, &mut none, &mut err, Terminals::probe());
    let saved = transfer::save(&session, &args.images, to, &mut *progress);
    progress.finish(saved.as_ref().err());
    saved?;
    if let Some(file) = whole {
        file.finish()?;
    }
    Ok(exit::SUCCESS)
}
