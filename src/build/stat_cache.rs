//! What the files of a build context contain, by what `stat` says of them: an unchanged file is
//! not read again.
//!
//! The file has blocks of a fixed size, each with a checksum and with whole records sorted by
//! path in the order of a walk. A walk reads it once from begin to end beside the tree, and a
//! single file is found by bisection, so nothing is held in memory but a block. What a walk finds
//! out is written to a second file in the same order, and in the end both are merged.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, Stat};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};
use crate::store::context::{BLOCK, BLOCK_HEAD, HEAD, MAGIC, read_block};
use crate::store::{Scratch, Store, checksum};
use crate::sys::flow::Outflow;
use changes::Changes;

mod changes;

/// Path length, stamp, digest.
const RECORD_HEAD: usize = 2 + STAMP + 32;
const STAMP: usize = 6 * 8;
/// Where a stamp has the mode.
const MODE: usize = STAMP - 8;
/// A longer path is not kept: its file is read each time.
const MAX_PATH: usize = BLOCK - BLOCK_HEAD - RECORD_HEAD;

/// The cache of one context.
pub struct StatCache {
    store: Arc<Store>,
    key: String,
    /// Held while a new file is made of the one that is there and what a walk has found out.
    merging: Mutex<()>,
    /// The cache as it was when this build first looked at it.
    first: OnceLock<Option<File>>,
}

impl StatCache {
    /// For the context at an absolute path. `None` where the times of files do not tell every
    /// change: they must come from this kernel's clock, in fractions of a second.
    pub fn of(store: &Arc<Store>, root: BorrowedFd<'_>, path: &[u8]) -> Option<StatCache> {
        const KNOWN: [u64; 8] = [
            0xef53,      // ext4
            0x5846_5342, // xfs
            0x9123_683e, // btrfs
            0xf2f5_2010, // f2fs
            0x0102_1994, // tmpfs
            0x794c_7630, // overlayfs
            0x7371_7368, // squashfs
            0xe0f5_e1e2, // erofs
        ];
        let kind = rustix::fs::fstatfs(root).ok()?.f_type as u64 & 0xffff_ffff;
        let key = blake3::hash(path).to_hex().as_str().get(..32)?.to_owned();
        let is_known = KNOWN.contains(&kind);
        let (store, merging, first) = (store.clone(), Mutex::new(()), OnceLock::new());
        is_known.then_some(StatCache { store, key, merging, first })
    }

    fn open(&self) -> Result<Option<Kept>> {
        Ok(self.store.context(&self.key)?.and_then(Kept::read))
    }

    /// Looks at the cache beside a walk.
    pub fn reader(&self) -> Reader<'_> {
        let file = self.store.context(&self.key).ok().flatten();
        self.first.get_or_init(|| file.as_ref().and_then(|file| file.try_clone().ok()));
        self.reader_of(file)
    }

    /// The same, and looks at what has changed since before this build.
    pub fn comparing(&self) -> Reader<'_> {
        let mut reader = self.reader();
        reader.changes = Changes::new(self).map(Box::new);
        reader
    }

    fn reader_of(&self, file: Option<File>) -> Reader<'_> {
        let found = file.and_then(Kept::read);
        let blocks = found.as_ref().map_or(0, |kept| kept.blocks);
        let file = found.map(|kept| kept.file);
        let (block, news, changes) = (Vec::new(), None, None);
        Reader { cache: self, file, blocks, at: u64::MAX, block, next: 0, news, changes }
    }
}

/// What is kept of a context.
struct Kept {
    file: File,
    blocks: u64,
    /// How many blocks there were when it was last looked whether their files are there.
    looked_at: u64,
}

impl Kept {
    /// `None` for a file that does not begin as it should.
    fn read(file: File) -> Option<Kept> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let looked_at = u64::from_le_bytes(*head.strip_prefix(MAGIC)?.first_chunk()?);
        let blocks = file.metadata().ok()?.len().saturating_sub(HEAD as u64) / BLOCK as u64;
        Some(Kept { file, blocks, looked_at })
    }
}

