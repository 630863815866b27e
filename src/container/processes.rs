//! The processes of a container, as /proc tells of them (proc(5)): those in the pid namespace of its
//! program.

use rustix::process::Pid;

use super::{Container, keeper};
use crate::error::{Context, Result};
use crate::sort::sort_by;
use crate::sys::process::kill;

/// What is known of a process. Times are in ticks, of which `clock_ticks_per_second` make a second.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// That of its parent.
    pub parent: i32,
    /// One letter: R, S, D, T, Z and so on.
    pub state: String,
    /// Whose it is.
    pub uid: u32,
    /// Its terminal's device number; 0 for none.
    pub terminal: u64,
    /// Processor time used.
    pub time: u64,
    /// When it began, after boot.
    pub began: u64,
    /// How many threads it has.
    pub threads: u64,
    /// Bytes of address space.
    pub size: u64,
    /// Bytes in memory, shared ones too.
    pub resident: u64,
    /// The name of its program.
    pub name: String,
    /// The program and its words; empty for what has none.
    pub command: String,
}

impl Container {
    /// Its processes, by their numbers. An error when it does not run.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let (is_running, state) = self.state()?;
        let leader = keeper::process_of(state.pid).filter(|_| is_running);
        let leader = leader.ok_or_else(|| self.is_not_running())?;
        let found = pids(leader)?.into_iter().filter_map(Process::of).collect();
        match self.is_program(leader, &state)? {
            true => Ok(found),
            false => Err(self.is_not_running()),
        }
    }
}

/// Those in the pid namespace of a process.
fn pids(leader: Pid) -> Result<Vec<Pid>> {
    let world = |pid: Pid| {
        let stat = rustix::fs::stat(format!("/proc/{}/ns/pid", pid.as_raw_nonzero())).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    let Some(own) = world(leader) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context(|| "read /proc")? {
        let name = entry.context(|| "read /proc")?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        found.extend(pid.filter(|pid| world(*pid) == Some(own)));
    }
    sort_by(&mut found, &mut |one, other| one.as_raw_nonzero().cmp(&other.as_raw_nonzero()));
    Ok(found)
}

impl Process {
    /// Nothing when it has gone meanwhile.
    fn of(pid: Pid) -> Option<Process> {
        let pid = pid.as_raw_nonzero().get();
        let read = |name: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{name}")).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // The second field is the program's name and may have anything in it, also `)`.
        let (front, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number =
            |at: usize| fields.get(at).and_then(|field| field.parse().ok()).unwrap_or(0u64);
        let owner = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        Some(Process {
            pid,
            parent: i32::try_from(number(1)).unwrap_or(0),
            state: (*fields.first()?).to_owned(),
            uid: owner.split_ascii_whitespace().nth(1)?.parse().ok()?,
            terminal: number(4),
            time: number(11) + number(12),
            began: number(19),
            threads: number(17),
            size: number(20),
            resident: number(21) * rustix::param::page_size() as u64,
            name: front.split_once('(')?.1.to_owned(),
            command: read("cmdline")?.trim_end_matches('\0').replace('\0', " "),
        })
    }
}

/// Processes that are stopped (SIGSTOP) until this is dropped. Those that had stopped by themselves
/// stay so.
pub struct Frozen(Vec<Pid>);

impl Frozen {
    /// Stops all in the pid namespace of a process.
    pub fn of(leader: Pid) -> Result<Frozen> {
        let mut frozen = Frozen(Vec::new());
        loop {
            let mut is_done = true;
            // One may have made another before it was stopped.
            for pid in pids(leader)? {
                let runs = Process::of(pid).is_some_and(|process| process.state != "T");
                if runs && !frozen.0.contains(&pid) {
                    kill(pid, libc::SIGSTOP);
                    frozen.0.push(pid);
                    is_done = false;
                }
            }
            if is_done {
                return Ok(frozen);
            }
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| kill(*pid, libc::SIGCONT));
    }
}
