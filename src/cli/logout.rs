//! `lath logout`: forgets who the user is for a registry.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, arguments, exit, login};
use crate::catalog::push;
use crate::error::Result;

/// Log out from a registry
#[derive(FromArgs)]
#[argh(subcommand, name = "logout")]
pub struct Args {
    /// the registry (default: docker.io)
    #[argh(positional, arg_name = "server")]
    servers: Vec<String>,
}

/// No options.
pub const SHAPE: Shape = Shape::PLAIN;

/// Takes the credentials away.
pub fn run(args: Args, _: Vec<String>, _: &Globals, out: &mut Output) -> Result<i32> {
    let server = arguments::one_at_most("logout", args.servers)?;
    let registry = login::registry_of(server.as_deref().unwrap_or_default());
    match push::logout(&registry)? {
        true => writeln!(out, "Removing login credentials for {registry}")?,
        false => writeln!(out, "Not logged in to {registry}")?,
    }
    Ok(exit::SUCCESS)
}
