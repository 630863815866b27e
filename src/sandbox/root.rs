//! The way into the new root, and none back.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Result};

/// From now on nothing that is mounted is seen outside of this process's own namespace, and the
/// other way round.
///
/// The root of a chroot is no mount, and what is mounted around it would be in the way: so whoever
/// called lath in there, this process is at the root of its namespace afterwards (setns(2)).
pub fn make_private() -> Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let make = || rustix::mount::mount_change("/", private);
    let made = match make() {
        Err(Errno::INVAL) => {
            let own = rustix::fs::open("/proc/self/ns/mnt", OFlags::CLOEXEC, Mode::empty())
                .context(|| "leave the chroot that lath is in: open /proc/self/ns/mnt")?;
            move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))
                .context(|| "leave the chroot that lath is in")?;
            make()
        }
        other => other,
    };
    made.context(|| "make mounts private")
}

/// Makes a mount of this process's own namespace its root, and leaves all others behind: by
/// pivot_root(2), which needs another mount below the old root. The initramfs has none; the new root
/// is moved over it.
pub fn change(tree: BorrowedFd<'_>) -> Result<()> {
    match pivot(tree) {
        Err(Errno::INVAL) => cover(tree).context(|| "move the root over the initramfs"),
        other => other.context(|| "pivot_root"),
    }
}

fn pivot(tree: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::process::fchdir(tree)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Whoever gets out of the chroot that this ends with is at the root of the namespace, and that is
/// the tree: nothing lies above the initramfs, and the tree lies over it. What is mounted below stays,
/// out of reach; those two are let go all the same, since a new /proc may not show more than an old
/// one does (kernel: mount_too_revealing).
fn cover(tree: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::process::fchdir(tree)?;
    for old in ["/proc", "/sys"] {
        match rustix::mount::unmount(old, UnmountFlags::DETACH) {
            Err(Errno::INVAL | Errno::NOENT) | Ok(()) => {}
            Err(other) => return Err(other),
        }
    }
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}
