//! `lath ps`: the list of containers.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, exit, listing, report, size};
use crate::container::control::{self, find};
use crate::container::inspect::{code, status};
use crate::container::{Container, State};
use crate::error::{Error, Result};
use crate::image::json::Value;
use crate::image::time::rfc3339;
use crate::sort::sort_by;
use crate::sys::fs::now;

/// List containers
#[derive(FromArgs)]
#[argh(subcommand, name = "ps")]
pub struct Args {
    /// show those that do not run too
    #[argh(switch, short = 'a')]
    all: bool,
    /// only those for which it holds: id=, name=, status=, exited=CODE, health=, label=NAME[=VALUE],
    /// ancestor=IMAGE, before=, since=
    #[argh(option, short = 'f', arg_name = "filter")]
    filter: Vec<String>,
    /// print by a template, e.g. "{{.Names}} {{.Status}}", or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// the last so many, whatever they do
    #[argh(option, short = 'n', arg_name = "number")]
    last: Option<String>,
    /// the last one
    #[argh(switch, short = 'l')]
    latest: bool,
    /// show whole ids and commands
    #[argh(switch)]
    no_trunc: bool,
    /// print ids only
    #[argh(switch, short = 'q')]
    quiet: bool,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("all", Some('a')),
        Opt::values("filter", Some('f')),
        Opt::value("format", None),
        Opt::value("last", Some('n')),
        Opt::switch("latest", Some('l')),
        Opt::switch("no-trunc", None),
        Opt::switch("quiet", Some('q')),
    ],
    planned: &["size", "s"],
    ..Shape::PLAIN
};

const TABLE: &str = r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const NAMES: &[(&str, &str)] =
    &[("ID", "CONTAINER ID"), ("RunningFor", "CREATED"), ("CreatedAt", "CREATED AT")];

/// Prints the list, the newest first.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let session = globals.open()?;
    let mut all = control::all_and(&session, &mut |error| {
        // With standard error gone, nobody can be told.
        let _ = report::error(&mut std::io::stderr(), error);
    })?;
    let newest = |one: &Container| (one.record.created, one.record.id.clone());
    sort_by(&mut all, &mut |one, other| newest(other).cmp(&newest(one)));
    let last = match args.last.as_deref() {
        None if args.latest => Some(1),
        None => None,
        Some(text) => {
            Some(text.parse().map_err(|_| Error::usage(format!("--last {text:?} is no number")))?)
        }
    };
    let filters = args.filter.iter().map(|word| Filter::parse(word)).collect::<Result<Vec<_>>>()?;
    let asks_status = args.filter.iter().any(|word| {
        word.starts_with("status=") || word.starts_with("exited=")
    });
    let shows_all = args.all || last.is_some() || asks_status;
    let before = |name: &str| find(&session, name).map(|other| newest(&other));
    let mut rows = Vec::new();
    for container in &all {
        let row = Row::of(container)?;
        let is_shown = shows_all || row.status == "running" || row.status == "restarting";
        let mut fits = is_shown;
        for filter in &filters {
            fits = fits && filter.fits(&row, &newest(container), &before)?;
        }
        if fits && last.is_none_or(|last: usize| rows.len() < last) {
            rows.push(row);
        }
    }
    let (seconds, _) = now();
    let own = if args.quiet { "{{.ID}}" } else { TABLE };
    let mut values = rows.iter().map(|row| row.value(seconds, args.no_trunc));
    listing::print(args.format.as_deref(), own, NAMES, &mut values, out)?;
    Ok(exit::SUCCESS)
}

struct Row<'a> {
    container: &'a Container,
    state: State,
    status: &'static str,
}

#[cfg(feature = "bridge")]
use crate::container::network::mode as network;

#[cfg(not(feature = "bridge"))]
fn network(record: &crate::container::Record) -> &'static str {
    if record.flags.no_network { "none" } else { "host" }
}

