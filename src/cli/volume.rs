//! `lath volume`: directories of the store that outlive containers.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Settled, Shape};
use super::run::checked_volume;
use super::{Globals, Output, arguments, each, exit, listing};
use crate::container::{Stored, control, random_name};
use crate::error::{Error, Result};
use crate::image::json::Value;
use crate::session::Session;
use crate::sort::sort_by;

/// Look after volumes: create, ls, inspect, rm, prune
#[derive(FromArgs)]
#[argh(subcommand, name = "volume")]
pub struct Args {
    /// prune: those with a name too
    #[argh(switch, short = 'a')]
    all: bool,
    /// rm: one that is not there is no failure; prune: do not ask
    #[argh(switch, short = 'f')]
    force: bool,
    /// ls, prune: only that for which it holds: dangling=true|false, name=, label=NAME[=VALUE]
    #[argh(option, arg_name = "filter")]
    filter: Vec<String>,
    /// ls, inspect: print by a template, or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// create: a label
    #[argh(option, arg_name = "name=value")]
    label: Vec<String>,
    /// create: its name
    #[argh(option, arg_name = "name")]
    name: Option<String>,
    /// ls: print names only
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// create [NAME], ls, inspect NAME..., rm NAME..., prune
    #[argh(positional, arg_name = "word")]
    words: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("all", Some('a')),
        Opt::switch("force", Some('f')),
        Opt::values("filter", None),
        Opt::value("format", None),
        Opt::values("label", None),
        Opt::value("name", None),
        Opt::switch("quiet", Some('q')),
    ],
    settled: &[Settled {
        opt: Opt::value("driver", Some('d')),
        values: &["local"],
        hint: "volumes are directories of the store",
    }],
    planned: &["opt", "o", "cluster"],
    ..Shape::PLAIN
};

const TABLE: &str = r"table {{.Driver}}\t{{.Name}}";
const NAMES: &[(&str, &str)] = &[("Name", "VOLUME NAME")];

/// Does what the first word says.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let mut words = args.words;
    let verb = if words.is_empty() { String::new() } else { words.remove(0) };
    let options: [(bool, &str, &[&str]); 7] = [
        (args.all, "all", &["prune"]),
        (args.force, "force", &["rm", "remove", "prune"]),
        (!args.filter.is_empty(), "filter", &["ls", "list", "prune"]),
        (args.format.is_some(), "format", &["ls", "list", "inspect"]),
        (!args.label.is_empty(), "label", &["create"]),
        (args.name.is_some(), "name", &["create"]),
        (args.quiet, "quiet", &["ls", "list"]),
    ];
    arguments::for_verb("volume", &verb, &options)?;
    match verb.as_str() {
        "create" => {
            let word = arguments::one_at_most("volume create", words)?;
            if word.is_some() && args.name.is_some() {
                return Err(Error::usage("conflicting options: cannot specify a volume name through both --name and as a positional arg"));
            }
            create(&globals.open()?, word.or(args.name), &args.label, out)
        }
        "ls" | "list" => {
            arguments::exactly::<0>("volume ls", words)?;
            let session = globals.open()?;
            let found = filtered(&session, &args.filter)?;
            list(&found, args.quiet, args.format.as_deref(), out)
        }
        "inspect" => inspect(&globals.open()?, &words, args.format.as_deref(), out),
        "rm" | "remove" => {
            let session = globals.open()?;
            each::all("volume rm", &words, args.force, out, &mut |name| {
                if session.store.volume(name)?.is_none() {
                    return Err(missing(name));
                }
                session.store.remove_volume(name, &|| Ok(users(&session)?.contains(&name.to_owned())))?;
                Ok(Some(name.to_owned()))
            })
        }
        "prune" => {
            arguments::exactly::<0>("volume prune", words)?;
            prune(&args.filter, args.all, args.force, globals, out)
        }
        _ => Err(Error::usage("'lath volume' takes one of: create, ls, inspect, rm, prune")),
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}

/// The volumes that containers have, running or not.
pub(super) fn users(session: &Session) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for container in control::all(session)? {
        let stored = container.record.volumes.iter().filter_map(|volume| volume.source.stored());
        names.extend(stored.map(str::to_owned));
    }
    Ok(names)
}

