//! What a container has said: `log` in its folder, and `log.1`, the older half. Together they never
//! take more than `LIMIT` bytes.
//!
//! An entry is the time, a letter, a blank and a line: `1790000000.123456789 o text`. The letter is
//! `o` for standard output and `e` for standard error; in upper case the line is not at its end, and
//! the next entry of the same stream goes on with it.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Container;
use crate::error::{Context, Result};
use crate::sys::fs::{now, write_all};
use crate::sys::signal;

const NAME: &str = "log";
const OLDER: &str = "log.1";
/// Bytes of both halves.
const LIMIT: u64 = 4 << 20;
/// How long `follow` waits before it looks again.
const PAUSE: Duration = Duration::from_millis(100);

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output, or a terminal.
    Out,
    /// Standard error.
    Err,
}

/// Writes a container's log.
pub struct Writer {
    folder: OwnedFd,
    file: OwnedFd,
    length: u64,
}

impl Writer {
    /// Goes on with the log of a container.
    pub fn open(folder: BorrowedFd<'_>) -> Result<Writer> {
        let folder = folder.try_clone_to_owned().context(|| "open the container's log")?;
        let file = open_new(folder.as_fd())?;
        let length = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        Ok(Writer { folder, file, length })
    }

    /// Takes what there is to be read from a stream. False when that has ended.
    pub fn take(&mut self, source: Source, stream: &OwnedFd, buffer: &mut [u8]) -> bool {
        let bytes = match rustix::io::read(stream, &mut *buffer) {
            // A terminal whose program has gone says EIO.
            Ok(0) | Err(Errno::IO) => return false,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => return true,
            Err(_) => return false,
        };
        // A full disk loses lines, and the program does not wait for it.
        if let Err(error) = self.write(source, bytes) {
            log::debug!("a container's log: {error}");
        }
        true
    }

    fn write(&mut self, source: Source, bytes: &[u8]) -> Result<()> {
        let (seconds, nanoseconds) = now();
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match line.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (line, false),
            };
            let letter = match (source, is_whole) {
                (Source::Out, true) => 'o',
                (Source::Out, false) => 'O',
                (Source::Err, true) => 'e',
                (Source::Err, false) => 'E',
            };
            let head = format!("{seconds}.{nanoseconds:09} {letter} ");
            entries.extend_from_slice(head.as_bytes());
            entries.extend_from_slice(text);
            entries.push(b'\n');
        }
        if self.length + entries.len() as u64 > LIMIT / 2 {
            rustix::fs::renameat(&self.folder, NAME, &self.folder, OLDER)
                .context(|| "turn the log over")?;
            self.file = open_new(self.folder.as_fd())?;
            self.length = 0;
        }
        self.length += entries.len() as u64;
        write_all(self.file.as_fd(), &entries).context(|| "write the log")
    }
}

fn open_new(folder: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::openat(folder, NAME, flags, Mode::from_raw_mode(0o600))
        .context(|| "open the container's log")
}

/// Which entries are wanted, and how they are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The last so many lines.
    pub tail: Option<u64>,
    /// Not older, seconds since 1970.
    pub since: Option<i64>,
    /// Not newer.
    pub until: Option<i64>,
    /// Those to come too, until the container ends.
    pub follow: bool,
}

/// An entry.
pub struct Entry<'a> {
    /// Its time.
    pub time: (i64, u32),
    /// Its stream.
    pub source: Source,
    /// The line.
    pub text: &'a [u8],
    /// It is at its end.
    pub is_whole: bool,
}

