//! Tars of other programs: the tree is what they packed, and the replay is their bytes.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use super::{Scratch, layer};

fn tree(long: bool) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("src/d/empty", b"");
    scratch.write("src/d/f", &vec![b'f'; 100_000]);
    scratch.write("src/setuid", b"#!/bin/sh\n");
    if long {
        let deep = format!("src/{}/{}", "long".repeat(30), "name".repeat(30));
        scratch.write(&deep, b"deep");
        symlink("t".repeat(150), scratch.path.join("src/longlink")).unwrap();
        std::fs::hard_link(scratch.path.join(deep), scratch.path.join("src/zlink")).unwrap();
    }
    let src = scratch.path.join("src");
    symlink("d/f", src.join("soft")).unwrap();
    std::fs::hard_link(src.join("d/f"), src.join("hard")).unwrap();
    rustix::fs::mkfifoat(CWD, src.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
    let null = rustix::fs::makedev(1, 3);
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, src.join("null"), kind, Mode::from_raw_mode(0o666), null).unwrap();
    std::os::unix::fs::chown(src.join("setuid"), Some(70), Some(71)).unwrap();
    let mode = std::fs::Permissions::from_mode(0o6755);
    std::fs::set_permissions(src.join("setuid"), mode).unwrap();
    let time = Timespec { tv_sec: 1_234_567_890, tv_nsec: 400_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    let output = Command::new("find").arg(&src).args(["-depth", "-print0"]).output().unwrap();
    for path in String::from_utf8(output.stdout).unwrap().split_terminator('\0') {
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    scratch
}

fn check(what: &str, scratch: &Scratch, command: &mut Command) {
    let output = command.current_dir(&scratch.path).output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let src = crate::layer::node::open_directory(scratch.fd(), b"src").unwrap();
    let expected = super::listing(std::os::fd::AsFd::as_fd(&src), true);
    for rubbish in ["", "rubbish"] {
        let tar = [&output.stdout, rubbish.as_bytes()].concat();
        let layer = layer(&tar, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(layer.diff.listing(), expected, "{what}");
    }
}

#[test]
fn gnu_tar_in_all_its_formats() {
    for (format, long) in [("gnu", true), ("oldgnu", true), ("posix", true), ("ustar", false)] {
        let scratch = tree(long);
        for order in ["none", "name"] {
            let mut tar = Command::new("tar");
            tar.args(["--format", format, "--sort", order, "--xattrs", "-C", "src", "-c", "."]);
            check(&format!("{format} {order}"), &scratch, &mut tar);
        }
    }
}

#[test]
fn python_in_all_its_formats() {
    for (format, long) in [("USTAR", false), ("GNU", true), ("PAX", true)] {
        let script = format!(
            "import tarfile, sys
t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.{format}_FORMAT)
t.add('src', arcname='')
t.close()"
        );
        check(format, &tree(long), Command::new("python3").args(["-c", &script]));
    }
}

#[test]
fn busybox_tar() {
    if Command::new("busybox").arg("true").status().is_ok_and(|status| status.success()) {
        let mut tar = Command::new("busybox");
        check("busybox", &tree(true), tar.args(["tar", "-C", "src", "-c", "-f", "-", "."]));
    }
}

#[test]
fn old_tars_without_a_type_for_directories() {
    let scratch = Scratch::new();
    scratch.write("src/d/f", b"x");
    let script = "tar --format=v7 -C src -cf t.tar d";
    assert!(
        Command::new("sh")
            .args(["-c", script])
            .current_dir(&scratch.path)
            .status()
            .unwrap()
            .success()
    );
    let tar = std::fs::read(scratch.path.join("t.tar")).unwrap();
    assert_eq!(layer(&tar, None).unwrap().diff.names(), "d/ d/f");
}

#[test]
fn a_recipe_is_small() {
    let scratch = Scratch::new();
    for number in 0..2000 {
        scratch.write(&format!("src/some/directory{}/file{number}.txt", number % 7), b"content");
    }
    let mut tar = Command::new("tar");
    tar.args(["-C", "src", "-c", "."]).current_dir(&scratch.path);
    let tar = tar.output().unwrap().stdout;
    let bytes = layer(&tar, None).unwrap().recipe.len();
    assert!(bytes / 2009 < 60, "{bytes} bytes for 2009 entries");
}
