//! Cache mounts: `mounts/<hash of id>/data`, kept from build to build; and `mountpoints/`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode};
use rustix::io::Errno;

use super::{DIRECTORY, Store};
use crate::error::{Context, Result};
use crate::sys::fs::{NewDir, make_dir, make_dirs_in_root, open_dir, write_new};
use crate::sys::signal;

/// How several steps share a cache mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// One after the other.
    Locked,
    /// Nobody else at the same time: who comes second gets another, empty one.
    Private,
}

/// Between two looks at a lock that somebody else holds.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// An open cache mount; in use until it is dropped.
pub struct CacheMount {
    /// What is in it.
    pub data: OwnedFd,
    /// It is new and empty.
    pub is_new: bool,
    #[expect(dead_code, reason = "closing it is what unlocks")]
    lock: OwnedFd,
}

fn make_dir_all(at: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let plain = NewDir { mode: 0o755, owner: (0, 0) };
    make_dirs_in_root(at, path, plain).map(|_| ())
}

impl Store {
    /// Opens the folder that has nothing but the places where a sandbox mounts something; made
    /// once. Put under a view, it spares making them in each new layer and removing them again.
    pub fn mountpoints(&self, dirs: &[&str], files: &[&str]) -> Result<OwnedFd> {
        const NAME: &str = "mountpoints";
        let says = || "make the store's mountpoints";
        if let Ok(found) = open_dir(self.fd(), NAME) {
            return Ok(found);
        }
        let scratch = self.scratch()?;
        let made = scratch.workspace()?;
        for dir in dirs {
            make_dir_all(made.dir.as_fd(), Path::new(dir)).context(says)?;
        }
        for file in files {
            if let Some(parent) = Path::new(file).parent() {
                make_dir_all(made.dir.as_fd(), parent).context(says)?;
            }
            write_new(made.dir.as_fd(), file, b"").context(says)?;
        }
        rustix::fs::fchmod(&made.dir, Mode::from_raw_mode(0o755)).context(says)?;
        match rustix::fs::renameat(scratch.dir(), &made.name, self.fd(), NAME) {
            // Another process was first.
            Ok(()) | Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(other) => return Err(other).context(says),
        }
        open_dir(self.fd(), NAME).context(says)
    }

    /// Opens the cache mount of an id, makes it when it is not there. `None`: it is private and
    /// in use.
    pub fn cache_mount(
        &self,
        id: &str,
        new: NewDir,
        sharing: Sharing,
        is_wanted: &dyn Fn() -> Result<()>,
    ) -> Result<Option<CacheMount>> {
        // By hash: an id is the Dockerfile's text and may be anything (CVE-2024-9675).
        let name = blake3::hash(id.as_bytes()).to_hex();
        let says = || format!("cache mount {id:?}");
        let path = format!("mounts/{name}");
        let operation = match sharing {
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
            Sharing::Locked | Sharing::Private => FlockOperation::NonBlockingLockExclusive,
        };
        let lock = loop {
            for dir in ["mounts", &path] {
                self.make_dir(dir).context(says)?;
            }
            let lock = match rustix::fs::openat(self.fd(), &path, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                other => other.context(says)?,
            };
            match rustix::fs::flock(&lock, operation) {
                // Unless it was pruned before it was locked.
                Ok(()) if self.is_at(&path, &lock) => break lock,
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) if sharing == Sharing::Private => return Ok(None),
                // Asked for again and again: a signal comes to one thread only, and not to this
                // one perhaps.
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    signal::check()?;
                    is_wanted()?;
                    std::thread::sleep(PAUSE);
                }
                Err(other) => return Err(other).context(says),
            }
        };
        self.touch(&path);
        let is_new = match make_dir(lock.as_fd(), "data".as_ref(), new) {
            Ok(()) => true,
            Err(_) if open_dir(lock.as_fd(), "data").is_ok() => false,
            Err(error) => return Err(error).context(says),
        };
        let data = open_dir(lock.as_fd(), "data").context(says)?;
        Ok(Some(CacheMount { data, is_new, lock }))
    }

    /// Whether an open directory still lies where it was opened.
    fn is_at(&self, path: &str, dir: &OwnedFd) -> bool {
        let stat = rustix::fs::statat(self.fd(), path, AtFlags::SYMLINK_NOFOLLOW);
        let own = rustix::fs::fstat(dir);
        matches!((stat, own), (Ok(one), Ok(other)) if one.st_ino == other.st_ino)
    }
}
