//! A machine of its own that is killed in the middle of its work and started again, over and over, on
//! one disk: what its store had said to be done is there, and nothing else is.
//!
//! `make vm` runs it, and `make vm-test` what `device.rs` and `lacking.rs` have: `LATH_VM_KERNEL` names a folder with a kernel and its modules (an unpacked
//! package of Debian's), without which there is nothing to do here; `LATH_VM_KILLS` how often
//! the machine is killed on each file system; `LATH_VM_ACCEL=tcg` does without the processor's help,
//! at a tenth of the speed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod device;
mod firmware;
#[path = "../harness/mod.rs"]
mod harness;
mod initramfs;
mod lacking;

use harness::{Lath, Need, Random, binary, busybox_tar, host, needs};
use initramfs::{Archive, in_order, modules};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// No line of a machine that works takes longer.
const TOO_LONG: Duration = Duration::from_secs(600);
const DISK: u64 = 256 << 20;

/// A machine that runs.
struct Machine {
    child: Child,
    lines: Receiver<String>,
}

/// What it is made of.
struct Parts<'a> {
    kernel: &'a Path,
    initramfs: Option<&'a Path>,
    disks: &'a [&'a Path],
    /// Its memory.
    megabytes: u32,
    /// For the kernel's command line.
    words: &'a str,
}

