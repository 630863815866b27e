//! Limits that hold for a container as a whole: memory, processor time, number of processes. Only
//! made when one is asked for.
//!
//! Source: cgroups(7), kernel admin-guide/cgroup-v2 and cgroup-v1. With version 2 one folder has
//! them all; with version 1 each controller has a tree of its own. lath's are `lath/<id>` in there.

#[cfg(feature = "containers")]
mod usage;

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};

/// What a container may use at most; nothing is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; `u64::MAX` is no limit of swap.
    pub memory_and_swap: Option<u64>,
    /// Thousandths of a processor.
    pub milli_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// The folder name under every controller.
const HOME: &str = "lath";
/// Microseconds over which processor time is counted.
const PERIOD: u64 = 100_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A controller that is there.
struct Place {
    controller: &'static str,
    version: Version,
    /// Where its tree is mounted.
    tree: PathBuf,
}

/// A container's own folders; removed when this is dropped, once nobody is in them.
pub struct Cgroup {
    folders: Vec<(Place, PathBuf)>,
    is_mine: bool,
}

impl Cgroup {
    /// Makes the folders for these bounds; none when there are none.
    pub fn make(id: &str, bounds: &Bounds) -> Result<Option<Cgroup>> {
        let wanted = [
            ("memory", bounds.memory.or(bounds.memory_and_swap).is_some()),
            ("cpu", bounds.milli_cpus.is_some()),
            ("pids", bounds.pids.is_some()),
        ];
        let mut made = Cgroup { folders: Vec::new(), is_mine: true };
        for (controller, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
            let place = find(controller)?;
            let home = place.tree.join(HOME);
            let folder = home.join(id);
            let says = || format!("limit {controller}");
            if place.version == Version::Two {
                // Handed down from the root to lath's folder and from there to the container's.
                enable(&place.tree, controller).context(says)?;
                fs::create_dir_all(&home).context(says)?;
                enable(&home, controller).context(says)?;
            }
            fs::create_dir_all(&folder).context(says)?;
            made.folders.push((place, folder));
        }
        for (place, folder) in &made.folders {
            set(place, folder, bounds).context(|| format!("limit {}", place.controller))?;
        }
        Ok(Some(made).filter(|made| !made.folders.is_empty()))
    }

    /// The folders of a container that runs, for one more program in it.
    #[cfg(feature = "containers")]
    pub fn of(id: &str) -> Cgroup {
        let mut found = Cgroup { folders: Vec::new(), is_mine: false };
        for controller in ["memory", "cpu", "pids"] {
            if let Ok(place) = find(controller) {
                let folder = place.tree.join(HOME).join(id);
                if folder.is_dir() {
                    found.folders.push((place, folder));
                }
            }
        }
        found
    }

    /// The files that a process writes to, to be in there from then on.
    pub fn doors(&self) -> Result<Vec<OwnedFd>> {
        let open = |(_, folder): &(Place, PathBuf)| {
            let path = folder.join("cgroup.procs");
            fs::OpenOptions::new().write(true).open(path).map(OwnedFd::from)
        };
        let opened: std::io::Result<Vec<_>> = self.folders.iter().map(open).collect();
        opened.context(|| "open the container's cgroup")
    }

