//! /dev: a tmpfs with the usual nodes, pseudo terminals, shared memory; nothing of the image's.
//!
//! The nodes work, and no others do: each is bound over itself before the tmpfs becomes `nodev`,
//! so that a disk's node that a step makes (it has CAP_MKNOD, as docker gives it) is no door.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_remount};

use super::proc::is_of_kind;
use crate::error::{Context, Result};
use crate::sys::fs::{open_dir, open_in_root};
use crate::sys::mount::{bind, fd_path, mount_onto};

/// Name, major, minor (kernel: admin-guide/devices.txt).
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
/// The magic number of tmpfs (man 2 statfs).
const TMPFS_MAGIC: u64 = 0x0102_1994;
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Mounts /dev in the new root and fills it. The umask must be 0. Gives the directory. `shm_bytes`
/// is the size of /dev/shm, 0 for the usual one.
pub fn mount(
    root: BorrowedFd<'_>,
    scripts: &[(String, String)],
    shm_bytes: u64,
) -> Result<OwnedFd> {
    let place = open_in_root(root, "dev", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
        .context(|| "open /dev")?;
    let flags = MountFlags::NOSUID | MountFlags::STRICTATIME;
    mount_onto("tmpfs", place.as_fd(), flags, "mode=755,size=65536k").context(|| "mount /dev")?;
    let dev = open_in_root(root, "dev", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        .context(|| "open /dev")?;
    is_of_kind(dev.as_fd(), TMPFS_MAGIC, "/dev")?;
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        let device = makedev(major, minor);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, device)
            .context(|| format!("make /dev/{name}"))?;
        let node = open_in_root(dev.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .context(|| format!("open /dev/{name}"))?;
        bind(node.as_fd(), node.as_fd()).context(|| format!("bind /dev/{name}"))?;
    }
    // Only this mount of the tmpfs; the six that were just made stay doors.
    mount_remount(fd_path(dev.as_fd()), flags | MountFlags::BIND | MountFlags::NODEV, c"")
        .context(|| "close /dev for other devices")?;
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).context(|| format!("make /dev/{name}"))?;
    }
    let inner = [
        ("pts", "devpts", MountFlags::NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("mqueue", "mqueue", MountFlags::NOEXEC.union(MountFlags::NODEV), ""),
    ];
    for (name, kind, flags, options) in inner {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))
            .context(|| format!("make /dev/{name}"))?;
        let place = open_dir(dev.as_fd(), name).context(|| format!("open /dev/{name}"))?;
        match mount_onto(kind, place.as_fd(), flags | MountFlags::NOSUID, options) {
            // A kernel built without POSIX message queues.
            Err(Errno::NODEV) if name == "mqueue" => {}
            other => other.context(|| format!("mount /dev/{name}"))?,
        }
    }
    shared_memory(dev.as_fd(), shm_bytes).context(|| "mount /dev/shm")?;
    if !scripts.is_empty() {
        rustix::fs::mkdirat(&dev, "pipes", Mode::from_raw_mode(0o755))
            .context(|| "make /dev/pipes")?;
        let pipes = open_dir(dev.as_fd(), "pipes").context(|| "open /dev/pipes")?;
        for (name, content) in scripts {
            write(pipes.as_fd(), name, content.as_bytes(), 0o755)
                .context(|| format!("write /dev/pipes/{name}"))?;
        }
    }
    Ok(dev)
}

/// /dev/shm is a directory of the same tmpfs, with a mount of its own that executes nothing: one
/// file system less to make for each step. Of another size it is a file system of its own.
fn shared_memory(dev: BorrowedFd<'_>, bytes: u64) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(dev, "shm", Mode::from_raw_mode(0o1777))?;
    let place = open_dir(dev, "shm")?;
    if bytes > 0 {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        return mount_onto("tmpfs", place.as_fd(), flags, &format!("mode=1777,size={bytes}"));
    }
    bind(place.as_fd(), place.as_fd())?;
    let mounted = open_in_root(dev, "shm", OFlags::PATH, Mode::empty())?;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_remount(fd_path(mounted.as_fd()), flags, c"")
}

/// Writes a new file into the new /dev.
pub fn write(dev: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(mode))?;
    crate::sys::fs::write_all(file.as_fd(), bytes)
}
