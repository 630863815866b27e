//! The limit of the store: a ceiling for all that lies under its root, whoever puts it there.
//!
//! All is measured once; after that growth is what the file system has less free, whoever has
//! written, or what was announced here, whichever is more. That is one cheap call for a look. When
//! it seems to be too much all is measured again, and cache goes, the least recently used first.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Store, Wanted};
use crate::error::{Error, Kind, Result};
use crate::sys::flow::Inflow;
use crate::sys::usage::usage;

/// For what small things become beside the bytes that are announced: inodes, directories.
const SLACK: u64 = 256 << 10;
/// What is read at once where it is announced.
pub const PIECE: usize = 32 << 10;

/// What is known of the store's size.
#[derive(Default)]
pub(super) struct Gauge {
    /// Nothing: there is no limit.
    limit: Option<u64>,
    known: Mutex<Option<Known>>,
}

struct Known {
    /// When it was measured,
    at: Instant,
    /// how long that took,
    took: Duration,
    /// how much there was,
    base: u64,
    /// and how much was free on the file system.
    free: u64,
    /// What was announced since.
    announced: u64,
    /// Unfinished work and cache mounts, where steps write: how much that was,
    active: u64,
    /// and when that was measured again, how long it took, and how much more it was.
    again: (Instant, Duration, u64),
}

impl Store {
    /// Sets the limit, in bytes.
    pub fn set_limit(&mut self, bytes: Option<u64>) {
        self.gauge.limit = bytes;
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> Option<u64> {
        self.gauge.limit
    }

    /// Announces that so many bytes will be written. Makes room for them where it must, by taking
    /// cache away; an error when there is not enough of that. Nobody may look (`look`) in this
    /// thread.
    pub fn room(&self, bytes: u64) -> Result<()> {
        let Some(limit) = self.gauge.limit else { return Ok(()) };
        if self.announce(bytes, limit)? {
            return Ok(());
        }
        // A bit more than is asked for, so that the next one need not begin anew.
        self.make_room(bytes + SLACK + limit / 16)?;
        if self.announce(bytes, limit)? {
            return Ok(());
        }
        let used = self.used_now(limit)?;
        let text = format!(
            "the store has {} kB of the {} kB that it may have, and {} kB more do not fit",
            used / 1000,
            limit / 1000,
            bytes.div_ceil(1000)
        );
        Err(full(text))
    }

    /// Makes room for a step whose writing nobody sees: a quarter of the limit, as far as there is
    /// cache to take away.
    pub fn room_for_step(&self) -> Result<()> {
        let Some(limit) = self.gauge.limit else { return Ok(()) };
        self.room(0)?;
        if self.used_now(limit)? + limit / 4 > limit {
            self.make_room(limit / 4)?;
        }
        Ok(())
    }

    /// How much may be written before a step must be stopped; nothing without a limit. What it
    /// writes until then is not seen, so that a sixteenth of the limit, at most 8 MB, is kept for
    /// that.
    pub fn left_for_step(&self) -> Result<Option<u64>> {
        let Some(limit) = self.gauge.limit else { return Ok(None) };
        let margin = (limit / 16).clamp(SLACK, 8 << 20);
        let mut used = self.used_now(limit)?;
        // Others may free what the step takes. What it writes is few files or many; for a fifth of
        // the time they are looked at themselves.
        if let Some(known) = &mut *self.known() {
            let (last, took, _) = known.again;
            if last.elapsed() >= took * 4 {
                let begin = Instant::now();
                let more = self.active()?.saturating_sub(known.active);
                known.again = (Instant::now(), begin.elapsed(), more);
            }
            used = used.max(known.base + known.again.2);
        }
        Ok(Some(limit.saturating_sub(used).saturating_sub(margin)))
    }

    fn active(&self) -> Result<u64> {
        Ok(usage(self.fd(), "tmp")? + usage(self.fd(), "mounts")?)
    }

    /// That a step was stopped because of the limit.
    pub fn step_too_large(&self) -> Error {
        let limit = self.gauge.limit.unwrap_or_default() / 1000;
        full(format!("the step was stopped before the store had more than its {limit} kB"))
    }

    /// Takes away what `make_room` would: down to the limit, or without one the cache that led to
    /// no image. Gives what that took on the disk.
    pub fn gc(&self) -> Result<u64> {
        match self.gauge.limit {
            Some(_) => self.make_room(SLACK),
            None => Ok(self.prune(&Wanted { is_vain: true, ..Wanted::default() })?.bytes),
        }
    }

    fn make_room(&self, bytes: u64) -> Result<u64> {
        let limit = self.gauge.limit.unwrap_or(u64::MAX);
        let sizes = self.sizes()?;
        let freed = match sizes.total().saturating_add(bytes) > limit {
            true => {
                let others = sizes.total().saturating_sub(sizes.cache);
                let keep = limit.saturating_sub(bytes).saturating_sub(others);
                let wanted = Wanted { keep, nameless: true, ..Wanted::default() };
                self.prune(&wanted)?.bytes
            }
            false => 0,
        };
        self.measure()?;
        Ok(freed)
    }

    /// Whether so many bytes more fit; then they count from now on.
    fn announce(&self, bytes: u64, limit: u64) -> Result<bool> {
        let fits = self.used_now(limit)?.saturating_add(bytes + SLACK) <= limit;
        if fits && let Some(known) = &mut *self.known() {
            known.announced += bytes;
        }
        Ok(fits)
    }

    /// What the store has now, or a little more.
    fn used_now(&self, limit: u64) -> Result<u64> {
        let free = self.free()?;
        if let Some(known) = &*self.known() {
            let used = known.base + known.free.saturating_sub(free).max(known.announced);
            // Others on this file system may have taken more away than was written here, so it is
            // measured again now and then, for a fiftieth of the time; not when a fast writer
            // would be at the limit meanwhile.
            let is_old = known.at.elapsed() > known.took * 50 + Duration::from_secs(1);
            let is_near = limit.saturating_sub(used) >> 22 < known.took.as_millis() as u64;
            if !is_old || is_near {
                return Ok(used);
            }
        }
        self.measure()
    }

    fn measure(&self) -> Result<u64> {
        let (at, free) = (Instant::now(), self.free()?);
        let (active, base) = (self.active()?, usage(self.fd(), ".")?);
        let (took, again) = (at.elapsed(), (at, Duration::ZERO, 0));
        *self.known() = Some(Known { at, took, base, free, announced: 0, active, again });
        Ok(base)
    }

    fn free(&self) -> Result<u64> {
        let stat = rustix::fs::fstatvfs(self.fd())?;
        Ok(stat.f_bfree * stat.f_frsize)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.gauge.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(text: String) -> Error {
    Error::new(Kind::NoSpace, text).hint(
        "LATH_STORE_LIMIT sets the limit; lath df shows what is there, lath rmi removes images",
    )
}

/// Reads what is written to the store next, a piece at a time, each announced before.
pub struct Announced<'a> {
    /// The store.
    pub store: &'a Store,
    /// What is read.
    pub from: &'a mut dyn Inflow,
}

impl Read for Announced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(if self.store.limit().is_some() { PIECE } else { usize::MAX });
        let count = self.from.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.store.room(count as u64)?;
        Ok(count)
    }
}
