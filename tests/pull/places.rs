//! Several at once, and much at once.

use super::harness::{Lath, Member, Need, Running, Shelf, finish, hex, host, needs, ok, tar_of};
use super::{CONFIG, HERE, LAYER, MANIFEST};
use super::{id, is_empty, large, name, small};
use crate::harness::{Web, config_of, manifest_of};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn two_that_pull_the_same_do_not_disturb_each_other() {
    if !needs(HERE) {
        return;
    }
    // Each layer needs the one below it; the large one is waited for by both.
    let above = tar_of(&[Member::Hard("h", "big"), Member::File("g", "more\n")]);
    let shelf = Shelf::of(&[small(), large(), above]);
    let (wanted, layer, count) = (id(&shelf), shelf.largest(), AtomicUsize::new(0));
    let web = Web::stream(move |asked, stream| {
        let answer = shelf.answer(asked);
        if asked.target() != layer {
            drop(stream.write_all(&answer));
            return;
        }
        // Nobody gets the rest before both have begun.
        count.fetch_add(1, Ordering::Relaxed);
        let (start, rest) = answer.split_at(answer.len() / 2);
        drop(stream.write_all(start));
        while count.load(Ordering::Relaxed) < 2 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        drop(stream.write_all(rest));
    });
    let lath = Lath::new();
    let both = [0, 1].map(|_| Running::start(&mut lath.command(&["pull", &name(&web)])));
    for one in both {
        one.wait().success();
    }
    assert_eq!(lath.id(&name(&web)), wanted);
    assert!(is_empty(&lath, "partial"));
    let chains = std::fs::read_dir(lath.store().join("chains")).unwrap().count();
    let layers = std::fs::read_dir(lath.store().join("layers")).unwrap().count();
    assert_eq!((chains, layers), (3, 3));
    // It is whole: what comes out has the layers that went in.
    lath.ok(&["save", "-o", &lath.text("x.tar"), &name(&web)]);
    let other = Lath::new();
    other.ok(&["load", "-i", &lath.text("x.tar")]);
    assert_eq!(other.id(&name(&web)), wanted);
}

#[test]
fn many_that_find_no_store_make_one() {
    for _ in 0..4 {
        let lath = Lath::new();
        let all: Vec<_> =
            (0..16).map(|_| Running::start(&mut lath.command(&["images", "-q"]))).collect();
        for one in all {
            one.wait().success();
        }
    }
}

#[test]
fn memory_does_not_depend_on_the_layer() {
    if !needs(HERE) {
        return;
    }
    let mut shelf = Shelf::default();
    let lath = Lath::new();
    lath.write("big", "");
    let (file, tar) = (lath.text("big"), lath.text("big.tar"));
    host("truncate", &["-s", "200M", &file]);
    host("tar", &["-cf", &tar, "--format=ustar", "-C", &lath.text(""), "big"]);
    let bytes = std::fs::read(&tar).unwrap();
    for path in [&file, &tar] {
        std::fs::remove_file(path).unwrap();
    }
    let config = shelf.blob(CONFIG, config_of(std::slice::from_ref(&bytes)).as_bytes());
    let layer = shelf.blob(LAYER, &bytes);
    drop(bytes);
    shelf.manifest("latest", MANIFEST, &manifest_of(MANIFEST, &config, &[layer]));
    // The last bytes only come when the peak was read.
    let (path, is_read, is_near) =
        (shelf.largest(), AtomicBool::new(false), AtomicBool::new(false));
    let flags = Arc::new((is_near, is_read));
    let shared = flags.clone();
    let web = Web::stream(move |asked, stream| {
        let (is_near, is_read) = &*shared;
        let answer = shelf.answer(asked);
        let last = if asked.target() == path { 600 } else { 0 };
        let (most, rest) = answer.split_at(answer.len() - last);
        drop(stream.write_all(most));
        is_near.store(last > 0, Ordering::Relaxed);
        while last > 0 && !is_read.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(stream.write_all(rest));
    });
    let running = Running::start(&mut lath.command(&["pull", &name(&web)]));
    let running = running.until("nearly all", || flags.0.load(Ordering::Relaxed));
    // What the kernel still holds for it is less than this file has in the end.
    let running = running.until("all of the file", || size_of(&lath) > 199 << 20);
    let peak = running.peak();
    flags.1.store(true, Ordering::Relaxed);
    running.wait().success();
    assert!(peak < 8 << 10, "{peak} KB");
}

