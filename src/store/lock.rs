//! The store's one lock: short, for making names visible and for taking them away.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::Store;
use crate::error::{Context, Result};
use crate::sys::signal;

/// The lock is held until this is dropped, or the process ends.
pub(super) struct Lock(#[expect(dead_code, reason = "closing it is what unlocks")] OwnedFd);

impl Store {
    /// Waits for the lock; an ending signal ends the wait.
    pub(super) fn lock(&self) -> Result<Lock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.fd(), "lock", flags, Mode::from_raw_mode(0o600))
            .context(|| "open the store's lock")?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(rustix::io::Errno::INTR) => signal::check()?,
                Err(other) => return Err(other).context(|| "lock the store"),
            }
        }
    }
}
