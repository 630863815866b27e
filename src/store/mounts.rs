//! Cache mounts: `mounts/<hash of id>/data`, kept from build to build.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;

use super::{DIRECTORY, Store};
use crate::error::{Context, Result};
use crate::sys::fs::{NewDir, make_dir, open_dir};
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

/// An open cache mount; in use until it is dropped.
pub struct CacheMount {
    /// What is in it.
    pub data: OwnedFd,
    /// It is new and empty.
    pub is_new: bool,
    #[expect(dead_code, reason = "closing it is what unlocks")]
    lock: OwnedFd,
}

impl Store {
    /// Opens the cache mount of an id, makes it when it is not there. `None`: it is private and
    /// in use.
    pub fn cache_mount(
        &self,
        id: &str,
        new: NewDir,
        sharing: Sharing,
    ) -> Result<Option<CacheMount>> {
        // By hash: an id is the Dockerfile's text and may be anything (CVE-2024-9675).
        let name = blake3::hash(id.as_bytes()).to_hex();
        let says = || format!("cache mount {id:?}");
        for dir in ["mounts".to_owned(), format!("mounts/{name}")] {
            match rustix::fs::mkdirat(self.fd(), &dir, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(other) => return Err(other).context(says),
            }
        }
        let lock =
            rustix::fs::openat(self.fd(), format!("mounts/{name}"), DIRECTORY, Mode::empty())
                .context(says)?;
        let operation = match sharing {
            Sharing::Shared => FlockOperation::LockShared,
            Sharing::Locked => FlockOperation::LockExclusive,
            Sharing::Private => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&lock, operation) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => signal::check()?,
                Err(other) => return Err(other).context(says),
            }
        }
        let is_new = match make_dir(lock.as_fd(), "data".as_ref(), new) {
            Ok(()) => true,
            Err(_) if open_dir(lock.as_fd(), "data").is_ok() => false,
            Err(error) => return Err(error).context(says),
        };
        let data = open_dir(lock.as_fd(), "data").context(says)?;
        Ok(Some(CacheMount { data, is_new, lock }))
    }
}
