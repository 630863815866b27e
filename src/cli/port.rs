//! `lath port`: which ports of the host lead to a container.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::Shape;
use super::{Globals, Output, arguments, exit};
use crate::container::control::find;
use crate::container::{Port, State};
use crate::error::{Error, Result};

/// Show which ports of the host lead to a container
#[derive(FromArgs)]
#[argh(subcommand, name = "port")]
pub struct Args {
    /// the container, and one port of it: 80 or 53/udp
    #[argh(positional, arg_name = "container port")]
    words: Vec<String>,
}

/// No options.
pub const SHAPE: Shape = Shape::PLAIN;

/// Prints a line for each.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    arguments::at_least("port", &args.words, 1)?;
    let mut words = args.words.into_iter();
    let name = words.next().unwrap_or_default();
    let wanted = arguments::one_at_most("port", words.collect())?;
    let wanted = wanted.map(|port| if port.contains('/') { port } else { format!("{port}/tcp") });
    let (is_running, state) = find(&globals.open()?, &name)?.state()?;
    let ports = if is_running { state.ports } else { Vec::new() };
    let mut is_there = false;
    for port in ports {
        let inside = format!("{}/{}", port.inside, port.protocol.name());
        if wanted.as_ref().is_some_and(|wanted| *wanted != inside) {
            continue;
        }
        is_there = true;
        for host in hosts(&port) {
            match &wanted {
                Some(_) => writeln!(out, "{host}:{}", port.host)?,
                None => writeln!(out, "{inside} -> {host}:{}", port.host)?,
            }
        }
    }
    match wanted {
        Some(wanted) if !is_there => {
            Err(Error::not_found(format!("no public port '{wanted}' published for {name}")))
        }
        _ => Ok(exit::SUCCESS),
    }
}

/// The addresses of the host's, as they are shown.
fn hosts(port: &Port) -> Vec<String> {
    match port.address {
        Some(std::net::IpAddr::V6(address)) => vec![format!("[{address}]")],
        Some(address) => vec![address.to_string()],
        None => vec!["0.0.0.0".to_owned(), "[::]".to_owned()],
    }
}

/// The ports of a container that runs, as `ps` shows them.
pub(super) fn shown(state: &State) -> String {
    let mut all = Vec::new();
    for port in &state.ports {
        for host in hosts(port) {
            all.push(format!("{host}:{}->{}/{}", port.host, port.inside, port.protocol.name()));
        }
    }
    all.join(", ")
}
