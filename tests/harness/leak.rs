//! What a test leaves behind: mounts, processes, unfinished work in the store.

use super::process::own_children;
use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to go after its lath has ended.
const GRACE: Duration = Duration::from_secs(3);

/// From now on orphans of the programs under test become children of the tests: they are seen.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_child_subreaper(Pid::from_raw(1)).unwrap());
}

/// One line for each thing that should not be there any more.
pub fn of(home: &Path, store: &Path) -> Vec<String> {
    let start = Instant::now();
    loop {
        let mut left = mounts(home);
        left.extend(processes(home));
        left.extend(unfinished(store));
        if left.is_empty() || start.elapsed() > GRACE || thread::panicking() {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Takes away the mounts that a broken test left, so that its folder can be removed.
pub fn unmount(home: &Path) {
    for mount in mounts(home).iter().rev() {
        if let Some(path) = mount.strip_prefix("mount ") {
            drop(Command::new("umount").args(["-l", path]).status());
        }
    }
}

/// Kills what a broken test has left running in this store, so that no other test meets it.
pub fn kill(home: &Path) {
    for line in processes(home) {
        let pid = line.strip_prefix("process ").and_then(|rest| rest.split(':').next());
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.parse().ok()?)) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The processes of this machine with this command line.
pub fn pids_of(command: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.trim_end() == command
            && let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
        {
            found.push(pid);
        }
    }
    found
}

/// Wants that command to be gone, soon.
#[track_caller]
pub fn gone(command: &str) {
    let start = Instant::now();
    while !pids_of(command).is_empty() {
        assert!(start.elapsed() < GRACE, "{command} still runs: {:?}", pids_of(command));
        thread::sleep(Duration::from_millis(20));
    }
}

fn mounts(home: &Path) -> Vec<String> {
    let home = format!("{}/", home.to_str().unwrap());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|path| path.starts_with(&home))
        .map(|path| format!("mount {path}"))
        .collect()
}

/// Processes that still have this store in their environment or their mounts, and orphans.
fn processes(home: &Path) -> Vec<String> {
    let home = format!("{}/", home.to_str().unwrap());
    let mut found = Vec::new();
    // Whoever shares the mounts of the tests sees theirs, and is anybody on this machine.
    let own_mounts = fs::read_link("/proc/self/ns/mnt").unwrap();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let read = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let has_mounts =
            || fs::read_link(entry.path().join("ns/mnt")).is_ok_and(|of| of != own_mounts);
        let names_it =
            || read("environ").contains(&home) || has_mounts() && read("mountinfo").contains(&home);
        let is_me = pid == std::process::id().cast_signed();
        // The keeper of a container is another test's when it has another store.
        let is_lost = || is_orphan(pid, &read("stat")) && !read("environ").contains("LATH_ROOT=");
        if !is_me && (names_it() || is_lost()) {
            found.push(format!("process {pid}: {}", read("cmdline")));
        }
    }
    found
}

/// A child that no test has started came here because its parent ended before it.
fn is_orphan(pid: i32, stat: &str) -> bool {
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2));
    let own = own_children();
    let mine = std::process::id();
    if parent != Some(&mine.to_string()) || own.contains(&pid.cast_unsigned()) {
        return false;
    }
    // A dead one only waits to be asked for.
    let gone = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
    !matches!(gone, Ok(Some(_)) | Err(_))
}

fn unfinished(store: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(store.join("tmp")) else { return Vec::new() };
    entries.flatten().map(|entry| format!("unfinished {}", entry.path().display())).collect()
}
