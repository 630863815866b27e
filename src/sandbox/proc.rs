//! /proc and /sys: docker's masked and read-only paths.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::fs::open_in_root;
use crate::sys::mount::{bind, fd_path, mount_onto};

/// What moby's `oci/defaults.go` masks.
const MASKED: [&str; 12] = [
    "proc/asound",
    "proc/acpi",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "proc/scsi",
    "sys/firmware",
    "sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

const NO_DOORS: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

/// The magic numbers of procfs and sysfs (man 2 statfs).
const PROC_SUPER_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// Mounts /proc and /sys in the new root; `null` is an open null device of the new /dev. With
/// `open` nothing in them is masked or read-only.
pub fn mount(root: BorrowedFd<'_>, null: BorrowedFd<'_>, open: bool) -> Result<()> {
    let place =
        |path: &str, flags: OFlags| open_in_root(root, path, OFlags::PATH | flags, Mode::empty());
    let proc = place("proc", OFlags::DIRECTORY).context(|| "open /proc")?;
    mount_onto("proc", proc.as_fd(), NO_DOORS, "").context(|| "mount /proc")?;
    let proc = place("proc", OFlags::DIRECTORY).context(|| "open /proc")?;
    is_of_kind(proc.as_fd(), PROC_SUPER_MAGIC, "/proc")?;
    let sys = place("sys", OFlags::DIRECTORY).context(|| "open /sys")?;
    let readonly = if open { MountFlags::empty() } else { MountFlags::RDONLY };
    mount_onto("sysfs", sys.as_fd(), NO_DOORS | readonly, "").context(|| "mount /sys")?;
    let sys = place("sys", OFlags::DIRECTORY).context(|| "open /sys")?;
    is_of_kind(sys.as_fd(), SYSFS_MAGIC, "/sys")?;
    if open {
        return Ok(());
    }
    for path in READ_ONLY {
        let spot = match place(path, OFlags::NOFOLLOW) {
            Ok(spot) => spot,
            Err(Errno::NOENT) => continue,
            Err(other) => return Err(other).context(|| format!("open /{path}")),
        };
        bind(spot.as_fd(), spot.as_fd()).context(|| format!("bind /{path}"))?;
        let spot = place(path, OFlags::NOFOLLOW).context(|| format!("open /{path}"))?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | NO_DOORS;
        rustix::mount::mount_remount(fd_path(spot.as_fd()), flags, c"")
            .context(|| format!("make /{path} read-only"))?;
    }
    for path in MASKED {
        let spot = match place(path, OFlags::NOFOLLOW) {
            Ok(spot) => spot,
            Err(Errno::NOENT) => continue,
            Err(other) => return Err(other).context(|| format!("open /{path}")),
        };
        let mode = rustix::fs::fstat(&spot)?.st_mode;
        let masked = if FileType::from_raw_mode(mode) == FileType::Directory {
            mount_onto("tmpfs", spot.as_fd(), MountFlags::RDONLY | NO_DOORS, "size=0k")
        } else {
            bind(null, spot.as_fd())
        };
        masked.context(|| format!("mask /{path}"))?;
    }
    Ok(())
}

/// What is there now must be what was just mounted, and nothing that the image has put in its
/// way: a link to the root, say, whose mount is not the one that a path from there finds.
pub fn is_of_kind(dir: BorrowedFd<'_>, magic: u64, path: &str) -> Result<()> {
    let kind = rustix::fs::fstatfs(dir).context(|| format!("statfs {path}"))?.f_type;
    if u64::try_from(kind).unwrap_or(0) == magic {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, format!("{path} of the image is not where it should be"))
        .hint("the image has a link there; it must be a directory"))
}
