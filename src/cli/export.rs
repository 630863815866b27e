//! `lath export`: a container's files as a tar.

use std::io::IsTerminal as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::whole_file::WholeFile;
use super::{Globals, Output, arguments, exit};
use crate::container::control::find;
use crate::error::{Error, Result};

/// Write a container's files as a tar
#[derive(FromArgs)]
#[argh(subcommand, name = "export")]
pub struct Args {
    /// the tar (default: standard output)
    #[argh(option, short = 'o', arg_name = "file")]
    output: Option<String>,
    /// name or id of a container
    #[argh(positional, arg_name = "container")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape { options: &[Opt::value("output", Some('o'))], ..Shape::PLAIN };

/// Writes the tar.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("export", args.names)?;
    let path = args.output.filter(|path| !path.is_empty());
    if path.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::usage("cowardly refusing to write a tar to a terminal")
            .hint("use the -o option or redirect"));
    }
    let session = globals.open()?;
    let container = find(&session, &name)?;
    match path {
        Some(path) => {
            let mut file = WholeFile::create(&path, 0o600)?;
            container.export(&session, &mut file)?;
            file.finish()?;
        }
        None => container.export(&session, out)?,
    }
    Ok(exit::SUCCESS)
}
