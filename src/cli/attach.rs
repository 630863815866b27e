//! `lath attach`: to a container in the background, as if it had been started here.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit};
use crate::container::attach::{Left, Manner, attach};
use crate::container::control::find;
use crate::error::Result;

/// Come to a container in the background; Ctrl-P Ctrl-Q leaves it again
#[derive(FromArgs)]
#[argh(subcommand, name = "attach")]
pub struct Args {
    /// only see what it says
    #[argh(switch)]
    no_stdin: bool,
    /// signals are for the program (the default); with =false they end lath alone
    #[argh(option, arg_name = "bool")]
    sig_proxy: Option<bool>,
    /// name or id of a container
    #[argh(positional, arg_name = "container")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::switch("no-stdin", None), Opt::truth("sig-proxy", None)],
    planned: &["detach-keys"],
    ..Shape::PLAIN
};

/// Stays until the program ends, with its exit code.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, _: &mut Output) -> Result<i32> {
    let [name] = arguments::exactly("attach", args.names)?;
    let session = globals.open()?;
    let container = find(&session, &name)?;
    let manner =
        Manner { types: !args.no_stdin, hands_signals_on: args.sig_proxy.unwrap_or(true) };
    match attach(&container, manner)? {
        Left::Ended(code) => Ok(code),
        Left::Detached => {
            // As docker says it, to whoever still listens.
            let _ = writeln!(std::io::stderr(), "read escape sequence");
            Ok(exit::SUCCESS)
        }
    }
}
