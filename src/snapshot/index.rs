//! What stat says of all that is in a tree, in the order of a walk, in a file beside it: a later walk
//! sees by it what has changed.
//!
//! A record is a name, framed by its length, and a stamp; behind what is in a directory stands a
//! record without a name.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Stat, StatxFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};
use crate::layer::walk::{Found, Visit, Walk};
use crate::sys::signal;

const BUFFER: usize = 64 << 10;
/// Numbers of a stamp.
const FIELDS: usize = 9;

/// What changes when an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp([i64; FIELDS]);

impl Stamp {
    /// Of something on a walk.
    pub fn of(found: &Found<'_>) -> Stamp {
        Stamp::new(&found.stat, found.directory)
    }

    /// Of what stat says; a directory is open.
    pub fn new(stat: &Stat, directory: Option<BorrowedFd<'_>>) -> Stamp {
        // Whoever makes a directory anew may be given the inode of the one just removed.
        let birth = directory.map_or(0, birth);
        let is_special = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::CharacterDevice | FileType::BlockDevice
        );
        let size = if is_special { stat.st_rdev as i64 } else { stat.st_size };
        // The size of a directory is the file system's affair.
        let size = if directory.is_some() { 0 } else { size };
        let owner = i64::from(stat.st_uid) << 32 | i64::from(stat.st_gid);
        let changed = nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64);
        Stamp([
            stat.st_mode.into(),
            owner,
            size,
            stat.st_mtime,
            stat.st_mtime_nsec as i64,
            changed,
            stat.st_ino as i64,
            birth,
            stat.st_nlink as i64,
        ])
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.0[0] as u32) == FileType::Directory
    }

    /// Whether it is the same directory, however it was changed.
    pub fn is_same_directory(&self, other: &Stamp) -> bool {
        (self.0[6], self.0[7]) == (other.0[6], other.0[7])
    }

    /// Whether a tar would show the same, as far as stat knows. `newest`: the newest time there.
    pub fn shows_same(&self, other: &Stamp, newest: Option<i64>) -> bool {
        let time = |stamp: &Stamp| stamp.0[3].min(newest.unwrap_or(i64::MAX));
        self.0.first_chunk::<3>() == other.0.first_chunk::<3>() && time(self) == time(other)
    }

    /// Whether a change since that time would show: it comes later than the last one by more than
    /// the steps of the clock, or by more than a second, where whole ones are kept.
    pub fn would_show(&self, since: i64) -> bool {
        let changed = self.0[5];
        let margin = if changed % SECOND == 0 { 2 * SECOND } else { MARGIN };
        changed < since.saturating_sub(margin)
    }
}

const SECOND: i64 = 1_000_000_000;
/// A step of the slowest kernel clock (100 a second): what is older by more is older by two.
pub const MARGIN: i64 = 10_000_000;

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.wrapping_mul(SECOND).wrapping_add(nanoseconds)
}

/// The clock that the kernel takes the times of files from (current_time in fs/inode.c).
pub fn now() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    nanoseconds(now.tv_sec, now.tv_nsec)
}

/// When a directory was made (statx(2), kernel 4.11), where the file system knows.
fn birth(directory: BorrowedFd<'_>) -> i64 {
    let flags = AtFlags::EMPTY_PATH;
    let found = rustix::fs::statx(directory, "", flags, StatxFlags::BTIME);
    found.map_or(0, |stat| nanoseconds(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec.into()))
}

/// An index of a tree.
pub struct Index {
    file: File,
    /// The time of the last change in it.
    pub last: i64,
}

impl Index {
    /// Of a tree as it is, into an empty file.
    pub fn of(tree: BorrowedFd<'_>, file: File) -> Result<Index> {
        let mut writer = Writer::new(file);
        let mut walk = Walk::new(tree, None)?;
        while let Some(visit) = walk.next_visit()? {
            signal::check()?;
            match visit {
                Visit::Enter(found) => writer.enter(found.name, &Stamp::of(&found))?,
                Visit::Leave { .. } => writer.leave()?,
            }
        }
        writer.finish()
    }

    /// Reads it from its begin.
    pub fn reader(self) -> Result<Reader> {
        let mut file = self.file;
        file.rewind()?;
        let from = BufReader::with_capacity(BUFFER, file);
        Ok(Reader { from, name: Vec::new(), is_there: false })
    }
}

/// An index under way.
pub struct Writer {
    out: BufWriter<File>,
    last: i64,
}

impl Writer {
    /// Nothing yet.
    pub fn new(file: File) -> Writer {
        Writer { out: BufWriter::with_capacity(BUFFER, file), last: 0 }
    }

    /// An entry; what is in a directory comes next, and then `leave`.
    pub fn enter(&mut self, name: &[u8], stamp: &Stamp) -> Result<()> {
        self.last = self.last.max(stamp.0[5]);
        self.out.write_all(&(name.len() as u16).to_le_bytes())?;
        self.out.write_all(name)?;
        Ok(self.out.write_all(stamp.0.map(i64::to_le_bytes).as_flattened())?)
    }

    /// The end of a directory.
    pub fn leave(&mut self) -> Result<()> {
        Ok(self.out.write_all(&[0, 0])?)
    }

    /// The end of the tree.
    pub fn finish(self) -> Result<Index> {
        let file = self.out.into_inner().map_err(|error| Error::from(error.into_error()))?;
        Ok(Index { file, last: self.last })
    }
}

/// An index that is read beside a walk.
pub struct Reader {
    from: BufReader<File>,
    /// The name of the next record; empty at the end of a directory.
    name: Vec<u8>,
    is_there: bool,
}

impl Reader {
    /// The name of the next entry in the directory at hand; nothing at its end.
    pub fn peek(&mut self) -> Result<Option<&[u8]>> {
        if !self.is_there {
            self.name.clear();
            let mut length = [0; 2];
            // The tree ends like a directory.
            let read = self.from.by_ref().take(2).read(&mut length)?;
            if read == 1 {
                self.from.read_exact(length.get_mut(1..).unwrap_or_default())?;
            }
            self.name.resize(usize::from(u16::from_le_bytes(length)), 0);
            self.from.read_exact(&mut self.name)?;
            self.is_there = true;
        }
        Ok(Some(self.name.as_slice()).filter(|name| !name.is_empty()))
    }

    /// Takes the entry that was looked at. Of a directory, what is in it comes next.
    pub fn take(&mut self) -> Result<Stamp> {
        let mut bytes = [0; FIELDS * 8];
        self.from.read_exact(&mut bytes)?;
        self.is_there = false;
        let mut stamp = Stamp([0; FIELDS]);
        for (field, bytes) in stamp.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
        }
        Ok(stamp)
    }

    /// Passes over the rest of the directory at hand.
    pub fn leave(&mut self) -> Result<()> {
        let mut depth = 0_usize;
        loop {
            if self.peek()?.is_some() {
                depth += usize::from(self.take()?.is_directory());
                continue;
            }
            self.is_there = false;
            match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Ok(()),
            }
        }
    }
}
