//! What a disk holds, what was written to it, and what a power cut leaves of that.

use super::harness::Random;
use std::sync::Arc;

const BLOCK: usize = 4096;
/// What a disk writes wholly or not at all.
const SECTOR: usize = 4096;

/// The content of a disk. A copy costs little: blocks are shared until one of them is written to.
#[derive(Clone)]
pub struct Blocks(Vec<Option<Arc<[u8; BLOCK]>>>);

impl Blocks {
    /// Zeros.
    pub fn new(bytes: u64) -> Blocks {
        Blocks(vec![None; usize::try_from(bytes).unwrap() / BLOCK])
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        (self.0.len() * BLOCK) as u64
    }

    /// Puts what lies from `offset` on to `into`.
    pub fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) {
        for (block, range) in pieces(offset, length) {
            match self.0.get(block) {
                Some(Some(bytes)) => into.extend_from_slice(&bytes[range]),
                Some(None) => into.resize(into.len() + range.len(), 0),
                None => return,
            }
        }
    }

    /// Writes there.
    pub fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        for (block, range) in pieces(offset, bytes.len()) {
            let (now, rest) = bytes.split_at(range.len());
            let held = self.0[block].get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(held)[range].copy_from_slice(now);
            bytes = rest;
        }
    }
}

/// The blocks that bytes lie in, and where in each.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    let offset = usize::try_from(offset).unwrap();
    let end = offset + length;
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |block| {
        let start = block * BLOCK;
        (block, offset.max(start) - start..end.min(start + BLOCK) - start)
    })
}

/// What a disk was told to do.
pub enum Entry {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// All before it is on the medium.
    Flush,
}

/// A disk as it was, and all that it was told since.
pub struct Recording {
    pub start: Blocks,
    pub entries: Vec<Entry>,
}

impl Recording {
    /// How many flushes there are.
    pub fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Flush)).count()
    }
}

/// What became of the writes that no flush has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// All are on the medium: the disk writes in order.
    InOrder,
    /// Any of them are, or any sectors of them: the disk has a cache, and the seed says which.
    Lossy(u64),
}

/// A moment of a power cut: before this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub at: usize,
    pub cache: Cache,
}

/// A disk that goes through a recording, only forward.
pub struct Replay<'a> {
    recording: &'a Recording,
    blocks: Blocks,
    /// All before this entry, a flush, is in the blocks.
    done: usize,
}

impl<'a> Replay<'a> {
    pub fn of(recording: &'a Recording) -> Replay<'a> {
        Replay { recording, blocks: recording.start.clone(), done: 0 }
    }

    /// The disk after a power cut, one that is not before the last one asked for.
    pub fn after(&mut self, cut: Cut) -> Blocks {
        let entries = &self.recording.entries[..cut.at];
        let flushed = entries.iter().rposition(|entry| matches!(entry, Entry::Flush));
        let flushed = flushed.unwrap_or(0).max(self.done);
        for entry in &entries[self.done..flushed] {
            if let Entry::Write { offset, bytes } = entry {
                self.blocks.write(*offset, bytes);
            }
        }
        self.done = flushed;
        let mut blocks = self.blocks.clone();
        let mut random = match cut.cache {
            Cache::InOrder => None,
            Cache::Lossy(seed) => Some(Random(seed)),
        };
        // How much of the cache is lost differs from cut to cut.
        let lost = random.as_mut().map_or(0, |random| random.below(101));
        for entry in &entries[flushed..] {
            let Entry::Write { offset, bytes } = entry else { continue };
            let whole = random.as_mut().is_none_or(|random| random.below(100) >= lost);
            match &mut random {
                Some(random) if !whole => {
                    // Some are lost wholly, some in part.
                    let is_torn = random.below(4) == 0;
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if is_torn && random.below(2) == 0 {
                            blocks.write(offset + (number * SECTOR) as u64, sector);
                        }
                    }
                }
                _ => blocks.write(*offset, bytes),
            }
        }
        blocks
    }
}

/// Where to cut: at every flush, as far as half of `count` goes, and at random writes; in order.
pub fn cuts(recording: &Recording, seed: u64, count: usize) -> Vec<Cut> {
    let mut random = Random(seed);
    let last = recording.entries.len();
    let flushes = (0..last).filter(|at| matches!(recording.entries[*at], Entry::Flush));
    let flushes: Vec<_> = flushes.collect();
    let step = flushes.len().div_ceil((count / 2).max(1)).max(1);
    let from = random.below(step);
    let mut found: Vec<_> = flushes
        .into_iter()
        .skip(from)
        .step_by(step)
        .map(|at| Cut { at, cache: Cache::InOrder })
        .collect();
    while found.len() < count {
        let cache = match random.below(4) {
            0 => Cache::InOrder,
            _ => Cache::Lossy(random.next()),
        };
        found.push(Cut { at: random.below(last + 1), cache });
    }
    found.sort_by_key(|cut| cut.at);
    found
}