/// The cache, read from begin to end.
pub struct Reader<'a> {
    cache: &'a StatCache,
    file: Option<File>,
    blocks: u64,
    /// The block at hand, its records, and the next of them.
    at: u64,
    block: Vec<u8>,
    next: usize,
    news: Option<News>,
    changes: Option<Box<Changes<'a>>>,
}

/// What a walk has found out, in its order.
struct News {
    scratch: Scratch,
    records: BufWriter<File>,
}

/// One file, as it is kept.
#[derive(Clone, Copy)]
struct Record<'a> {
    path: &'a [u8],
    stamp: &'a [u8],
    digest: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of some bytes, and how long it is.
    fn first(bytes: &'a [u8]) -> Option<(Record<'a>, usize)> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (path, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (stamp, rest) = rest.split_at_checked(STAMP)?;
        let digest = rest.get(..32)?;
        Some((Record { path, stamp, digest }, RECORD_HEAD + path.len()))
    }

    /// Whether it has this digest, and the mode of this stamp.
    fn is_of(&self, stamp: &[u8; STAMP], digest: &[u8; 32]) -> bool {
        self.digest == digest && self.stamp.get(MODE..) == stamp.get(MODE..)
    }

    fn write(&self, into: &mut dyn Outflow) -> std::io::Result<()> {
        into.write_all(&(self.path.len() as u16).to_le_bytes())?;
        into.write_all(self.path)?;
        into.write_all(self.stamp)?;
        into.write_all(self.digest)
    }
}

/// The order of a walk: a directory before what is in it, and that before its next sibling.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let order = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(order).cmp(other.iter().map(order))
}

/// What changes when a file's content does.
fn stamp(stat: &Stat) -> [u8; STAMP] {
    // No copies of eight bytes each: they are calls.
    let fields = [
        stat.st_dev.to_le_bytes(),
        stat.st_ino.to_le_bytes(),
        (stat.st_size as u64).to_le_bytes(),
        modified(stat).to_le_bytes(),
        changed(stat).to_le_bytes(),
        u64::from(stat.st_mode).to_le_bytes(),
    ];
    fields.as_flattened().first_chunk().copied().unwrap_or([0; STAMP])
}

