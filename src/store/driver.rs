//! What the store's file system can hold, found out when the store is made, and how snapshots are
//! made on it, found out when the first one is needed.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};

use super::Store;
use crate::error::{Context, Error, Result};
use crate::sys::fs::{open_dir, remove_tree, set_owner};
use crate::sys::mount::{Overlay, overlay};

/// How snapshots are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// By a mount over the layers.
    Overlay,
    /// In a copy of them.
    Copy,
}

impl Driver {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Overlay => "overlay",
            Driver::Copy => "copy",
        }
    }
}

/// A driver, and why it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The driver.
    pub driver: Driver,
    /// The reason.
    pub why: &'static str,
}

/// The store's root is marked with this once overlayfs was seen to work on it: a trial costs as
/// much as a small container.
const SEEN: &str = "trusted.lath.overlay";
const OVERLAY: Choice = Choice { driver: Driver::Overlay, why: "overlayfs works on the store" };

impl Store {
    /// Asks for a driver. Layers that overlayfs cannot read are an error.
    pub fn wish(&mut self, driver: Driver) -> Result<()> {
        if driver == Driver::Overlay && self.marks_by_name {
            return Err(Error::unsupported("overlayfs cannot use the layers of this store").hint(
                "use --driver copy, or another store with --root, on a file system such as ext4",
            ));
        }
        self.choice = Choice { driver, why: "it was asked for" }.into();
        Ok(())
    }

    /// Whether layers say by name what is gone, since the file system cannot hold overlayfs's marks.
    pub fn marks_by_name(&self) -> bool {
        self.marks_by_name
    }

    /// How snapshots are made here: the one asked for; else by overlay, where that works.
    pub fn driver(&self) -> Choice {
        *self.choice.get_or_init(|| {
            let copy = |why| Choice { driver: Driver::Copy, why };
            if self.marks_by_name {
                return copy("the store's file system cannot hold the marks of overlayfs");
            }
            let seen = self.seen();
            let known = seen.as_deref().is_some_and(|seen| self.has_seen(seen));
            match if known { Ok(()) } else { self.try_overlay() } {
                Ok(()) => {
                    if let Some(seen) = seen.filter(|_| !known) {
                        // What cannot be noted is tried again the next time.
                        let _ = rustix::fs::fsetxattr(self.fd(), SEEN, &seen, XattrFlags::empty());
                    }
                    OVERLAY
                }
                Err(error) => {
                    log::debug!("no overlay: {error}");
                    copy("overlayfs is not there, or cannot write to the store's file system")
                }
            }
        })
    }

    /// What is noted when overlayfs was seen to work: since when this kernel runs, and that this is
    /// the very folder, and no copy of it on another file system.
    fn seen(&self) -> Option<Vec<u8>> {
        let mut seen = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let stat = rustix::fs::fstat(self.fd()).ok()?;
        seen.extend_from_slice(format!("{} {}", stat.st_dev, stat.st_ino).as_bytes());
        Some(seen)
    }

    fn has_seen(&self, seen: &[u8]) -> bool {
        let mut noted = [0u8; 128];
        let length = rustix::fs::fgetxattr(self.fd(), SEEN, &mut noted).unwrap_or(0);
        noted.get(..length) == Some(seen)
    }

    fn try_overlay(&self) -> Result<()> {
        let scratch = self.scratch()?;
        let place = scratch.workspace()?;
        let make = |name| place.make_dir(name, 0o700);
        let (lower, upper, work) = (make("lower")?, make("upper")?, make("work")?);
        let writable = Some((upper.as_fd(), work.as_fd()));
        let mounted = overlay(&Overlay { lowers: &[lower.as_fd()], writable, is_volatile: true })?;
        Ok(rustix::fs::mkdirat(&mounted, "new", Mode::RWXU)?)
    }
}

/// Whether the marks of overlayfs cannot be held in a new store; what lath cannot work without is
/// an error.
pub fn probe(root: BorrowedFd<'_>) -> Result<bool> {
    let name = format!(".probe-{}", std::process::id());
    rustix::fs::mkdirat(root, &name, Mode::RWXU).context(|| "mkdir in the store")?;
    let found = open_dir(root, &name).map_err(Error::from).and_then(|dir| look(dir.as_fd()));
    remove_tree(root, &name)?;
    found
}

fn look(dir: BorrowedFd<'_>) -> Result<bool> {
    let lacks = |what: &str| {
        Error::unsupported(format!("the file system of the store cannot hold {what}"))
            .hint("choose another place with --root: on ext4, f2fs, btrfs, xfs or a tmpfs")
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, "file", flags, Mode::RWXU).context(|| "create a file")?;
    let linked = rustix::fs::symlinkat("file", dir, "soft");
    linked.map_err(|_| lacks("symbolic links"))?;
    let linked = rustix::fs::linkat(dir, "file", dir, "hard", AtFlags::empty());
    linked.map_err(|_| lacks("hard links"))?;
    // What is refused and what is quietly forgotten is the same here.
    if rustix::process::geteuid().is_root() {
        let _ = set_owner(file.as_fd(), 1, 2);
        let stat = rustix::fs::fstat(&file)?;
        if (stat.st_uid, stat.st_gid) != (1, 2) {
            return Err(lacks("owners of files"));
        }
    }
    let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(0o4751));
    if rustix::fs::fstat(&file)?.st_mode & 0o7777 != 0o4751 {
        return Err(lacks("modes of files"));
    }
    let mark = rustix::fs::mknodat(dir, "mark", FileType::CharacterDevice, Mode::empty(), 0);
    let opaque = rustix::fs::fsetxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty());
    Ok(mark.is_err() || opaque.is_err())
}