impl Row<'_> {
    fn ports(&self) -> String {
        #[cfg(feature = "bridge")]
        if self.status == "running" {
            return super::port::shown(&self.state);
        }
        String::new()
    }

    fn of(container: &Container) -> Result<Row<'_>> {
        let (_, state) = container.state()?;
        Ok(Row { container, state, status: status(container)? })
    }

    /// docker's fields.
    fn value(&self, now: i64, in_full: bool) -> Value {
        let record = &self.container.record;
        let short = |text: &str, length: usize| match in_full {
            true => text.to_owned(),
            false => text.chars().take(length).collect(),
        };
        let command = record.argv.join(" ");
        let command = match in_full || command.chars().count() <= 20 {
            true => command,
            false => command.chars().take(19).chain(['…']).collect(),
        };
        let since = |then: i64| size::duration(u64::try_from(now - then).unwrap_or(0));
        let status = match self.status {
            "running" => {
                let health = match self.state.health.status.as_str() {
                    "" => String::new(),
                    "starting" => " (health: starting)".to_owned(),
                    status => format!(" ({status})"),
                };
                format!("Up {}{health}", since(self.state.started.0))
            }
            "created" => "Created".to_owned(),
            "restarting" => {
                format!("Restarting ({}) {} ago", self.state.code, since(self.state.finished.0))
            }
            _ if self.state.finished.0 == 0 => format!("Exited ({})", code(&self.state)),
            _ => format!("Exited ({}) {} ago", code(&self.state), since(self.state.finished.0)),
        };
        let created_at = rfc3339(record.created.0, 0).replace('T', " ").replace('Z', " +0000 UTC");
        let mut out = Value::default();
        for (field, text) in [
            ("Command", format!("\"{command}\"")),
            ("CreatedAt", created_at),
            ("ID", short(&record.id, 12)),
            ("Image", record.image_name.clone()),
            ("Labels", record.labels.join(",")),
            ("LocalVolumes", "0".to_owned()),
            (
                "Mounts",
                record
                    .volumes
                    .iter()
                    .map(|volume| volume.source.shown())
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            ("Names", record.name.clone()),
            ("Networks", network(record).to_owned()),
            ("Ports", self.ports()),
            ("RunningFor", format!("{} ago", since(record.created.0))),
            ("Size", "0B".to_owned()),
            ("State", self.status.to_owned()),
            ("Status", status),
        ] {
            out.set(field, Some(Value::string(text)));
        }
        out
    }
}

/// `--filter`.
struct Filter {
    name: String,
    value: String,
}

type Newest = ((i64, u32), String);

impl Filter {
    fn parse(word: &str) -> Result<Filter> {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Error::usage(format!("bad format of filter {word:?} (expected name=value)"))
        })?;
        const KNOWN: [&str; 9] =
            ["id", "name", "status", "exited", "label", "ancestor", "before", "since", "health"];
        match KNOWN.contains(&name) {
            true => Ok(Filter { name: name.to_owned(), value: value.to_owned() }),
            false => Err(Error::usage(format!("invalid filter {name:?}"))
                .hint("id, name, status, exited, health, label, ancestor, before or since")),
        }
    }

    fn fits(
        &self,
        row: &Row<'_>,
        own: &Newest,
        other: &dyn Fn(&str) -> Result<Newest>,
    ) -> Result<bool> {
        let record = &row.container.record;
        let value = self.value.as_str();
        Ok(match self.name.as_str() {
            "id" => record.id.starts_with(value),
            "name" => record.name.contains(value.trim_start_matches(['/', '^']).trim_end_matches('$')),
            "status" => row.status == value,
            "health" => match row.state.health.status.as_str() {
                status if row.status == "running" && !status.is_empty() => status == value,
                _ => value == "none",
            },
            "exited" => row.status == "exited" && code(&row.state).to_string() == value,
            "label" => listing::has_label(&record.labels, value),
            "ancestor" => {
                let name = value.strip_suffix(":latest").unwrap_or(value);
                let own = record.image_name.strip_suffix(":latest").unwrap_or(&record.image_name);
                own == name || record.image.hex().starts_with(value.trim_start_matches("sha256:"))
            }
            "before" => *own < other(value)?,
            _ => *own > other(value)?,
        })
    }
}