    /// Bytes of memory that were used in there at most; 0 when nobody has counted (version 2: kernel
    /// 5.19).
    pub fn peak_memory(&self) -> u64 {
        let peak = |(place, folder): &(Place, PathBuf)| {
            let file = match place.version {
                Version::One => "memory.max_usage_in_bytes",
                Version::Two => "memory.peak",
            };
            fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        self.folders.iter().find_map(peak).unwrap_or(0)
    }

    /// Whether the kernel has killed somebody in there for want of memory.
    pub fn was_short_of_memory(&self) -> bool {
        self.folders.iter().any(|(place, folder)| {
            let file = match place.version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            place.controller == "memory" && kills.is_some_and(|kills| kills != "0")
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for (_, folder) in self.folders.iter().filter(|_| self.is_mine) {
            // Processes that have just been killed may still be going.
            for _ in 0..50 {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Goes through the doors; for a child before it executes its program.
pub fn enter(doors: &[OwnedFd]) -> Result<()> {
    doors.iter().try_for_each(|door| {
        let door: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(door);
        crate::sys::fs::write_all(door, b"0").context(|| "enter the container's cgroup")
    })
}

fn set(place: &Place, folder: &Path, bounds: &Bounds) -> Result<()> {
    let write = |file: &str, value: String| {
        fs::write(folder.join(file), value).context(|| format!("write {file}"))
    };
    match (place.controller, place.version) {
        ("memory", Version::Two) => {
            let memory = bounds.memory.unwrap_or(u64::MAX);
            if let Some(memory) = bounds.memory {
                write("memory.max", memory.to_string())?;
            }
            // A kernel without swap has no such file.
            if folder.join("memory.swap.max").exists() {
                let swap = match bounds.memory_and_swap {
                    Some(u64::MAX) => "max".to_owned(),
                    Some(both) => both.saturating_sub(memory).to_string(),
                    None => memory.to_string(),
                };
                write("memory.swap.max", swap)?;
            }
            Ok(())
        }
        ("memory", Version::One) => {
            let Some(memory) = bounds.memory else { return Ok(()) };
            write("memory.limit_in_bytes", memory.to_string())?;
            let file = "memory.memsw.limit_in_bytes";
            match bounds.memory_and_swap {
                Some(u64::MAX) => Ok(()),
                // Without accounting of swap there is no such file.
                both if folder.join(file).exists() => {
                    write(file, both.unwrap_or(memory.saturating_mul(2)).to_string())
                }
                _ => Ok(()),
            }
        }
        ("cpu", version) => {
            let quota = bounds.milli_cpus.unwrap_or(0).saturating_mul(PERIOD / 1000);
            match version {
                Version::Two => write("cpu.max", format!("{quota} {PERIOD}")),
                Version::One => {
                    write("cpu.cfs_period_us", PERIOD.to_string())?;
                    write("cpu.cfs_quota_us", quota.to_string())
                }
            }
        }
        _ => write("pids.max", bounds.pids.unwrap_or(0).to_string()),
    }
}

fn enable(folder: &Path, controller: &str) -> std::io::Result<()> {
    fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"))
}

/// Whether a controller is built in, turned on and mounted.
#[cfg(feature = "doctor")]
pub fn has_controller(controller: &'static str) -> bool {
    find(controller).is_ok()
}

/// Where a controller is; version 2 first.
fn find(controller: &'static str) -> Result<Place> {
    let table = fs::read_to_string("/proc/self/mountinfo").context(|| "read the mounts")?;
    let mut old = None;
    for line in table.lines() {
        // ... mount point (5th field) ... - type source options (proc(5)).
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let Some(tree) = front.split(' ').nth(4) else { continue };
        let mut back = back.split(' ');
        let (kind, options) = (back.next(), back.nth(1).unwrap_or_default());
        if kind == Some("cgroup2") {
            let list = Path::new(tree).join("cgroup.controllers");
            let list = fs::read_to_string(list).unwrap_or_default();
            if list.split_whitespace().any(|known| known == controller) {
                return Ok(Place { controller, version: Version::Two, tree: tree.into() });
            }
        } else if kind == Some("cgroup") && options.split(',').any(|known| known == controller) {
            old = Some(Place { controller, version: Version::One, tree: tree.into() });
        }
    }
    old.ok_or_else(|| {
        let option = if controller == "memory" { "MEMCG" } else { "CGROUPS" };
        Error::unsupported(format!("this kernel has no {controller} controller for cgroups")).hint(
            format!(
                "it needs CONFIG_{option}, a mounted /sys/fs/cgroup, and on a Raspberry Pi \
                 cgroup_enable=memory in cmdline.txt"
            ),
        )
    })
}
