//! What a container uses of the machine: from its cgroups where it has some, else from its processes.

use super::Container;
use super::processes::Process;
use crate::error::{Kind, Result};
use crate::sandbox::Cgroup;
use crate::sys::kernel::number_in;

/// What it uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Microseconds of processor time so far.
    pub cpu: u64,
    /// Bytes of memory, without what is only kept of files.
    pub memory: u64,
    /// Bytes of memory that it may use.
    pub limit: u64,
    /// Bytes that its living processes have read from disks.
    pub read: u64,
    /// Bytes that they have written to them.
    pub written: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Container {
    /// What it uses now; nothing when it does not run.
    pub fn usage(&self) -> Result<Option<Usage>> {
        let processes = match self.processes() {
            Err(error) if error.kind() == Kind::Conflict => return Ok(None),
            other => other?,
        };
        let counted = Cgroup::of(&self.record.id).usage();
        let total = |one: &dyn Fn(&Process) -> u64| processes.iter().map(one).sum::<u64>();
        let ticks = rustix::param::clock_ticks_per_second();
        let machine = number_in("/proc/meminfo", "MemTotal:").saturating_mul(1024);
        Ok(Some(Usage {
            cpu: counted.cpu.unwrap_or_else(|| total(&|one| one.time) * 1_000_000 / ticks.max(1)),
            memory: counted.memory.unwrap_or_else(|| total(&share)),
            limit: counted.limit.unwrap_or(machine).min(machine),
            read: total(&|one| number_in(&format!("/proc/{}/io", one.pid), "read_bytes:")),
            written: total(&|one| number_in(&format!("/proc/{}/io", one.pid), "write_bytes:")),
            pids: counted.pids.unwrap_or_else(|| total(&|one| one.threads)),
        }))
    }
}

/// Its share of memory: what several have counts in parts. A kernel that cannot say so has all of it.
fn share(process: &Process) -> u64 {
    match number_in(&format!("/proc/{}/smaps_rollup", process.pid), "Pss:") {
        0 => process.resident,
        kilobytes => kilobytes * 1024,
    }
}
