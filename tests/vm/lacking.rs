//! Kernels with something taken away: what lath does works, or one line says what is missing.

use super::device::{Device, NEEDED, small};
use crate::harness::needs;
use std::collections::BTreeMap;
use std::io::Write as _;

/// A kernel of `tests/vm/kernel/build` and words for its command line; with what doctor tells that
/// something is lacking; what does not work there, and a word of the line that says why. All else works.
struct Case(&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const NOTHING_RUNS: [&str; 7] = ["build", "run", "detached", "none", "memory", "cpus", "pids"];

const CASES: [Case; 6] = [
    Case("small", "", "", &[]),
    Case(
        "small",
        "cgroup_disable=memory",
        "limits of memory",
        &[("memory", "cgroup_enable=memory")],
    ),
    Case("no-overlay", "", "overlayfs", &[]),
    Case("no-pidns", "", "pid namespaces", &[("", "CONFIG_PID_NS")]),
    Case("no-ipcns", "", "ipc namespaces", &[("", "CONFIG_IPC_NS")]),
    Case("no-netns", "", "network namespaces", &[("none", "CONFIG_NET_NS")]),
];

#[test]
fn without_a_part_of_the_kernel_it_works_or_one_line_says_what_is_missing() {
    if small("small").is_none() || !needs(&NEEDED) {
        return;
    }
    for Case(name, words, told, failing) in CASES {
        let kernel = small(name).filter(|kernel| kernel.exists());
        let kernel = kernel.unwrap_or_else(|| panic!("there is no kernel {name}"));
        let said = Device::new(&kernel, 64).whole(format!("lacking {words}").trim());
        let all = said.join("\n");
        drop(writeln!(std::io::stderr(), "{name}:\n{all}"));
        let mut results = BTreeMap::new();
        for line in &said {
            if let Some(what) = line.strip_prefix("OK ") {
                results.insert(what, "");
            } else if let Some((what, why)) =
                line.strip_prefix("NO ").and_then(|rest| rest.split_once(": "))
            {
                results.insert(what, why);
            }
        }
        assert!(results.len() > 8, "{name}: {all}");
        let is_told = |line: &String| {
            line.strip_prefix("DOCTOR ")
                .and_then(|line| line.split_once("  "))
                .is_some_and(|(state, what)| state != "ok     " && what.trim() == told)
        };
        assert!(told.is_empty() || said.iter().any(is_told), "{name}: {all}");
        for (what, why) in &results {
            // Without a namespace that all need, nothing has ever run.
            let expected = failing.iter().find_map(|(failing, word)| match *failing {
                "" if NOTHING_RUNS.contains(what) => Some(*word),
                // It was made, and could not be started.
                "" => (*what == "exec").then_some("lath start"),
                failing => (failing == *what).then_some(*word),
            });
            match expected {
                Some(word) => assert!(why.contains(word), "{name}, {what}: {why}\n{all}"),
                None => assert_eq!(*why, "", "{name}, {what}: {all}"),
            }
        }
        assert!(said.iter().any(|line| line == "TMP 0"), "{name}: {all}");
    }
}
