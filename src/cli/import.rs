//! `lath import`: an image of the tar of a root tree.

use std::io::{IsTerminal as _, Write as _};

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit, load};
use crate::catalog::transfer::{self, Import};
use crate::error::{Context as _, Error, Result};
use crate::image::platform::Platform;

/// Make an image of the tar of a root tree
#[derive(FromArgs)]
#[argh(subcommand, name = "import")]
pub struct Args {
    /// a statement such as "CMD sh" that is applied to the image
    #[argh(option, short = 'c', arg_name = "statement")]
    change: Vec<String>,
    /// a line for its history
    #[argh(option, short = 'm', arg_name = "text")]
    message: Option<String>,
    /// what it runs on (default: this machine), e.g. linux/arm/v7
    #[argh(option, arg_name = "platform")]
    platform: Option<String>,
    /// the tar, "-" for standard input; then the name of the image
    #[argh(positional, arg_name = "file [repository[:tag]]")]
    words: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::values("change", Some('c')),
        Opt::value("message", Some('m')),
        Opt::value("platform", None),
    ],
    ..Shape::PLAIN
};

/// Imports the tree and prints the image's id.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let mut words = args.words.into_iter();
    let (source, name) = match (words.next(), words.next(), words.next()) {
        (Some(source), name, None) => (source, name.filter(|name| !name.is_empty())),
        (None, ..) => {
            return Err(Error::usage("\"lath import\" requires at least 1 argument")
                .hint("see 'lath help import'"));
        }
        _ => {
            return Err(Error::usage("\"lath import\" requires at most 2 arguments")
                .hint("see 'lath help import'"));
        }
    };
    if source.starts_with("http://") || source.starts_with("https://") {
        let text = format!("an import from {source:?} is not supported yet");
        return Err(Error::unsupported(text).hint("fetch the file and import that"));
    }
    let path = Some(source.as_str()).filter(|path| *path != "-");
    if path.is_none() && std::io::stdin().is_terminal() {
        return Err(Error::usage("cowardly refusing to import from a terminal")
            .hint("name a file or redirect"));
    }
    let platform = args.platform.as_deref().filter(|text| !text.is_empty());
    let request = Import {
        name,
        changes: args.change,
        // docker says this of files too: their names are the builder's, not the image's.
        message: args.message.unwrap_or_else(|| "Imported from -".to_owned()),
        platform: platform.map(Platform::parse).transpose()?,
    };
    let session = globals.open()?;
    let image = transfer::import(&session, load::open(path)?, &request)
        .context(|| format!("import {}", load::shown(path)))?;
    writeln!(out, "{image}")?;
    Ok(exit::SUCCESS)
}
