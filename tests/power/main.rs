//! A power cut at any write: the disk of a store at work is recorded by a file system in user space
//! under a loop device, the disk of each moment is made again, with the writes that no flush has
//! followed or without some of them, and lath is started on it.
//!
//! `LATH_POWER_CUTS` says how many cuts each file system gets, `LATH_POWER_HOURS` how long it
//! goes on at least, `LATH_POWER_SEED` where it begins (`make torture`, docs/TORTURE.md).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod check;
mod device;
mod fuse;
#[path = "../harness/mod.rs"]
mod harness;
mod medium;
mod session;

use device::{Device, FileSystem};
use harness::{Lath, Need, needs};
use medium::{Cache, Replay, cuts};
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// More of one session say little that is new.
const CUTS_A_SESSION: usize = 250;

const ORDERED: FileSystem = FileSystem {
    name: "ext4, data=ordered",
    kind: "ext4",
    make: &["mkfs.ext4", "-q", "-F", "-b", "4096"],
    options: "data=ordered",
    megabytes: 64,
};

/// Without what it does of itself for programs that do not sync.
const WRITEBACK: FileSystem = FileSystem {
    name: "ext4, data=writeback",
    options: "data=writeback,noauto_da_alloc",
    ..ORDERED
};

const XFS: FileSystem = FileSystem {
    name: "xfs",
    kind: "xfs",
    make: &["mkfs.xfs", "-q", "-f"],
    options: "",
    megabytes: 300,
};

const BTRFS: FileSystem = FileSystem {
    name: "btrfs",
    kind: "btrfs",
    make: &["mkfs.btrfs", "-q", "-f"],
    options: "nodiscard",
    megabytes: 128,
};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Runs the test again in a mount namespace of its own. Otherwise the containers of other tests
/// would hold its file systems, and a test that is killed would leave them.
fn is_apart(test: &str) -> bool {
    if std::env::var_os("LATH_POWER_APART").is_some() {
        return true;
    }
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env("LATH_POWER_APART", "1");
    assert!(again.status().unwrap().success(), "{test} failed");
    false
}

/// So many cuts, and as long as that is asked for.
fn torture(system: &FileSystem, test: &str, cuts_wanted: usize) {
    let programs = ["losetup", "unshare", system.make[0]].map(Need::Program);
    if !needs(&[Need::Root, Need::Busybox]) || !needs(&programs) || !is_apart(test) {
        return;
    }
    let wanted = setting("LATH_POWER_CUTS").map_or(cuts_wanted, |count| count as usize);
    let until = Duration::from_secs(3600 * setting("LATH_POWER_HOURS").unwrap_or(0));
    let first = setting("LATH_POWER_SEED").unwrap_or(0);
    let is_long = wanted > CUTS_A_SESSION;
    let since = Instant::now();
    let lath = Lath::new();
    session::prepare(&lath);
    let device = Device::new(&lath.path(""), system.megabytes);
    let (mut done, mut in_order, mut flushes, mut writes) = (0, 0, 0, 0);
    let mut losses = Vec::new();
    for seed in first.. {
        if done >= wanted && since.elapsed() >= until {
            break;
        }
        let session = session::record(&lath, &device, system, seed, if is_long { 18 } else { 9 });
        let recording = &session.recording;
        flushes += recording.flushes();
        writes += recording.entries.len() - recording.flushes();
        let mut replay = Replay::of(recording);
        for cut in cuts(recording, seed, CUTS_A_SESSION.min(wanted.div_ceil(2))) {
            let disk = replay.after(cut);
            if let Err(what) = check::holds(&lath, &device, system, &session, cut.at, disk) {
                let what = format!("{}, seed {seed}, {cut:?}: {what}", system.name);
                tell(&what);
                losses.push(what);
            }
            done += 1;
            in_order += usize::from(cut.cache == Cache::InOrder);
        }
        tell(&format!(
            "{}: {done} cuts ({in_order} in order) in {writes} writes and {flushes} flushes of {} \
             sessions, {} losses, {} s",
            system.name,
            seed + 1 - first,
            losses.len(),
            since.elapsed().as_secs()
        ));
    }
    drop(device);
    assert!(flushes > 0, "no flush came down to the disk");
    assert!(losses.is_empty(), "{} losses in {done} cuts, the first:\n{}", losses.len(), losses[0]);
}

#[test]
fn a_power_cut_loses_nothing_on_ext4() {
    torture(&ORDERED, "a_power_cut_loses_nothing_on_ext4", 60);
}

#[test]
fn a_power_cut_loses_nothing_on_ext4_with_writeback() {
    torture(&WRITEBACK, "a_power_cut_loses_nothing_on_ext4_with_writeback", 20);
}

#[test]
fn a_power_cut_loses_nothing_on_xfs() {
    torture(&XFS, "a_power_cut_loses_nothing_on_xfs", 20);
}

#[test]
fn a_power_cut_loses_nothing_on_btrfs() {
    torture(&BTRFS, "a_power_cut_loses_nothing_on_btrfs", 20);
}
