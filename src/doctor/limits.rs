//! The controllers of cgroups: built in, turned on, and mounted are three things.

use super::{Finding, State};
use crate::sandbox::has_controller;

/// Controller, what it is for, what is lost without it, and how a kernel gets it.
const CONTROLLERS: [(&str, &str, &str, &str); 3] = [
    ("memory", "limits of memory", "--memory is refused", "CONFIG_MEMCG"),
    ("cpu", "limits of processors", "--cpus is refused", "CONFIG_CFS_BANDWIDTH"),
    ("pids", "limits of processes", "--pids-limit is refused", "CONFIG_CGROUP_PIDS"),
];

/// A finding for each.
pub fn look() -> impl Iterator<Item = Finding> {
    // Name, hierarchy, number of groups, whether it is turned on (cgroups(7)).
    let table = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    CONTROLLERS.into_iter().map(move |(controller, name, cost, option)| {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(controller));
        let remedy = match row {
            None => option.to_owned(),
            Some(row) if row.ends_with('0') => {
                // cmdline.txt is where a Raspberry Pi has it.
                format!(
                    "cgroup_enable={controller} on the kernel's command line (cmdline.txt on a \
                     Raspberry Pi)"
                )
            }
            Some(_) => "mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned(),
        };
        let state = match has_controller(controller) {
            true => State::There,
            false => State::Limited,
        };
        Finding { name, state, cost: cost.to_owned(), remedy }
    })
}
