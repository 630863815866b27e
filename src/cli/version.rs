//! `lath version`: which lath this is. Also the pattern for a new command.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::template::Template;
use super::{Globals, Output, exit};
use crate::error::Result;
use crate::image::json::Value;

/// Show which version of lath this is
#[derive(FromArgs)]
#[argh(subcommand, name = "version")]
pub struct Args {
    /// print by a template, e.g. "{{.Client.Version}}", or "json"
    #[argh(option, short = 'f', arg_name = "template")]
    format: Option<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape { options: &[Opt::value("format", Some('f'))], ..Shape::PLAIN };

/// What may be left out of a binary, and whether it is in this one.
const FEATURES: &[(&str, bool)] = &[
    ("bzip2", cfg!(feature = "bzip2")),
    ("containers", cfg!(feature = "containers")),
    ("doctor", cfg!(feature = "doctor")),
    ("fsck", cfg!(feature = "fsck")),
    ("lint", cfg!(feature = "lint")),
    ("net", cfg!(feature = "net")),
    ("outputs", cfg!(feature = "outputs")),
    ("prune", cfg!(feature = "prune")),
    ("tls", cfg!(feature = "tls")),
    ("xz", cfg!(feature = "xz")),
    ("zstd", cfg!(feature = "zstd")),
];

/// Prints the version.
pub fn run(args: Args, _: Vec<String>, _: &Globals, out: &mut Output) -> Result<i32> {
    let facts = facts();
    match args.format {
        Some(format) => {
            let mut text = Template::parse(&format)?.render(&facts)?;
            text.push('\n');
            out.write_all(text.as_bytes())?;
        }
        None => {
            for (name, value) in facts.get("Client").and_then(Value::as_object).unwrap_or_default()
            {
                let label = format!("{name}:");
                writeln!(out, "{label:<9} {}", value.as_str().unwrap_or_default())?;
            }
        }
    }
    Ok(exit::SUCCESS)
}

/// The names are docker's, where scripts look for them: `{{.Client.Version}}` and, since there is
/// no daemon, the same under `.Server`.
fn facts() -> Value {
    let mut own = Value::default();
    own.set("Version", Some(Value::string(env!("CARGO_PKG_VERSION"))));
    own.set("Os", Some(Value::string(std::env::consts::OS)));
    own.set("Arch", Some(Value::string(std::env::consts::ARCH)));
    let there = FEATURES.iter().filter(|(_, is_there)| *is_there);
    let names: Vec<&str> = there.map(|(name, _)| *name).collect();
    own.set("Features", Some(Value::string(names.join(" "))));
    let mut facts = Value::default();
    facts.set("Client", Some(own.clone()));
    facts.set("Server", Some(own));
    facts
}
