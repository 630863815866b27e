//! `lath stats`: what containers use of the machine.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit, listing, size};
use crate::container::Container;
use crate::container::control::{all, find};
use crate::container::stats::Usage;
use crate::error::Result;
use crate::image::json::Value;
use crate::sys::signal;

/// Show what containers use of the machine
#[derive(FromArgs)]
#[argh(subcommand, name = "stats")]
pub struct Args {
    /// show those that do not run too
    #[argh(switch, short = 'a')]
    all: bool,
    /// print by a template, e.g. "{{.Name}}: {{.CPUPerc}}", or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// once, and not again every second
    #[argh(switch)]
    no_stream: bool,
    /// show whole ids
    #[argh(switch)]
    no_trunc: bool,
    /// names or ids of containers; none are all that run
    #[argh(positional, arg_name = "container")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("all", Some('a')),
        Opt::value("format", None),
        Opt::switch("no-stream", None),
        Opt::switch("no-trunc", None),
    ],
    ..Shape::PLAIN
};

const TABLE: &str = r"table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const NAMES: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
];
/// Over which processor time is counted.
const STEP: Duration = Duration::from_millis(100);
const STEPS: u32 = 10;

/// Prints a table, or one a second.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let session = globals.open()?;
    let look = || -> Result<Vec<(Container, Option<Usage>)>> {
        let found = match args.names.as_slice() {
            [] => all(&session)?,
            names => names.iter().map(|name| find(&session, name)).collect::<Result<_>>()?,
        };
        let shows_all = args.all || !args.names.is_empty();
        let measured = found.into_iter().map(|one| one.usage().map(|usage| (one, usage)));
        let mut measured = measured.collect::<Result<Vec<_>>>()?;
        measured.retain(|(_, usage)| shows_all || usage.is_some());
        Ok(measured)
    };
    let is_screen = !args.no_stream && std::io::stdout().is_terminal();
    let (mut since, mut before) = (Instant::now(), look()?);
    loop {
        for _ in 0..STEPS {
            signal::check()?;
            std::thread::sleep(STEP);
        }
        let (time, after) = (since.elapsed(), look()?);
        since = Instant::now();
        if is_screen {
            // Past the filter of what a container may show: to the top, and the rest is cleared.
            std::io::stdout().write_all(b"\x1b[H\x1b[J")?;
        }
        let mut rows = after.iter().map(|(container, usage)| {
            let old = before.iter().find(|(old, _)| old.record.id == container.record.id);
            let old = old.and_then(|(_, usage)| *usage).unwrap_or_default();
            row(container, &old, &usage.unwrap_or_default(), time, args.no_trunc)
        });
        listing::print(args.format.as_deref(), TABLE, NAMES, &mut rows, out)?;
        if args.no_stream {
            return Ok(exit::SUCCESS);
        }
        out.flush()?;
        before = after;
    }
}

/// docker's fields.
fn row(container: &Container, old: &Usage, new: &Usage, time: Duration, in_full: bool) -> Value {
    let used = u128::from(new.cpu.saturating_sub(if old.pids > 0 { old.cpu } else { new.cpu }));
    let part = |part: u128, whole: u128| {
        let share = (part * 10_000).checked_div(whole).unwrap_or(0);
        format!("{}.{:02}%", share / 100, share % 100)
    };
    let id = &container.record.id;
    let mut row = Value::default();
    for (field, text) in [
        ("BlockIO", format!("{} / {}", size::human(new.read), size::human(new.written))),
        ("CPUPerc", part(used, time.as_micros())),
        ("Container", container.record.name.clone()),
        ("ID", if in_full { id.clone() } else { id.chars().take(12).collect() }),
        ("MemPerc", part(new.memory.into(), new.limit.into())),
        ("MemUsage", format!("{} / {}", size::binary(new.memory), size::binary(new.limit))),
        ("Name", container.record.name.clone()),
        // The host's network is nobody's own, as docker has it.
        ("NetIO", "0B / 0B".to_owned()),
        ("PIDs", new.pids.to_string()),
    ] {
        row.set(field, Some(Value::string(text)));
    }
    row
}
