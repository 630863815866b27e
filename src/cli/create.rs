//! `lath create`: a container that does not run yet. Its words are those of `run`.

use std::io::Write as _;

use super::normalize::Shape;
use super::run;
use super::{Globals, Output, exit};
use crate::container;
use crate::error::{Error, Result};

/// Those of `run`, under another name.
pub struct Args(run::Args);

impl argh::FromArgs for Args {
    fn from_args(command: &[&str], words: &[&str]) -> Result<Args, argh::EarlyExit> {
        <run::Args as argh::FromArgs>::from_args(command, words).map(Args)
    }
}

impl argh::SubCommand for Args {
    const COMMAND: &'static argh::CommandInfo = &argh::CommandInfo {
        name: "create",
        short: &'\0',
        description: "Make a container without starting it",
    };
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape { runs_program: false, ..run::SHAPE };

/// Makes it and prints its id.
pub fn run(args: Args, tail: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    if args.0.detach {
        return Err(Error::usage("\"lath create\" has no option --detach").hint("see 'lath help create'"));
    }
    let cidfile = args.0.cidfile.clone();
    let (session, request) = run::ask(args.0, tail, globals)?;
    let container = container::create(&session, &request)?;
    if let Some(path) = cidfile {
        run::CidFile::new(path)?.write(&container.record.id)?;
    }
    writeln!(out, "{}", container.record.id)?;
    Ok(exit::SUCCESS)
}
