//! The store's one lock: short, for making names visible and for taking them away. And who looks
//! for what it will use, against who removes: neither writes anything for that.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::Store;
use crate::error::{Context, Result};
use crate::sys::signal;

/// The lock is held until this is dropped, or the process ends.
pub(super) struct Lock(#[expect(dead_code, reason = "closing it is what unlocks")] OwnedFd);

/// While this is there nobody removes anything.
pub struct Look(#[expect(dead_code, reason = "closing it is what unlocks")] OwnedFd);

/// Between two looks at a lock that somebody else holds.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

impl Store {
    /// Keeps everybody from removing things for as long as it takes to find what will be used, and
    /// to say so (`Scratch::uses`). Whoever holds it removes nothing themselves.
    pub fn look(&self) -> Result<Look> {
        self.lock_steps(FlockOperation::NonBlockingLockShared)
    }

    /// Waits until nobody looks: from then on leases say all that is in use.
    pub(super) fn removing(&self) -> Result<Look> {
        self.lock_steps(FlockOperation::NonBlockingLockExclusive)
    }

    /// The same, or nothing when somebody looks.
    pub(super) fn try_removing(&self) -> Result<Option<Look>> {
        let dir = self.dir("steps")?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Look(dir))),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
            Err(other) => Err(other).context(|| "lock the store's steps"),
        }
    }

    fn lock_steps(&self, operation: FlockOperation) -> Result<Look> {
        let dir = self.dir("steps")?;
        loop {
            match rustix::fs::flock(&dir, operation) {
                Ok(()) => return Ok(Look(dir)),
                // Asked for again and again: a signal comes to one thread only.
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    signal::check()?;
                    std::thread::sleep(PAUSE);
                }
                Err(other) => return Err(other).context(|| "lock the store's steps"),
            }
        }
    }

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