/// A group of processes with this much memory and no swap; gone with this.
struct Group(PathBuf);

impl Group {
    fn of(bytes: u64) -> Group {
        let new = Path::new("/sys/fs/cgroup");
        let is_new = fs::read_to_string(new.join("cgroup.controllers"))
            .is_ok_and(|all| all.split_whitespace().any(|name| name == "memory"));
        if is_new {
            drop(fs::write(new.join("cgroup.subtree_control"), "+memory"));
        }
        let (tree, limit) = match is_new {
            true => (new.to_owned(), "memory.max"),
            false => (new.join("memory"), "memory.limit_in_bytes"),
        };
        let group = tree.join(format!("lath-test-{}", std::process::id()));
        fs::create_dir(&group).unwrap();
        let group = Group(group);
        fs::write(group.0.join(limit), bytes.to_string()).unwrap();
        if is_new {
            drop(fs::write(group.0.join("memory.swap.max"), "0"));
        }
        group
    }

    /// The command in it.
    fn run(&self, plain: &Command) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > $0/cgroup.procs && exec \"$@\""]).arg(&self.0);
        command.arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(plain.get_current_dir().unwrap());
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// `LATH_TEST_GIGABYTES=8`: as many in place of one.
#[test]
fn gigabytes_come_through_a_small_group() {
    let more = [Need::Program("truncate"), Need::Program("mkfifo"), Need::Program("sha256sum")];
    if !needs(HERE) || !needs(&more) {
        return;
    }
    let gigabytes = std::env::var("LATH_TEST_GIGABYTES").unwrap_or_else(|_| "1".into());
    let lath = Lath::new();
    // Nobody holds it: the tar of a file of zeros goes through gzip and, at once, through sha256sum.
    let script = "truncate -s ${1}G big && mkfifo pipe && { sha256sum < pipe > sum & } && \
                  tar -cf - --format=pax big | tee pipe | gzip -1 > packed && wait && rm big";
    let mut make = Command::new("sh");
    make.args(["-c", script, "sh", &gigabytes]).current_dir(lath.path(""));
    finish(&mut make, &[]).success();
    let packed = fs::read(lath.path("packed")).unwrap();
    let sum = fs::read_to_string(lath.path("sum")).unwrap();
    let sum = sum.split(' ').next().unwrap();
    let empty = config_of(&[Vec::new()]);
    let config = empty.replace(&hex(b""), sum);
    assert_ne!(config, empty);
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, config.as_bytes());
    let layer = shelf.blob(&format!("{LAYER}+gzip"), &packed);
    shelf.manifest("latest", MANIFEST, &manifest_of(MANIFEST, &config, &[layer]));
    let web = shelf.serve();
    let group = Group::of(24 << 20);
    finish(&mut group.run(&lath.command(&["pull", "-q", &name(&web)])), &[]).success();
    let bytes = gigabytes.parse::<u64>().unwrap() << 30;
    assert_eq!(size_of(&lath), bytes);
    let said = |status: u16| {
        format!("HTTP/1.1 {status} x\r\nLocation: /up\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    // Back from there, where each byte is compressed again: as a registry has it that knows none.
    let taking = Web::start(move |asked| match asked.line.split(' ').next() {
        Some("HEAD") => super::harness::status(404),
        Some("POST" | "PATCH") => said(202),
        Some("PUT") => said(201),
        _ => ok("", "{}"),
    });
    let to = format!("127.0.0.1:{}/hub/y:1", taking.port());
    lath.ok(&["tag", &name(&web), &to]);
    finish(&mut group.run(&lath.command(&["push", "-q", &to])), &[]).success();
}

/// The size of the one file that is unpacked.
fn size_of(lath: &Lath) -> u64 {
    let names = lath.listing();
    let big = names.names().into_iter().find(|path| path.ends_with("diff/big"));
    big.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len())
}
