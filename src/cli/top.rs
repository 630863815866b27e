//! `lath top`: the processes of a container, as `ps -ef` lists them.

use argh::FromArgs;

use super::normalize::{Shape, Tail};
use super::{Globals, Output, exit, listing};
use crate::container::control::find;
use crate::container::processes::Process;
use crate::error::{Error, Result};
use crate::image::json::Value;
use crate::image::time::rfc3339;
use crate::sys::fs::now;

/// Show the processes of a container
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "top",
    note = "What follows the container is for ps: -ef, or -o with columns, e.g. -o pid,user,comm. \
            Times of the day are UTC."
)]
pub struct Args {
    /// name or id of a container
    #[argh(positional, arg_name = "container [ps options]")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape { tail: Tail::After(1), ..Shape::PLAIN };

type Show = fn(&Process, &Machine) -> String;

/// The columns: what ps calls them, their heads, what is in them.
const COLUMNS: &[(&[&str], &str, Show)] = &[
    (&["uid"], "UID", |process, machine| machine.user(process.uid)),
    (&["user", "euser"], "USER", |process, machine| machine.user(process.uid)),
    (&["pid"], "PID", |process, _| process.pid.to_string()),
    (&["ppid"], "PPID", |process, _| process.parent.to_string()),
    (&["c"], "C", |process, machine| machine.share(process)),
    (&["stime", "start", "start_time"], "STIME", |process, machine| machine.start(process)),
    (&["tty", "tt"], "TTY", |process, _| terminal(process.terminal)),
    (&["time", "cputime"], "TIME", |process, machine| clock(process.time / machine.ticks)),
    (&["etime"], "ELAPSED", |process, machine| clock(machine.age(process))),
    (&["cmd", "args", "command"], "CMD", |process, _| command(process)),
    (&["comm", "ucmd"], "COMMAND", |process, _| process.name.clone()),
    (&["s", "stat", "state"], "S", |process, _| process.state.clone()),
    (&["vsz", "vsize"], "VSZ", |process, _| (process.size / 1024).to_string()),
    (&["rss", "rssize"], "RSS", |process, _| (process.resident / 1024).to_string()),
    (&["nlwp", "thcount"], "NLWP", |process, _| process.threads.to_string()),
];

/// Those of `ps -ef`.
const OWN: &str = "uid,pid,ppid,c,stime,tty,time,cmd";

/// Prints a line for each process.
pub fn run(args: Args, tail: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let Some(name) = args.containers.first() else {
        return Err(Error::usage("\"lath top\" requires at least 1 argument")
            .hint("see 'lath help top'"));
    };
    let words: Vec<&str> = tail.iter().map(String::as_str).collect();
    let list = match words.as_slice() {
        [] | ["-ef" | "ef" | "-eaf"] => OWN,
        ["-o" | "-eo", list] => list,
        [word] if word.len() > 2 && word.starts_with("-o") => word.trim_start_matches("-o"),
        _ => {
            let text = format!("ps options {:?} are not known here", words.join(" "));
            return Err(Error::usage(text).hint("use -ef, or -o with columns: -o pid,user,comm"));
        }
    };
    let mut columns = Vec::new();
    for word in list.split(',') {
        let known = COLUMNS.iter().find(|(names, ..)| names.contains(&word));
        columns.push(known.ok_or_else(|| {
            let names: Vec<&str> =
                COLUMNS.iter().filter_map(|(names, ..)| names.first().copied()).collect();
            Error::usage(format!("ps column {word:?} is not known here"))
                .hint(format!("use {}", names.join(", ")))
        })?);
    }
    let processes = find(&globals.open()?, name)?.processes()?;
    let machine = Machine::look();
    let heads: Vec<String> = columns.iter().map(|(_, head, _)| format!("{{{{.{head}}}}}")).collect();
    let table = format!("table {}", heads.join(r"\t"));
    let mut rows = processes.iter().map(|process| {
        let mut row = Value::default();
        for (_, head, show) in &columns {
            row.set(head, Some(Value::string(show(process, &machine))));
        }
        row
    });
    listing::print(None, &table, &[], &mut rows, out)?;
    Ok(exit::SUCCESS)
}

/// What the columns need to know of the machine.
struct Machine {
    users: String,
    ticks: u64,
    /// Seconds since 1970.
    boot: i64,
    now: i64,
}

impl Machine {
    fn look() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/stat");
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok());
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Machine { users: read("/etc/passwd"), ticks, boot: boot.unwrap_or(0), now: now().0 }
    }

    /// The host's name for a user, as ps has it.
    fn user(&self, uid: u32) -> String {
        let number = uid.to_string();
        let name = self.users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
        });
        name.unwrap_or(number)
    }

    fn since(&self, process: &Process) -> i64 {
        self.boot.saturating_add(i64::try_from(process.began / self.ticks).unwrap_or(0))
    }

    /// Seconds.
    fn age(&self, process: &Process) -> u64 {
        u64::try_from(self.now - self.since(process)).unwrap_or(0)
    }

    /// Percent of a processor over its life.
    fn share(&self, process: &Process) -> String {
        (process.time * 100 / self.ticks / self.age(process).max(1)).to_string()
    }

    /// The hour, or the day when that is another.
    fn start(&self, process: &Process) -> String {
        let (since, now) = (rfc3339(self.since(process), 0), rfc3339(self.now, 0));
        let (day, hour) = (since.get(..10), since.get(11..16));
        let text = if day == now.get(..10) { hour } else { day };
        text.unwrap_or_default().to_owned()
    }
}

/// `01:02:03`, with days in front where there are some.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}-{time}") } else { time }
}

/// A terminal by its device number: pts have the major number 136 (Documentation/admin-guide/devices).
fn terminal(device: u64) -> String {
    let minor = (device & 0xff) | (device >> 12 & 0xfff00);
    match device >> 8 & 0xfff {
        136 => format!("pts/{minor}"),
        4 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

fn command(process: &Process) -> String {
    match process.command.is_empty() {
        true => format!("[{}]", process.name),
        false => process.command.clone(),
    }
}
