//! When something was last used: the time of its file, put forward once a day at most, since each
//! write wears flash out.

use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT};

use super::{CacheKey, Store};
use crate::sys::fs::now;

const DAY: i64 = 86_400;

impl Store {
    /// A record has led to its layer.
    pub fn use_record(&self, key: &CacheKey) {
        let (dir, name) = key.path();
        self.touch(&format!("{dir}/{name}"));
    }

    /// Notes that a file or a directory is used. A clock that was put back changes nothing, so that
    /// the next one that is right still finds the order.
    pub(super) fn touch(&self, path: &str) {
        let (now, _) = now();
        if self.last_used(path).is_none_or(|(then, _)| now.saturating_sub(then) < DAY) {
            return;
        }
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times =
            Timestamps { last_access: time(0, UTIME_OMIT), last_modification: time(now, 0) };
        // A store that cannot be written has no order, and works all the same.
        let _ = rustix::fs::utimensat(self.fd(), path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// When it was last used, to the day: seconds since 1970 and nanoseconds. Nothing for what is
    /// not there.
    pub(super) fn last_used(&self, path: &str) -> Option<(i64, i64)> {
        let stat = rustix::fs::statat(self.fd(), path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)))
    }
}
