//! `lath prune`, and docker's `image prune`, `builder prune` and `system prune`: takes away what
//! nobody needs, after a question.

use std::io::Write as _;
use std::os::fd::AsFd as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit, size};
use crate::catalog::prune::{Images, cache, images};
use crate::error::{Error, Result};

/// Remove what nobody needs: images without a name, build cache
#[derive(FromArgs)]
#[argh(subcommand, name = "prune")]
pub struct Args {
    /// images with a name too, and cache that led to an image
    #[argh(switch, short = 'a')]
    all: bool,
    /// do not ask
    #[argh(switch, short = 'f')]
    force: bool,
    /// only that for which it holds: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]
    #[argh(option, arg_name = "filter")]
    filter: Vec<String>,
    /// how much cache may stay
    #[argh(option, arg_name = "size")]
    keep_storage: Option<String>,
    /// what: image or cache (default: both)
    #[argh(option, arg_name = "kind")]
    kind: Option<String>,
    /// system prune: volumes without a name too
    #[argh(switch)]
    volumes: bool,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("all", Some('a')),
        Opt::switch("force", Some('f')),
        Opt::values("filter", None),
        Opt::value("keep-storage", None),
        Opt::value("kind", None),
        Opt::switch("volumes", None),
    ],
    planned: &["max-used-space", "min-free-space", "reserved-space", "verbose"],
    ..Shape::PLAIN
};

/// Asks, and removes.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let (of_images, of_cache) = match args.kind.as_deref() {
        #[cfg(feature = "containers")]
        Some("container") => return containers::run(args.force, &args.filter, globals, out),
        None => (true, true),
        Some("image") => (true, false),
        Some("cache") => (false, true),
        Some(other) => {
            return Err(Error::usage(format!("{other} prune is not supported yet")));
        }
    };
    let is_all = of_images && of_cache;
    if (args.keep_storage.is_some() && !of_cache) || (args.volumes && !is_all) {
        return Err(Error::usage("--keep-storage is for builder prune, --volumes for system prune"));
    }
    // The cache has no labels: with such a filter it stays, as it does with docker.
    let until: Vec<String> = args.filter.iter().filter(|word| !word.starts_with("label")).cloned().collect();
    let keeps_cache = is_all && until.len() < args.filter.len();
    let words = if is_all { &until } else { &args.filter };
    let wanted = match of_cache {
        true => Some(cache(args.all, words, args.keep_storage.as_deref())?).filter(|_| !keeps_cache),
        false => None,
    };
    let all_images = "all images without at least one container associated to them";
    let (of_image, of_cache) = match args.all {
        true => (all_images, "all build cache"),
        false => ("all dangling images", "unused build cache"),
    };
    let stopped = match args.volumes {
        true => format!("{STOPPED}  - all anonymous volumes not used by at least one container\n"),
        false => STOPPED.to_owned(),
    };
    let question = match (of_images, wanted.is_some()) {
        (true, true) => format!(":\n{stopped}  - {of_image}\n  - {of_cache}\n"),
        (true, false) => format!(" {of_image}."),
        _ if args.all => " all build cache.".to_owned(),
        _ => " all dangling build cache.".to_owned(),
    };
    if !args.force && !is_wanted(&question, out)? {
        return Ok(exit::SUCCESS);
    }
    let session = globals.open()?;
    let mut bytes = 0;
    #[cfg(feature = "containers")]
    if is_all {
        bytes += containers::remove(&session, &args.filter, out)?;
        if args.volumes {
            let labels = args.filter.iter().filter(|word| word.starts_with("label")).cloned();
            bytes += super::volume::remove_unused(&session, &labels.collect::<Vec<_>>(), false, out)?;
        }
    }
    if of_images {
        let removal = images(&session, &Images { all: args.all, filters: args.filter })?;
        let named = removal.untagged.iter().map(|name| format!("untagged: {name}"));
        let deleted = removal.deleted.iter().chain(&removal.freed.chains);
        let lines = named.chain(deleted.map(|id| format!("deleted: {id}")));
        tell("Deleted Images:", lines.collect(), out)?;
        bytes += removal.freed.bytes;
    }
    if let Some(wanted) = wanted {
        let pruned = session.store.prune(&wanted)?;
        tell("Deleted build cache objects:", pruned.cache, out)?;
        bytes += pruned.bytes;
    }
    reclaimed(bytes, out)
}

/// What system prune removes besides.
#[cfg(feature = "containers")]
const STOPPED: &str = "  - all stopped containers\n";
#[cfg(not(feature = "containers"))]
const STOPPED: &str = "";

#[cfg(feature = "containers")]
mod containers {
    use super::{Globals, Output, Result, exit, is_wanted, reclaimed, tell};
    use crate::cli::listing::has_label;
    use crate::container::{Record, control};
    use crate::error::Error;
    use crate::image::time::parse_until;
    use crate::session::Session;

    type Test = Box<dyn Fn(&Record) -> bool>;

    /// `container prune`.
    pub fn run(force: bool, filters: &[String], globals: &Globals, out: &mut Output) -> Result<i32> {
        if !force && !is_wanted(" all stopped containers.", out)? {
            return Ok(exit::SUCCESS);
        }
        let bytes = remove(&globals.open()?, filters, out)?;
        reclaimed(bytes, out)
    }

    /// Removes what the filters take; the bytes.
    pub fn remove(session: &Session, filters: &[String], out: &mut Output) -> Result<u64> {
        let (now, _) = crate::sys::fs::now();
        let mut tests: Vec<Test> = Vec::new();
        for word in filters {
            let wrong = || Error::usage(format!("invalid filter {word:?}: until=TIME, label=NAME[=VALUE], label!=NAME"));
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let value = value.to_owned();
            let has = move |record: &Record| has_label(&record.labels, &value);
            match name {
                "until" => {
                    let until = parse_until(word.trim_start_matches("until="), now).ok_or_else(wrong)?;
                    tests.push(Box::new(move |record| record.created.0 < until));
                }
                "label" => tests.push(Box::new(has)),
                "label!" => tests.push(Box::new(move |record| !has(record))),
                _ => return Err(wrong()),
            }
        }
        let taken = |record: &Record| tests.iter().all(|test| test(record));
        let (ids, bytes) = control::prune(session, &taken)?;
        tell("Deleted Containers:", ids, out)?;
        Ok(bytes)
    }
}

pub(super) fn tell(title: &str, lines: Vec<String>, out: &mut Output) -> Result<()> {
    if !lines.is_empty() {
        writeln!(out, "{title}\n{}\n", lines.join("\n"))?;
    }
    Ok(())
}

/// The last line.
pub(super) fn reclaimed(bytes: u64, out: &mut Output) -> Result<i32> {
    writeln!(out, "Total reclaimed space: {}", size::human(bytes))?;
    Ok(exit::SUCCESS)
}

/// docker's question; whoever says nothing has said no.
pub(super) fn is_wanted(question: &str, out: &mut Output) -> Result<bool> {
    write!(out, "WARNING! This will remove{question}\nAre you sure you want to continue? [y/N] ")?;
    out.flush()?;
    let stdin = std::io::stdin();
    let mut answer = Vec::new();
    let mut byte = [0];
    while answer.len() < 16 && rustix::io::read(stdin.as_fd(), &mut byte)? == 1 && byte != *b"\n" {
        answer.extend(byte);
    }
    Ok(answer.trim_ascii().eq_ignore_ascii_case(b"y"))
}
