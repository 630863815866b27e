//! Random trees: what was packed unpacks to the same tree and packs to the same bytes.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::{Scratch, layer};
use crate::layer::{Form, pack};

/// A small generator (xorshift64*), so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn name(&mut self) -> String {
        let letters = ["a", "b", "-", ".", "é", " ", "\n", "\u{1b}", "Z", "_", "\\"];
        let length = if self.below(20) == 0 { 50 } else { 1 + self.below(5) };
        let name: String = (0..length).map(|_| letters[self.below(11) as usize]).collect();
        if name.starts_with('.') { format!("x{name}") } else { name }
    }
}

/// Fills a tree in upper form; `below` gets what its whiteouts and opaque marks hide.
fn grow(random: &mut Random, upper: &Scratch, below: &Scratch) {
    let mut directories = vec![String::new()];
    let (mut files, mut covered): (Vec<String>, Vec<String>) = Default::default();
    for _ in 0..60 {
        let parent = directories[random.below(directories.len() as u64) as usize].clone();
        let path = format!("{parent}{}", random.name());
        let full = upper.path.join(&path);
        let lower = below.path.join(&path);
        if std::fs::symlink_metadata(&full).is_ok() || std::fs::symlink_metadata(&lower).is_ok() {
            continue;
        }
        let mode = Mode::from_raw_mode(random.below(0o10000) as u32);
        let device = |kind, number| {
            rustix::fs::mknodat(CWD, &full, kind, Mode::empty(), number).unwrap();
        };
        match random.below(12) {
            0..=2 => {
                std::fs::create_dir(&full).unwrap();
                std::fs::create_dir(&lower).unwrap();
                let is_covered = covered.iter().any(|covered| path.starts_with(covered));
                if !is_covered && random.below(3) == 0 {
                    let name = "trusted.overlay.opaque";
                    rustix::fs::setxattr(&full, name, b"y", XattrFlags::empty()).unwrap();
                    covered.push(format!("{path}/"));
                }
                directories.push(format!("{path}/"));
            }
            3 => symlink(format!("../{}", random.name().repeat(30)), &full).unwrap(),
            4 => device(FileType::Fifo, 0),
            5 => device(FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
            6 => device(FileType::BlockDevice, rustix::fs::makedev(4095, 1_048_575)),
            // Where nothing shows through there is nothing to be hidden.
            7 if !covered.iter().any(|covered| path.starts_with(covered)) => {
                device(FileType::CharacterDevice, 0);
                std::fs::write(&lower, b"hidden").unwrap();
                continue;
            }
            8 if !files.is_empty() => {
                let first = &files[random.below(files.len() as u64) as usize];
                std::fs::hard_link(upper.path.join(first), &full).unwrap();
                continue;
            }
            _ => {
                let content = vec![random.below(256) as u8; random.below(3000) as usize];
                std::fs::write(&full, content).unwrap();
                files.push(path.clone());
            }
        }
        let kind = std::fs::symlink_metadata(&full).unwrap().file_type();
        let owner = [0, 7, 2_097_151, 2_097_152, 4_294_967_294];
        let (uid, gid) = (owner[random.below(5) as usize], owner[random.below(5) as usize]);
        std::os::unix::fs::lchown(&full, Some(uid), Some(gid)).unwrap();
        if !kind.is_symlink() {
            rustix::fs::chmodat(CWD, &full, mode, AtFlags::empty()).unwrap();
        }
        if (kind.is_file() || kind.is_dir()) && random.below(3) == 0 {
            for (name, value) in [("user.z", "\0\n=é"), ("user.a.b", ""), ("user.overlay.x", "1")]
            {
                rustix::fs::setxattr(&full, name, value.as_bytes(), XattrFlags::empty()).unwrap();
            }
        }
    }
    // Last, and inner directories first, since making anything in them changes their times.
    let output = std::process::Command::new("find")
        .arg(&upper.path)
        .args(["-depth", "-print0"])
        .output()
        .unwrap();
    for path in output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
        let time = Timespec { tv_sec: random.below(1 << 33) as i64 - 1000, tv_nsec: 7 };
        let times = Timestamps { last_access: time, last_modification: time };
        let path = std::ffi::OsStr::from_bytes(path);
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

#[test]
fn random_trees_come_back() {
    for seed in 1..=40 {
        let (upper, below) = (Scratch::new(), Scratch::new());
        grow(&mut Random(seed * 7919), &upper, &below);
        let mut tar = Vec::new();
        let packed = pack(upper.fd(), Form::Overlay, &mut tar).unwrap();
        let layer = layer(&tar, Some(&below)).unwrap();
        let (found, expected) = (layer.diff.listing(), upper.listing());
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "seed {seed}");
        }
        assert_eq!(found.len(), expected.len(), "seed {seed}");
        let mut again = Vec::new();
        assert_eq!(pack(layer.diff.fd(), Form::Overlay, &mut again).unwrap(), packed);
        assert!(again == tar, "seed {seed}");
        assert_eq!(
            (layer.unpacked.entries, layer.unpacked.file_bytes),
            (packed.entries, packed.file_bytes)
        );
    }
}
