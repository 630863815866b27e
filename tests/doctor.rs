//! `lath doctor` on devices that lack something.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, binary, finish, needs};
use lath::image::json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// What it says of each thing, and its exit code, after the shell has done something to the machine; its
/// own words come before lath's.
fn ask(lath: &Lath, before: &str, words: &str) -> (BTreeMap<String, Value>, i32) {
    let binary = binary();
    let script = format!("{before}\nexec \"$@\" {} doctor --json {words}", binary.display());
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).env("LATH_ROOT", lath.store());
    let out = finish(&mut command, b"");
    let Ok(Value::Array(all)) = Value::parse(out.stdout.trim().as_bytes()) else {
        panic!("{}", out.all());
    };
    let name = |one: &Value| one.get("Name").and_then(Value::as_str).unwrap().to_owned();
    (all.into_iter().map(|one| (name(&one), one)).collect(), out.code)
}

fn says<'a>(found: &'a BTreeMap<String, Value>, name: &str, field: &str) -> &'a str {
    found[name].get(field).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn it_names_what_is_lacking_what_that_costs_and_what_to_add() {
    if !needs(&[Need::Root, Need::Program("unshare"), Need::Program("setpriv")]) {
        return;
    }
    let lath = Lath::new();
    let (found, code) = ask(&lath, "", "");
    assert_eq!(code, 0);
    for name in ["root", "/proc", "pid namespaces", "store", "overlayfs", "seccomp"] {
        assert_eq!(says(&found, name, "State"), "ok", "{name}");
        assert_eq!(says(&found, name, "Remedy"), "", "{name}");
    }

    let unmounted =
        "umount -R -l /sys/fs/cgroup && umount -l /proc/sys/fs/binfmt_misc 2>/dev/null; true";
    let (found, code) = ask(&lath, unmounted, "");
    assert_eq!((says(&found, "limits of memory", "State"), code), ("limited", 0));
    assert_eq!(says(&found, "limits of memory", "Cost"), "--memory is refused");
    let remedy = says(&found, "limits of memory", "Remedy");
    let known = ["mount -t cgroup2 cgroup2 /sys/fs/cgroup", "CONFIG_MEMCG"];
    assert!(known.contains(&remedy) || remedy.starts_with("cgroup_enable=memory"), "{remedy}");
    assert_eq!(ask(&lath, unmounted, "--strict").1, 1);
    let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n";
    let table = lath.write("table", text);
    let table = format!("{unmounted}; mount --bind {} /proc/cgroups", table.display());
    let (found, _) = ask(&lath, &table, "");
    assert!(says(&found, "limits of memory", "Remedy").starts_with("cgroup_enable=memory"));
    assert_eq!(says(&found, "limits of processes", "Remedy"), "CONFIG_CGROUP_PIDS");

    // A store that cannot be opened is one more thing that is lacking.
    let (found, code) = ask(&lath, "export LATH_ROOT=/proc/here", "");
    assert_eq!((says(&found, "store", "State"), code), ("missing", 1));
    assert!(
        !says(&found, "store", "Cost").is_empty() && !says(&found, "store", "Remedy").is_empty()
    );

    // A root that may not mount.
    let (found, code) = ask(&lath, "set -- setpriv --bounding-set -all --inh-caps -all", "");
    assert_eq!((says(&found, "root", "State"), code), ("missing", 1));
}

/// For people: the same, a line each, and what is lacking first.
#[test]
fn words_are_for_people_and_the_documents_know_every_option() {
    let lath = Lath::new();
    let said = lath.run(&["doctor"]).stdout;
    assert!(said.lines().any(|line| line == "ok       tmpfs"), "{said}");
    let words: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    let first = words.iter().position(|word| *word == "ok").unwrap();
    assert!(words[first..].iter().all(|word| *word == "ok"), "{said}");

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor");
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/KERNEL.md")).unwrap();
    let mut options = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("CONFIG_") {
                assert!(document.contains(&format!("`{word}`")), "{word} is not in docs/KERNEL.md");
                options += 1;
            }
        }
    }
    assert!(options > 10);
}
