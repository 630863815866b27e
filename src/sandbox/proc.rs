//! /proc and /sys: docker's masked and read-only paths.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::fs::{PROC_SUPER_MAGIC, open_in_root};
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
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// What is put over a masked path.
pub struct Masks<'a> {
    /// For files: an open null device of the new /dev.
    pub null: BorrowedFd<'a>,
    /// For directories: an open directory that is empty and gone, so that nothing can come into it.
    pub nothing: BorrowedFd<'a>,
}

/// Makes this process, and those that it starts, the first that the kernel kills when the machine is
/// short of memory (proc(5), oom_score_adj): half of the machine's memory counts as theirs beside
/// what they use. Where the host has no /proc it is as it is.
pub fn offer_to_oom_killer() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty()) else {
        return;
    };
    if is_of_kind(file.as_fd(), PROC_SUPER_MAGIC, "/proc").is_ok() {
        let _ = rustix::io::write(&file, b"500");
    }
}

/// Sets a parameter, of this process's namespaces where it belongs to them.
fn set(proc: BorrowedFd<'_>, name: &str, value: &str) -> Result<()> {
    let path = format!("sys/{}", name.replace('.', "/"));
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open_in_root(proc, path, flags, Mode::empty())?;
    is_of_kind(file.as_fd(), PROC_SUPER_MAGIC, "/proc/sys")?;
    Ok(crate::sys::fs::write_all(file.as_fd(), value.as_bytes())?)
}

/// Mounts /proc and /sys in the new root. Without `masks` nothing in them is masked or read-only.
pub fn mount(
    root: BorrowedFd<'_>,
    sysctls: &[(String, String)],
    masks: Option<&Masks<'_>>,
) -> Result<()> {
    let place =
        |path: &str, flags: OFlags| open_in_root(root, path, OFlags::PATH | flags, Mode::empty());
    let proc = place("proc", OFlags::DIRECTORY).context(|| "open /proc")?;
    mount_onto("proc", proc.as_fd(), NO_DOORS, "").context(|| "mount /proc")?;
    let proc = place("proc", OFlags::DIRECTORY).context(|| "open /proc")?;
    is_of_kind(proc.as_fd(), PROC_SUPER_MAGIC, "/proc")?;
    for (name, value) in sysctls {
        set(proc.as_fd(), name, value)
            .context(|| format!("set the sysctl {name:?} to {value:?}"))?;
    }
    let sys = place("sys", OFlags::DIRECTORY).context(|| "open /sys")?;
    let readonly = if masks.is_none() { MountFlags::empty() } else { MountFlags::RDONLY };
    mount_onto("sysfs", sys.as_fd(), NO_DOORS | readonly, "").context(|| "mount /sys")?;
    let sys = place("sys", OFlags::DIRECTORY).context(|| "open /sys")?;
    is_of_kind(sys.as_fd(), SYSFS_MAGIC, "/sys")?;
    let Some(masks) = masks else { return Ok(()) };
    // What is bound while /proc is read-only stays so when /proc itself no longer is.
    let remount = |flags: MountFlags| {
        rustix::mount::mount_remount(fd_path(proc.as_fd()), MountFlags::BIND | flags, c"")
            .context(|| "remount /proc")
    };
    remount(NO_DOORS | MountFlags::RDONLY)?;
    for path in READ_ONLY {
        match place(path, OFlags::NOFOLLOW) {
            Ok(spot) => bind(spot.as_fd(), spot.as_fd()).context(|| format!("bind /{path}"))?,
            Err(Errno::NOENT) => {}
            Err(other) => return Err(other).context(|| format!("open /{path}")),
        }
    }
    remount(NO_DOORS)?;
    for path in MASKED {
        let spot = match place(path, OFlags::NOFOLLOW) {
            Ok(spot) => spot,
            Err(Errno::NOENT) => continue,
            Err(other) => return Err(other).context(|| format!("open /{path}")),
        };
        let mode = rustix::fs::fstat(&spot)?.st_mode;
        let mask = match FileType::from_raw_mode(mode) {
            FileType::Directory => masks.nothing,
            _ => masks.null,
        };
        bind(mask, spot.as_fd()).context(|| format!("mask /{path}"))?;
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