fn create(session: &Session, name: Option<String>, labels: &[String], out: &mut Output) -> Result<i32> {
    let is_nameless = name.is_none();
    let name = match name {
        Some(name) => checked_volume(&name)?,
        None => random_name()?,
    };
    session.store.make_volume(&name, labels, None, is_nameless)?;
    writeln!(out, "{name}")?;
    Ok(exit::SUCCESS)
}

/// Those that the filters take, by name.
fn filtered(session: &Session, filters: &[String]) -> Result<Vec<Stored>> {
    let mut found = session.store.volumes()?;
    for word in filters {
        let wrong = || {
            Error::usage(format!("invalid filter {word:?}"))
                .hint("use dangling=true, name=TEXT, label=NAME[=VALUE] or label!=NAME[=VALUE]")
        };
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        let has_label = |volume: &Stored| listing::has_label(&volume.labels, value);
        match (name, value) {
            ("dangling", "true" | "1" | "false" | "0") => {
                let (used, is_wanted) = (users(session)?, matches!(value, "false" | "0"));
                found.retain(|volume| used.contains(&volume.name) == is_wanted);
            }
            ("name", text) => found.retain(|volume| volume.name.contains(text)),
            ("driver", text) => found.retain(|_| text == "local"),
            ("label", _) => found.retain(has_label),
            ("label!", _) => found.retain(|volume| !has_label(volume)),
            _ => return Err(wrong()),
        }
    }
    sort_by(&mut found, &mut |one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn value(volume: &Stored) -> Value {
    let mut value = Value::default();
    value.set("CreatedAt", Some(Value::string(&volume.created)));
    value.set("Driver", Some(Value::string("local")));
    value.set("Labels", Some(Value::labels(&volume.labels)));
    value.set("Mountpoint", Some(Value::string(volume.path.to_string_lossy())));
    value.set("Name", Some(Value::string(&volume.name)));
    value.set("Scope", Some(Value::string("local")));
    value
}

fn list(found: &[Stored], quiet: bool, format: Option<&str>, out: &mut Output) -> Result<i32> {
    if quiet {
        for volume in found {
            writeln!(out, "{}", volume.name)?;
        }
        return Ok(exit::SUCCESS);
    }
    listing::print(format, TABLE, NAMES, &mut found.iter().map(value), out)?;
    Ok(exit::SUCCESS)
}

fn inspect(session: &Session, names: &[String], format: Option<&str>, out: &mut Output) -> Result<i32> {
    arguments::at_least("volume inspect", names, 1)?;
    let mut find = |name: &str| {
        session.store.volume(name)?.map(|volume| value(&volume)).ok_or_else(|| missing(name))
    };
    listing::inspect(names, format, (TABLE, NAMES), &mut find, out)
}

#[cfg(feature = "prune")]
fn prune(filters: &[String], all: bool, force: bool, globals: &Globals, out: &mut Output) -> Result<i32> {
    use super::prune::{is_wanted, reclaimed};
    let kind = if all { "local volumes" } else { "anonymous local volumes" };
    if !force && !is_wanted(&format!(" {kind} not used by at least one container."), out)? {
        return Ok(exit::SUCCESS);
    }
    let bytes = remove_unused(&globals.open()?, filters, all, out)?;
    reclaimed(bytes, out)
}

#[cfg(not(feature = "prune"))]
fn prune(_: &[String], _: bool, _: bool, _: &Globals, _: &mut Output) -> Result<i32> {
    Err(Error::built_without("prune"))
}

/// Removes the volumes without a name, or all, that no container has; what they took on the disk.
#[cfg(feature = "prune")]
pub(super) fn remove_unused(session: &Session, filters: &[String], all: bool, out: &mut Output) -> Result<u64> {
    let (mut names, mut bytes) = (Vec::new(), 0);
    for volume in filtered(session, filters)? {
        if !all && !volume.is_nameless {
            continue;
        }
        let took = session.store.volume_bytes(&volume.name)?;
        match session.store.remove_volume(&volume.name, &|| Ok(users(session)?.contains(&volume.name))) {
            Ok(()) => {
                bytes += took;
                names.push(volume.name);
            }
            Err(error) if error.kind() == crate::error::Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    super::prune::tell("Deleted Volumes:", names, out)?;
    Ok(bytes)
}
