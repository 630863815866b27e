//! `lath manifest`: lists of images for several platforms.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit};
use crate::catalog::manifest;
use crate::error::{Error, Result};

/// Put images for several platforms under one name: create, annotate, inspect, push, rm
#[derive(FromArgs)]
#[argh(subcommand, name = "manifest")]
pub struct Args {
    /// create: add to a list that is there
    #[argh(switch, short = 'a')]
    amend: bool,
    /// push: forget the list afterwards
    #[argh(switch, short = 'p')]
    purge: bool,
    /// create, inspect, push: without TLS if need be
    #[argh(switch)]
    insecure: bool,
    /// annotate: the operating system
    #[argh(option, default = "String::new()", arg_name = "name")]
    os: String,
    /// annotate: the architecture
    #[argh(option, default = "String::new()", arg_name = "name")]
    arch: String,
    /// annotate: its variant
    #[argh(option, default = "String::new()", arg_name = "name")]
    variant: String,
    /// create LIST IMAGE..., annotate LIST IMAGE, inspect NAME, push LIST, rm LIST...
    #[argh(positional, arg_name = "word")]
    words: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("amend", Some('a')),
        Opt::switch("purge", Some('p')),
        Opt::switch("insecure", None),
        Opt::value("os", None),
        Opt::value("arch", None),
        Opt::value("variant", None),
    ],
    planned: &["verbose", "v", "os-features", "os-version"],
    ..Shape::PLAIN
};

/// Does what the first word says.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let mut words = args.words;
    let verb = if words.is_empty() { String::new() } else { words.remove(0) };
    let parts = [args.os.as_str(), &args.arch, &args.variant];
    let annotates = parts.iter().any(|part| !part.is_empty());
    for (given, option, verbs) in [
        (args.amend, "amend", &["create"][..]),
        (args.purge, "purge", &["push"]),
        (args.insecure, "insecure", &["create", "inspect", "push"]),
        (annotates, "os, --arch and --variant", &["annotate"]),
    ] {
        if given && !verbs.contains(&verb.as_str()) {
            let text = format!("--{option} is for manifest {}", verbs.join(", "));
            return Err(Error::usage(text));
        }
    }
    let command = format!("manifest {verb}");
    match verb.as_str() {
        "create" => {
            arguments::at_least(&command, &words, 2)?;
            let name = words.remove(0);
            let session = globals.open()?;
            let name = manifest::create(&session, &name, &words, args.amend, args.insecure)?;
            let (full, tag) = (name.full_name(), name.tag_or_latest());
            writeln!(out, "Created manifest list {full}:{tag}")?;
        }
        "annotate" => {
            let [list, image] = arguments::exactly(&command, words)?;
            manifest::annotate(&globals.open()?, &list, &image, parts)?;
        }
        "inspect" => {
            let [name] = arguments::exactly(&command, words)?;
            let value = manifest::inspect(&globals.open()?, &name, args.insecure)?;
            writeln!(out, "{}", value.to_pretty())?;
        }
        "push" => {
            let [list] = arguments::exactly(&command, words)?;
            let session = globals.open()?;
            let digest = manifest::push(&session, &list, args.purge, args.insecure)?;
            writeln!(out, "{digest}")?;
        }
        "rm" => {
            arguments::at_least(&command, &words, 1)?;
            manifest::remove(&globals.open()?, &words)?;
        }
        _ => {
            let text = "'lath manifest' takes one of: create, annotate, inspect, push, rm";
            return Err(Error::usage(text));
        }
    }
    Ok(exit::SUCCESS)
}
