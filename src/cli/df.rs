//! `lath df`, docker's `system df`: what takes how much of the disk.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit, images, listing, size};
use crate::catalog::list::list;
use crate::error::Result;
use crate::image::json::Value;
use crate::session::Session;

/// Show what takes how much of the disk
#[derive(FromArgs)]
#[argh(subcommand, name = "df")]
pub struct Args {
    /// print by a template, e.g. "{{.Type}}: {{.Size}}", or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// the images too
    #[argh(switch, short = 'v')]
    verbose: bool,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[Opt::value("format", None), Opt::switch("verbose", Some('v'))],
    ..Shape::PLAIN
};

const TABLE: &str = r"table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const NAMES: &[(&str, &str)] = &[("TotalCount", "TOTAL")];

/// Prints a line for each kind of thing.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let session = globals.open()?;
    let store = &session.store;
    let sizes = store.sizes()?;
    if args.verbose && args.format.is_none() {
        out.write_all(b"Images space usage:\n\n")?;
        let (now, _) = crate::sys::fs::now();
        let rows = list(store, false)?;
        let mut rows = rows.iter().map(|row| images::value(row, now, false));
        listing::print(None, images::TABLE, images::NAMES, &mut rows, out)?;
        let cache = size::human(sizes.cache + sizes.unfinished);
        writeln!(out, "\nBuild cache usage: {cache}\n")?;
    }
    let cache = sizes.cache + sizes.unfinished;
    let share = |part: u64, whole: u64| match (part * 100).checked_div(whole) {
        Some(percent) => format!("{} ({percent}%)", size::human(part)),
        None => "0B".to_owned(),
    };
    let in_use = store.images_in_use()?.len();
    let own = store.own_images()?.len();
    let below = (store.images()?.len().saturating_sub(own), store.bytes_below()?);
    let all = containers(&session)?;
    let volumes = volumes(&session)?;
    let rows = [
        ("Images", own, in_use, sizes.images, share(sizes.idle, sizes.images)),
        ("Containers", all.0, all.1, sizes.containers, share(all.2, sizes.containers)),
        ("Local Volumes", volumes.0, volumes.1, sizes.volumes, share(volumes.2, sizes.volumes)),
        ("Build Cache", store.cached_things()?, 0, cache, size::human(sizes.cache)),
        // No row of docker's, and only there with LATH_STORES.
        ("Read-only Stores", below.0, 0, below.1, "0B".to_owned()),
    ];
    let rows = rows.into_iter().take(4 + usize::from(store.below().is_some()));
    let mut rows = rows.map(|(kind, total, active, bytes, reclaimable)| {
        let mut row = Value::default();
        row.set("Active", Some(Value::string(active.to_string())));
        row.set("Reclaimable", Some(Value::string(reclaimable)));
        row.set("Size", Some(Value::string(size::human(bytes))));
        row.set("TotalCount", Some(Value::string(total.to_string())));
        row.set("Type", Some(Value::string(kind)));
        row
    });
    listing::print(args.format.as_deref(), TABLE, NAMES, &mut rows, out)?;
    Ok(exit::SUCCESS)
}

/// How many containers there are, how many of them run, and what the others take.
#[cfg(feature = "containers")]
fn containers(session: &Session) -> Result<(usize, usize, u64)> {
    let (mut count, mut running, mut idle) = (0, 0, 0);
    for container in crate::container::control::all(session)? {
        count += 1;
        match container.is_kept()? {
            true => running += 1,
            false => idle += container.bytes()?,
        }
    }
    Ok((count, running, idle))
}

/// How many volumes there are, how many of them containers have, and what the others take.
#[cfg(feature = "containers")]
fn volumes(session: &Session) -> Result<(usize, usize, u64)> {
    let used = super::volume::users(session)?;
    let (mut count, mut in_use, mut idle) = (0, 0, 0);
    for volume in session.store.volumes()? {
        count += 1;
        match used.contains(&volume.name) {
            true => in_use += 1,
            false => idle += session.store.volume_bytes(&volume.name)?,
        }
    }
    Ok((count, in_use, idle))
}

#[cfg(not(feature = "containers"))]
fn volumes(_: &Session) -> Result<(usize, usize, u64)> {
    Ok((0, 0, 0))
}

#[cfg(not(feature = "containers"))]
fn containers(_: &Session) -> Result<(usize, usize, u64)> {
    Ok((0, 0, 0))
}
