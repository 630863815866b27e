//! `lath inspect`: all that is known of images, as JSON or by a template.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::template::Template;
use super::{Globals, Output, arguments, exit, report};
use crate::catalog;
use crate::error::{Error, Result};
use crate::image::json::Value;
use crate::session::Session;

/// Show all that is known of images and containers
#[derive(FromArgs)]
#[argh(subcommand, name = "inspect")]
pub struct Args {
    /// print by a template, e.g. "{{.Config.Cmd}}", or "json"
    #[argh(option, short = 'f', arg_name = "template")]
    format: Option<String>,
    /// what the names mean: image or container
    #[argh(option, long = "type", arg_name = "type")]
    kind: Option<String>,
    /// names or ids
    #[argh(positional, arg_name = "name")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::value("format", Some('f')), Opt::value("type", None)],
    planned: &["size", "s", "platform"],
    ..Shape::PLAIN
};

/// Prints the objects; one that is not there stops no other and is told at the end.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    arguments::at_least("inspect", &args.names, 1)?;
    let noun = noun(args.kind.as_deref().unwrap_or_default())?;
    let format = args.format.as_deref().unwrap_or_default();
    let template = match format {
        "" | "json" => None,
        text => Some(Template::parse(text)?),
    };
    let session = globals.open()?;
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for name in &args.names {
        match object(&session, name, noun) {
            Ok(Some(value)) => found.push(value),
            Ok(None) => errors.push(Error::not_found(format!("No such {noun}: {name}"))),
            Err(error) => errors.push(error),
        }
    }
    match template {
        Some(template) => {
            let is_empty = found.is_empty();
            for value in found {
                let value = catalog::inspect::for_template(value);
                writeln!(out, "{}", template.render(&value)?)?;
            }
            if is_empty {
                out.write_all(b"\n")?;
            }
        }
        None if format == "json" => writeln!(out, "{}", Value::Array(found).to_text())?,
        None => writeln!(out, "{}", Value::Array(found).to_pretty())?,
    }
    out.flush()?;
    let mut code = exit::SUCCESS;
    for error in errors {
        let _ = report::error(&mut std::io::stderr(), &error);
        code = exit::of_error(&error, false);
    }
    Ok(code)
}

/// What an unknown name is called in the message.
fn noun(kind: &str) -> Result<&'static str> {
    match kind {
        "" => Ok("object"),
        "image" => Ok("image"),
        "container" if cfg!(feature = "containers") => Ok("container"),
        "container" | "volume" | "network" | "node" | "service" | "secret" | "config"
        | "plugin" | "task" => {
            Err(Error::unsupported(format!("inspect --type={kind} is not supported yet")))
        }
        _ => Err(Error::usage(format!("{kind:?} is not a valid value for --type"))),
    }
}

fn object(session: &Session, name: &str, noun: &str) -> Result<Option<Value>> {
    #[cfg(feature = "containers")]
    if noun != "image"
        && let Some(container) = crate::container::control::find_one(session, name)?
    {
        return crate::container::inspect::inspect(session, &container).map(Some);
    }
    if noun == "container" {
        return Ok(None);
    }
    match catalog::resolve::find(&session.store, name)? {
        Some(found) => catalog::inspect::inspect(&session.store, &found.image).map(Some),
        None => Ok(None),
    }
}
