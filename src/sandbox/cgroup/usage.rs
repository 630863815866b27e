//! What the kernel has counted of a container that has cgroups of its own.

use std::fs;

use super::{Cgroup, Version};

/// Nothing for what is not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Microseconds of processor time.
    pub cpu: Option<u64>,
    /// Bytes of memory, without files that nobody has used for a while.
    pub memory: Option<u64>,
    /// Bytes of memory at most.
    pub limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Cgroup {
    /// What it has used.
    pub fn usage(&self) -> Counted {
        let mut counted = Counted::default();
        for (place, folder) in &self.folders {
            // A number alone in a file, or after a name.
            let read = |file: &str, name: &str| -> Option<u64> {
                let text = fs::read_to_string(folder.join(file)).ok()?;
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            };
            let is_old = place.version == Version::One;
            let of = |old, new| if is_old { old } else { new };
            match place.controller {
                "memory" => {
                    let idle = read("memory.stat", of("total_inactive_file ", "inactive_file "));
                    let used = read(of("memory.usage_in_bytes", "memory.current"), "");
                    counted.memory = used.map(|used| used.saturating_sub(idle.unwrap_or(0)));
                    counted.limit = read(of("memory.limit_in_bytes", "memory.max"), "");
                }
                "cpu" if is_old => {
                    counted.cpu = read("cpuacct.usage", "").map(|nanos| nanos / 1000)
                }
                "cpu" => counted.cpu = read("cpu.stat", "usage_usec "),
                _ => counted.pids = read("pids.current", ""),
            }
        }
        counted
    }
}