fn modified(stat: &Stat) -> i64 {
    // Nanoseconds have another type on 32-bit machines.
    nanoseconds(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

fn changed(stat: &Stat) -> i64 {
    nanoseconds(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

/// The clock that the kernel takes the times of files from (current_time in fs/inode.c).
pub fn now() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    nanoseconds(now.tv_sec, now.tv_nsec)
}

/// Whether a change after `since` would show in the file's times: they are older, by more than
/// the steps of the clock that they come from.
fn would_show(stat: &Stat, since: i64) -> bool {
    /// Two steps of the slowest kernel clock (100 a second).
    const STEPS: i64 = 20_000_000;
    /// A file system that keeps whole seconds only, as ext4 does with small inodes.
    const SECONDS: i64 = 2_000_000_000;
    let whole = stat.st_mtime_nsec == 0 && stat.st_ctime_nsec == 0;
    let margin = if whole { SECONDS } else { STEPS };
    modified(stat).max(changed(stat)) < since.saturating_sub(margin)
}

impl Reader<'_> {
    /// The digest of a file's content, if the file has not changed since.
    pub fn digest(&mut self, path: &[u8], stat: &Stat) -> Option<[u8; 32]> {
        let record = self.at(path).filter(|record| record.stamp == stamp(stat))?;
        record.digest.try_into().ok()
    }

    /// What is kept of a file.
    fn at(&mut self, path: &[u8]) -> Option<Record<'_>> {
        self.seek(path)?;
        let (record, _) = Record::first(self.block.get(self.next..)?)?;
        (record.path == path).then_some(record)
    }

    /// Looks whether a file that has this content now had another one before.
    pub fn compare(&mut self, path: &[u8], stat: &Stat, digest: &[u8; 32]) {
        if let Some(changes) = &mut self.changes {
            changes.look(path, stat, digest);
        }
    }

    /// The files that had another content before, in words.
    pub fn changes(&self) -> Option<String> {
        self.changes.as_ref()?.told()
    }

    /// Keeps a digest. `around` is what stat said before and after the reading, that began at
    /// `since`. Of what cannot be kept so, the digest alone is kept to compare with, once.
    pub fn keep(&mut self, path: &[u8], around: (&Stat, &Stat), since: i64, digest: &[u8; 32]) {
        let mut stamps = (stamp(around.0), stamp(around.1));
        if stamps.0 != stamps.1 || path.len() > MAX_PATH {
            return;
        }
        if !would_show(around.0, since) {
            if self.at(path).is_some_and(|old| old.is_of(&stamps.0, digest)) {
                return;
            }
            // No file has this stamp, so that it is read again next time.
            stamps.0.iter_mut().take(MODE).for_each(|byte| *byte = 0);
        }
        let record = Record { path, stamp: &stamps.0, digest };
        if self.news.is_none() {
            self.news = News::begin(&self.cache.store).ok();
        }
        let written = self.news.as_mut().map(|news| record.write(&mut news.records));
        if !matches!(written, Some(Ok(()))) {
            self.news = None;
        }
    }

    /// Moves on to a path, or to where it would be.
    fn seek(&mut self, path: &[u8]) -> Option<()> {
        let is_behind = self.first().is_none_or(|first| compare(path, first).is_lt());
        if is_behind {
            self.bisect(path)?;
        }
        loop {
            while let Some((record, length)) = Record::first(self.block.get(self.next..)?) {
                match compare(record.path, path) {
                    Ordering::Less => self.next += length,
                    _ => return Some(()),
                }
            }
            // The next block, unless the path is beyond that too.
            self.load(self.at.checked_add(1)?)?;
            if self.last().is_some_and(|last| compare(last, path).is_lt()) {
                self.bisect(path)?;
            }
        }
    }

    /// The path of the record at hand.
    fn first(&self) -> Option<&[u8]> {
        Some(Record::first(self.block.get(self.next..)?)?.0.path)
    }

    fn last(&self) -> Option<&[u8]> {
        let (mut at, mut last) = (0, None);
        while let Some((record, length)) = Record::first(self.block.get(at..)?) {
            last = Some(record.path);
            at += length;
        }
        last
    }

    /// Loads the last block that begins at or before a path.
    fn bisect(&mut self, path: &[u8]) -> Option<()> {
        let (mut low, mut high) = (0, self.blocks);
        while high.checked_sub(low)? > 1 {
            let middle = low + (high - low) / 2;
            self.load(middle)?;
            match compare(self.first()?, path) {
                Ordering::Greater => high = middle,
                _ => low = middle,
            }
        }
        self.load(low)
    }

    fn load(&mut self, at: u64) -> Option<()> {
        if at >= self.blocks {
            return None;
        }
        if at != self.at {
            self.at = u64::MAX;
            if read_block(self.file.as_ref()?, at, &mut self.block).is_none() {
                self.block.clear();
                return None;
            }
            self.at = at;
        }
        self.next = 0;
        Some(())
    }

    /// Makes the cache know what this walk has found out.
    pub fn finish(self, root: BorrowedFd<'_>) {
        if let Some(news) = self.news
            && let Err(error) = merge(self.cache, news, root)
        {
            log::warn!("what was read of the build context is not kept: {error}");
        }
    }
}

impl News {
    fn begin(store: &Store) -> Result<News> {
        let scratch = store.scratch()?;
        let records = BufWriter::new(scratch.nameless_file()?);
        Ok(News { scratch, records })
    }
}

/// Records that are written as blocks.
struct Writer<'a> {
    out: BufWriter<&'a File>,
    block: Vec<u8>,
    blocks: u64,
}