/// Hands on the entries of a container's log in the order in which they were written; `each` says
/// whether it wants more.
pub fn read(
    container: &Container,
    wanted: &Wanted,
    each: &mut dyn FnMut(&Entry<'_>) -> Result<bool>,
) -> Result<()> {
    let folder = container.folder.dir();
    let is_taken = |entry: &Entry<'_>| {
        wanted.since.is_none_or(|since| entry.time.0 >= since)
            && wanted.until.is_none_or(|until| entry.time.0 <= until)
    };
    let mut skip = 0;
    if let Some(tail) = wanted.tail {
        let mut lines = 0u64;
        for name in [OLDER, NAME] {
            if let Some(mut log) = Reader::open(folder, name)? {
                while log.next(&mut |entry| {
                    lines += u64::from(entry.is_whole && is_taken(entry));
                    Ok(true)
                })? {}
            }
        }
        skip = lines.saturating_sub(tail);
    }
    let wants_more = Cell::new(true);
    let mut show = |entry: &Entry<'_>| -> Result<bool> {
        if !is_taken(entry) {
            return Ok(true);
        }
        if skip > 0 {
            skip -= u64::from(entry.is_whole);
            return Ok(true);
        }
        wants_more.set(each(entry)?);
        Ok(wants_more.get())
    };
    if let Some(mut older) = Reader::open(folder, OLDER)? {
        while older.next(&mut show)? {}
    }
    let mut log = Follower { folder, log: Reader::open(folder, NAME)? };
    loop {
        // Asked before the last look: what comes after that comes from nobody.
        let is_over = !wanted.follow || !container.folder.is_held()?;
        let is_behind = log.take(&mut show)?;
        if is_over || !wants_more.get() {
            return Ok(());
        }
        if is_behind {
            continue;
        }
        signal::check()?;
        std::thread::sleep(PAUSE);
    }
}

/// Reads what is added to a log.
pub(super) struct Follower<'a> {
    folder: BorrowedFd<'a>,
    log: Option<Reader>,
}

impl Follower<'_> {
    /// From now on.
    pub fn from_now(container: &Container) -> Result<Follower<'_>> {
        let folder = container.folder.dir();
        let mut log = Reader::open(folder, NAME)?;
        if let Some(log) = &mut log {
            log.file.seek(SeekFrom::End(0)).context(|| "read the container's log")?;
        }
        Ok(Follower { folder, log })
    }

    /// Hands on what there is, for as long as `each` wants it. Whether there is more already, since the
    /// writer has begun another file.
    pub fn take(&mut self, each: &mut dyn FnMut(&Entry<'_>) -> Result<bool>) -> Result<bool> {
        match &mut self.log {
            Some(log) => while log.next(each)? {},
            None => self.log = Reader::open(self.folder, NAME)?,
        }
        let is_turned = self.log.as_ref().is_some_and(|log| log.was_turned(self.folder));
        if is_turned {
            // Its last entries were read just now, or are read when it is found turned again.
            self.log = Reader::open(self.folder, NAME)?;
        }
        Ok(is_turned)
    }
}

struct Reader {
    file: BufReader<std::fs::File>,
    line: Vec<u8>,
}

/// Longer lines than the writer's buffer are none of its.
const LONGEST: u64 = 64 << 10;

impl Reader {
    fn open(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Reader>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(file) => {
                let file = BufReader::new(std::fs::File::from(file));
                Ok(Some(Reader { file, line: Vec::new() }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(other) => Err(other).context(|| "open the container's log"),
        }
    }

    /// Hands on the next entry. False at the end, or when `each` wants no more.
    fn next(&mut self, each: &mut dyn FnMut(&Entry<'_>) -> Result<bool>) -> Result<bool> {
        let says = || "read the container's log";
        self.line.clear();
        let mut part = self.file.by_ref().take(LONGEST);
        let count = part.read_until(b'\n', &mut self.line).context(says)?;
        let Some(line) = self.line.strip_suffix(b"\n") else {
            // The writer is in the middle of it.
            let back = i64::try_from(count).unwrap_or(0);
            self.file.seek_relative(-back).context(says)?;
            return Ok(false);
        };
        match entry(line) {
            Some(entry) => each(&entry),
            // Torn by a power cut.
            None => Ok(true),
        }
    }

    /// Whether the writer has begun another file.
    fn was_turned(&self, folder: BorrowedFd<'_>) -> bool {
        let own = rustix::fs::fstat(self.file.get_ref());
        let new = rustix::fs::statat(folder, NAME, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        match (own, new) {
            (Ok(own), Ok(new)) => own.st_ino != new.st_ino,
            _ => false,
        }
    }
}

fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (time, letter, text) = (parts.next()?, parts.next()?, parts.next()?);
    let (seconds, nanoseconds) = std::str::from_utf8(time).ok()?.split_once('.')?;
    let time = (seconds.parse().ok()?, nanoseconds.parse().ok()?);
    let (source, is_whole) = match letter {
        b"o" => (Source::Out, true),
        b"O" => (Source::Out, false),
        b"e" => (Source::Err, true),
        b"E" => (Source::Err, false),
        _ => return None,
    };
    Some(Entry { time, source, text, is_whole })
}