impl Machine {
    fn boot(parts: &Parts<'_>) -> Machine {
        // A busy host gives a machine that it emulates its first ticks too late for the kernel's check.
        let append =
            format!("console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check {}", parts.words);
        let memory = parts.megabytes.to_string();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", &accelerator(), "-cpu", "max", "-m", &memory, "-smp", "1"]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        command.arg("-kernel").arg(parts.kernel).args(["-append", &append]);
        if let Some(initramfs) = parts.initramfs {
            command.arg("-initrd").arg(initramfs);
        }
        for disk in parts.disks {
            let disk = disk.to_str().unwrap();
            command.args(["-drive", &format!("file={disk},format=raw,if=virtio,cache=writeback")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Machine { child, lines }
    }

    /// Waits until it is off.
    fn end(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// The power goes; what it had still said.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

/// What the machine has said so far.
#[derive(Default)]
struct Told {
    /// Names that point at these images.
    images: BTreeMap<String, String>,
    containers: BTreeSet<String>,
    /// It was about to change this one.
    unsure: Option<String>,
    /// The digest of an image's archive, by its id.
    archives: BTreeMap<String, String>,
    builds: usize,
    checked: usize,
    /// How often the file system had to be mended by its fsck before it could be mounted.
    mended: usize,
}

impl Told {
    /// A line of the work.
    fn work(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["WILL", name] => {
                self.unsure = Some(name.to_owned());
                self.images.remove(name);
            }
            ["DONE", name, id] => {
                self.images.insert(name.to_owned(), id.to_owned());
                self.builds += 1;
                self.unsure = None;
            }
            ["GONE", _] => self.unsure = None,
            ["MADE", name] => {
                self.containers.insert(name.to_owned());
                self.unsure = None;
            }
            // A prune may be at work from here on, which takes containers.
            ["FAILED", ..] => panic!("{line}"),
            _ => {}
        }
    }

    /// What is there after a start.
    fn check(&mut self, lines: &[String], what: &str) {
        let all = lines.join("\n");
        assert!(!all.contains("FAILED"), "{what}: {all}");
        assert!(lines.iter().any(|line| line.starts_with("FSCK clean")), "{what}: {all}");
        assert!(lines.iter().any(|line| line == "TMP 0"), "{what}: {all}");
        self.mended += usize::from(all.contains("MENDED"));
        let mut seen = BTreeMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let ["IMAGE", name, id, digest] = words[..] else { continue };
            let known = self.archives.entry(id.to_owned()).or_insert_with(|| digest.to_owned());
            assert_eq!(known, digest, "{what}: {id} has changed");
            seen.insert(name.to_owned(), id.to_owned());
            self.checked += 1;
        }
        for (name, id) in &self.images {
            assert_eq!(seen.get(name), Some(id), "{what}: {name} is lost: {all}");
        }
        for name in seen.keys().filter(|name| name.starts_with("n:")) {
            let is_known = self.images.contains_key(name) || self.unsure.as_ref() == Some(name);
            assert!(is_known, "{what}: {name} is back: {all}");
        }
        let containers: BTreeSet<_> =
            lines.iter().filter_map(|line| line.strip_prefix("CONTAINER ")).collect();
        for name in &containers {
            let is_known = self.containers.contains(*name) || self.unsure.as_deref() == Some(*name);
            assert!(is_known, "{what}: {name} is back: {all}");
        }
        self.images = seen.into_iter().filter(|(name, _)| name.starts_with("n:")).collect();
        self.containers = containers.into_iter().map(str::to_owned).collect();
        self.unsure = None;
    }
}

fn accelerator() -> String {
    std::env::var("LATH_VM_ACCEL").unwrap_or("kvm".into())
}

fn kernel() -> Option<PathBuf> {
    std::env::var_os("LATH_VM_KERNEL").map(PathBuf::from)
}

fn image_of(kernel: &Path) -> PathBuf {
    let files = fs::read_dir(kernel.join("boot")).unwrap().map(|entry| entry.unwrap().path());
    let is_image = |path: &PathBuf| path.to_str().unwrap().contains("/vmlinuz");
    files.into_iter().find(is_image).expect("a kernel")
}

/// A program of this machine's with its libraries and what loads them.
fn with_libraries(archive: &mut Archive, dir: &str, program: &str) {
    let path = host("which", &[program]);
    archive.program(&format!("{dir}/{program}"), &fs::read(path.trim()).unwrap());
    for line in host("ldd", &[path.trim()]).lines() {
        let Some(file) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let name = file.rsplit('/').next().unwrap();
        let name = if name.starts_with("ld-") { "loader" } else { name };
        archive.program(&format!("{dir}/{name}"), &fs::read(file).unwrap());
    }
}

fn initramfs(lath: &Lath, kernel: &Path, fsck: &str) -> PathBuf {
    let mut archive = Archive::default();
    for dir in ["bin", "fsck", "modules"] {
        archive.dir(dir);
    }
    with_libraries(&mut archive, "fsck", fsck);
    archive.program("init", include_bytes!("init.sh"));
    archive.program("bin/busybox", &fs::read(host("which", &["busybox"]).trim()).unwrap());
    archive.program("bin/lath", &fs::read(binary()).unwrap());
    archive.program("base.tar", &fs::read(lath.path("base.tar")).unwrap());
    let wanted =
        ["virtio_pci", "virtio_blk", "crc32c_generic", "crc32_generic", "ext4", "f2fs", "overlay"];
    for (number, path) in in_order(&modules(kernel), &wanted).iter().enumerate() {
        archive.program(&format!("modules/{number:02}.ko"), &fs::read(path).unwrap());
    }
    lath.write("initramfs", archive.finish())
}

fn torture(system: &str, make: &[&'static str]) {
    let Some(kernel) = kernel() else { return };
    let programs = ["qemu-system-x86_64", make[0]].map(Need::Program);
    if !needs(&[Need::Root, Need::Busybox]) || !needs(&programs) {
        return;
    }
    let kills = std::env::var("LATH_VM_KILLS").map_or(20, |count| count.parse().expect("a number"));
    let lath = Lath::new();
    lath.give(&["import", "-", "base:latest"], &busybox_tar()).success();
    lath.ok(&["save", "-o", &lath.text("base.tar"), "base"]);
    // Of the same package.
    let fsck = make[0].replace("mkfs", "fsck");
    let initramfs = initramfs(&lath, &kernel, &fsck);
    let disk = lath.path("disk");
    fs::File::create(&disk).unwrap().set_len(DISK).unwrap();
    host(make[0], &[&make[1..], &[disk.to_str().unwrap()]].concat());
    let longest = if accelerator() == "kvm" { 4000 } else { 12_000 };
    let mut random = Random(1);
    let mut told = Told::default();
    for kill in 0..=kills {
        let what = format!("{system}, after {kill} kills");
        let words = format!("system={system} turn={}", kill * 1000);
        let machine = Machine::boot(&Parts {
            kernel: &image_of(&kernel),
            initramfs: Some(&initramfs),
            disks: &[&disk],
            megabytes: 512,
            words: &words,
        });
        let mut start = Vec::new();
        while start.last().is_none_or(|line| line != "CHECKED") {
            match machine.lines.recv_timeout(TOO_LONG) {
                Ok(line) => start.push(line),
                Err(error) => {
                    let more = machine.kill();
                    panic!("{what}: {error}: {}\n{}", start.join("\n"), more.join("\n"));
                }
            }
        }
        told.check(&start, &what);
        // From the loading on into the builds.
        let until = Duration::from_millis(100 + random.below(longest) as u64);
        let since = std::time::Instant::now();
        while let Some(left) = until.checked_sub(since.elapsed()) {
            match machine.lines.recv_timeout(left) {
                Ok(line) => told.work(&line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("{what}: the machine has ended"),
            }
        }
        machine.kill().iter().for_each(|line| told.work(line));
        let Told { builds, checked, mended, .. } = told;
        drop(writeln!(
            std::io::stderr(),
            "{system}: started again {kill} times, {mended} times after an fsck, {builds} builds, \
             {checked} images checked, none lost"
        ));
    }
}

#[test]
fn a_machine_that_is_killed_loses_nothing_on_ext4() {
    torture("ext4", &["mkfs.ext4", "-q", "-F"]);
}

#[test]
fn a_machine_that_is_killed_loses_nothing_on_f2fs() {
    torture("f2fs", &["mkfs.f2fs", "-q", "-f"]);
}