impl Writer<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        if self.block.len() + RECORD_HEAD + record.path.len() > BLOCK - BLOCK_HEAD {
            self.flush()?;
        }
        Ok(record.write(&mut self.block)?)
    }

    fn flush(&mut self) -> Result<()> {
        let used = (self.block.len() as u16).to_le_bytes();
        self.block.resize(BLOCK - BLOCK_HEAD, 0);
        let rest = [used.as_slice(), &self.block].concat();
        self.out.write_all(&checksum(&rest))?;
        self.out.write_all(&rest)?;
        self.block.clear();
        self.blocks += 1;
        Ok(())
    }
}

/// Merges what was there with what is new, and puts the result in its place.
fn merge(cache: &StatCache, news: News, root: BorrowedFd<'_>) -> Result<()> {
    let _merging = cache.merging.lock().unwrap_or_else(PoisonError::into_inner);
    let News { scratch, records } = news;
    let mut records = records.into_inner().map_err(|error| Error::from(error.into_error()))?;
    records.rewind()?;
    let mut new = Incoming::new(BufReader::new(records));
    let old = cache.open()?;
    let (looked_at, blocks) = old.as_ref().map_or((0, 0), |old| (old.looked_at, old.blocks));
    // Twice as many as when it was last looked after them: some files may be gone for long.
    let look = blocks > looked_at.saturating_mul(2).saturating_add(8);
    let file = cache.store.new_context(&scratch)?;
    let mut out = Writer { out: BufWriter::new(&file), block: Vec::new(), blocks: 0 };
    out.out.write_all(&[0; HEAD])?;
    let mut block = Vec::new();
    for at in 0..blocks {
        if old.as_ref().and_then(|old| read_block(&old.file, at, &mut block)).is_none() {
            continue;
        }
        let mut rest = block.as_slice();
        while let Some((record, length)) = Record::first(rest) {
            rest = rest.get(length..).unwrap_or_default();
            let mut is_replaced = false;
            while let Some(next) = new.peek()? {
                match compare(next.path, record.path) {
                    Ordering::Greater => break,
                    order => is_replaced |= order.is_eq(),
                }
                out.record(&next)?;
                new.pass();
            }
            let is_gone =
                || rustix::fs::statat(root, record.path, AtFlags::SYMLINK_NOFOLLOW).is_err();
            let is_kept = !is_replaced && (!look || !is_gone());
            if is_kept {
                out.record(&record)?;
            }
        }
    }
    while let Some(next) = new.peek()? {
        out.record(&next)?;
        new.pass();
    }
    if !out.block.is_empty() {
        out.flush()?;
    }
    let count = if look || blocks == 0 { out.blocks } else { looked_at };
    out.out.into_inner().map_err(|error| Error::from(error.into_error()))?;
    file.write_all_at(&[MAGIC.as_slice(), &count.to_le_bytes()].concat(), 0)?;
    cache.store.put_context(&scratch, &cache.key)
}

/// Records that come one after the other, each looked at before it is taken.
struct Incoming {
    from: BufReader<File>,
    record: Vec<u8>,
    is_there: bool,
}

impl Incoming {
    fn new(from: BufReader<File>) -> Incoming {
        Incoming { from, record: Vec::new(), is_there: false }
    }

    fn peek(&mut self) -> Result<Option<Record<'_>>> {
        if !self.is_there {
            self.record.clear();
            self.from.by_ref().take(2).read_to_end(&mut self.record)?;
            let Some(length) = self.record.first_chunk::<2>() else { return Ok(None) };
            let rest = usize::from(u16::from_le_bytes(*length)) + RECORD_HEAD - 2;
            self.from.by_ref().take(rest as u64).read_to_end(&mut self.record)?;
            self.is_there = true;
        }
        Ok(Record::first(&self.record).map(|(record, _)| record))
    }

    fn pass(&mut self) {
        self.is_there = false;
    }
}

#[cfg(test)]
mod tests;
