//! What the steps of a build may use together, and how a build gives way to the rest of the device.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, needs};
use std::fs;
use std::path::{Path, PathBuf};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

const FILL: &str = "dd if=/dev/zero of=/dev/null bs=60M count=1 2>/dev/null";

/// The tree of a controller, version 2 first.
fn tree(controller: &str) -> Option<(PathBuf, bool)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let trees = table.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let tree = PathBuf::from(front.split(' ').nth(4)?);
        let new = fs::read_to_string(tree.join("cgroup.controllers")).unwrap_or_default();
        let has_new = new.split_whitespace().any(|known| known == controller);
        let has_old =
            back.starts_with("cgroup ") && back.split([' ', ',']).any(|one| one == controller);
        (has_new || has_old).then_some((tree, has_new))
    });
    trees.max_by_key(|(_, is_new)| *is_new)
}

/// Everything below `lath` in all trees.
fn folders() -> Vec<PathBuf> {
    let trees = ["memory", "cpu", "pids"].into_iter().filter_map(tree);
    let homes = trees.map(|(tree, _)| tree.join("lath"));
    let entries = homes.filter_map(|home| fs::read_dir(home).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn a_step_has_the_memory_the_processors_and_the_processes_that_it_is_given() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let words = ["-m", "24m", "--memory-swap", "24m", "--cpus", "0.5", "--pids-limit", "20"];
    if ["memory", "cpu", "pids"].iter().any(|name| tree(name).is_none()) {
        let said = lath.build_in("c", "x", "FROM busybox\nRUN true\n", &words).failure(1);
        assert!(said.contains("controller for cgroups"), "{said}");
        return;
    }
    let look =
        "FROM busybox\nRUN cat /proc/self/cgroup >/groups; cat /proc/self/oom_score_adj >/first\n";
    lath.build_in("c", "look", look, &words).success();
    let groups = lath.shell("look", "cat /groups");
    assert!(groups.contains(":/lath/"), "{groups}");
    assert_eq!(lath.shell("look", "cat /first").trim(), "500");
    // They change nothing of the result, so the cache is as good.
    let again = lath.build_in("c", "look", look, &["-m", "64m"]).success();
    assert_eq!(again.cached().len(), 1, "{}", again.stdout);

    let out = lath.build_in("c", "x", &format!("FROM busybox\nRUN {FILL}\n"), &words);
    assert_eq!(out.code, 1, "{}", out.all());
    let why = "a process of it was killed: it has used the 24 MiB that it may use; give it more with --memory";
    assert!(out.stderr.contains(why), "{}", out.stderr);
    lath.build_in("c", "x", &format!("FROM busybox\nRUN {FILL}\n"), &["-m", "100m"]).success();

    let many = "FROM busybox\nRUN for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait\n";
    let out = lath.build_in("c", "x", many, &["--pids-limit", "5"]);
    assert!(out.code != 0 && out.all().contains("can't fork"), "{}", out.all());
    let own =
        |path: &Path| fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|all| all.is_empty());
    assert!(!folders().iter().any(|folder| own(folder)), "left: {:?}", folders());

    for (words, text) in [
        (&["-m", "1m"][..], "the least memory"),
        (&["--cpu-quota", "10"], "--cpu-quota cannot be less"),
        (&["--cpus", "1", "--cpu-quota", "1000"], "write one of them"),
        (&["--pids-limit", "x"], "--pids-limit: invalid number"),
        (&["--priority", "high"], "write low or normal"),
    ] {
        let said = lath.build_in("c", "x", "FROM busybox\n", words).failure(2);
        assert!(said.contains(text), "{said}");
    }
}

/// The whole build is held to less memory than its step wants, by somebody else.
#[test]
fn a_step_that_the_kernel_kills_says_so_and_the_build_lives_on_to_say_it() {
    if !needs(HERE) {
        return;
    }
    let Some((memory, is_new)) = tree("memory") else { return };
    if is_new {
        let _ = fs::write(memory.join("cgroup.subtree_control"), "+memory");
    }
    let lath = Lath::with_busybox();
    let group = memory.join(format!("lath-test-{}", std::process::id()));
    fs::create_dir(&group).unwrap();
    let limit = if is_new { "memory.max" } else { "memory.limit_in_bytes" };
    fs::write(group.join(limit), (40 << 20).to_string()).unwrap();
    lath.write("c/Dockerfile", format!("FROM busybox\nRUN echo before\nRUN {FILL}\n"));
    let inside = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", group.display());
    let build = lath.command(&["build", lath.path("c").to_str().unwrap()]);
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &inside, "sh"]).arg(build.get_program()).args(build.get_args());
    let set = build.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.envs(set);
    let out = harness::finish(&mut command, b"");
    fs::remove_dir(&group).unwrap();
    assert_eq!(out.code, 1, "{}", out.all());
    let why = "the kernel has killed a process meanwhile, since memory was short";
    assert!(out.stderr.contains(why) && out.stderr.contains("the device has"), "{}", out.stderr);
    lath.ok(&["fsck"]);
}

#[test]
fn a_build_of_low_priority_gives_way_in_all_that_it_does() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let look = "FROM busybox\nRUN cut -d' ' -f19 /proc/1/stat >/nice; ionice -p 1 >/io\n";
    lath.build_in("c", "low", look, &["--priority", "low"]).success();
    assert_eq!(lath.shell("low", "cat /nice; cut -d: -f1 /io"), "10\nidle\n");
    lath.build_in("c", "usual", look, &["--priority=normal", "--no-cache"]).success();
    assert_eq!(lath.shell("usual", "cat /nice"), "0\n");
    assert!(!lath.shell("usual", "cat /io").contains("idle"));
    // A container is not long work of lath's.
    assert_eq!(lath.ok(&["run", "--rm", "low", "cut", "-d ", "-f19", "/proc/self/stat"]), "0\n");
}
