//! gzip by several threads: one member, made of blocks that know nothing of each other.
//!
//! Where a block ends depends on the bytes alone. So the output is the same however many threads
//! there are, and whichever of them is done first. A block ends with an empty stored one, which
//! ends at a whole byte (RFC 1951, 3.2.4, as zlib's `Z_SYNC_FLUSH` does it), and refers to nothing
//! before its start; so blocks can be put one after the other.
//!
//! A block that can hardly be compressed, by what a sample of it comes to, is not tried at length.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use miniz_oxide::deflate::core::CompressorOxide;
use miniz_oxide::deflate::core::deflate_flags::TDEFL_GREEDY_PARSING_FLAG;
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{MZError, MZFlush};

use super::gzip::HEADER;
use super::{Format, damaged};
use crate::error::Result;
use crate::layer::crc32::Crc32;
use crate::sys::flow::Outflow;

/// Bytes of a block: half a hundredth more output than one block of all has.
const BLOCK_BYTES: usize = 256 << 10;
/// How many places a match is looked for in: half of what gzip's fourth level does, some hundredths more output, and
/// four fifths of the time.
const PROBES: u32 = 8;
/// One place, and the first match is as good as any.
const HASTY: u32 = TDEFL_GREEDY_PARSING_FLAG | 1;
/// Bytes of each of the two parts of a sample.
const SAMPLE_BYTES: usize = 8 << 10;
/// How many blocks of a stream may be done, or under way, and wait for the one in front.
const MOST: usize = 3;
/// An empty block that says that it is the last one.
const END: [u8; 2] = [3, 0];

/// Threads that help with the blocks of all streams. Without a helper each stream does its own.
#[derive(Default)]
pub struct Helpers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    blocks: VecDeque<Arc<Block>>,
    /// Helpers that have nothing to do.
    idle: usize,
    is_over: bool,
}

/// A block that was given to a helper: its bytes, then what became of them.
struct Block {
    plain: Mutex<Vec<u8>>,
    packed: Mutex<Option<io::Result<Vec<u8>>>>,
    changed: Condvar,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(changed: &Condvar, held: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(held).unwrap_or_else(PoisonError::into_inner)
}

impl Helpers {
    /// What a helping thread does until `end`.
    pub fn help(&self) {
        let mut state = held(&self.state);
        loop {
            // What was given is done, whatever else happens: somebody waits for it.
            if let Some(block) = state.blocks.pop_front() {
                drop(state);
                let plain = std::mem::take(&mut *held(&block.plain));
                let packed = pack(&plain);
                *held(&block.packed) = Some(packed);
                block.changed.notify_all();
                state = held(&self.state);
            } else if state.is_over {
                return;
            } else {
                state.idle += 1;
                state = wait(&self.changed, state);
                state.idle -= 1;
            }
        }
    }

    /// Sends the helpers home. There is no stream any more.
    pub fn end(&self) {
        held(&self.state).is_over = true;
        self.changed.notify_all();
    }

    /// Gives a block to a helper that has nothing to do.
    fn take(&self, plain: &mut Vec<u8>) -> Option<Arc<Block>> {
        let mut state = held(&self.state);
        if state.idle <= state.blocks.len() {
            return None;
        }
        let plain = Mutex::new(std::mem::take(plain));
        let (packed, changed) = (Mutex::default(), Condvar::new());
        let block = Arc::new(Block { plain, packed, changed });
        state.blocks.push_back(block.clone());
        self.changed.notify_one();
        Some(block)
    }
}

impl Block {
    fn wait(&self) -> io::Result<Vec<u8>> {
        let mut packed = held(&self.packed);
        loop {
            match packed.take() {
                Some(packed) => return packed,
                None => packed = wait(&self.changed, packed),
            }
        }
    }
}

/// What waits for its turn.
enum Turn {
    Done(Vec<u8>),
    Given(Arc<Block>),
}

/// Compresses as gzip: same bytes, same output.
pub struct Blocks<'a> {
    out: &'a mut dyn Outflow,
    helpers: &'a Helpers,
    plain: Vec<u8>,
    turns: VecDeque<Turn>,
    crc: Crc32,
    bytes: u32,
}

impl<'a> Blocks<'a> {
    /// Writes the header.
    pub fn new(out: &'a mut dyn Outflow, helpers: &'a Helpers) -> Result<Blocks<'a>> {
        out.write_all(&HEADER)?;
        Ok(Blocks {
            out,
            helpers,
            plain: Vec::with_capacity(BLOCK_BYTES),
            turns: VecDeque::new(),
            crc: Crc32::new(),
            bytes: 0,
        })
    }

    /// Has the block compressed, here if nobody helps, and writes what is ready.
    fn block(&mut self) -> io::Result<()> {
        let turn = match self.helpers.take(&mut self.plain) {
            Some(block) => Turn::Given(block),
            None => Turn::Done(pack(&self.plain)?),
        };
        self.plain.clear();
        self.plain.reserve_exact(BLOCK_BYTES);
        self.turns.push_back(turn);
        while self.turns.len() >= MOST || matches!(self.turns.front(), Some(Turn::Done(_))) {
            self.turn()?;
        }
        Ok(())
    }

    /// Writes the block in front.
    fn turn(&mut self) -> io::Result<()> {
        match self.turns.pop_front() {
            Some(Turn::Done(packed)) => self.out.write_all(&packed),
            Some(Turn::Given(block)) => self.out.write_all(&block.wait()?),
            None => Ok(()),
        }
    }

    /// Writes what is left and the trailer.
    pub fn finish(mut self) -> Result<()> {
        if !self.plain.is_empty() {
            self.block()?;
        }
        while !self.turns.is_empty() {
            self.turn()?;
        }
        self.out.write_all(&END)?;
        self.out.write_all(&self.crc.take().to_le_bytes())?;
        self.out.write_all(&self.bytes.to_le_bytes())?;
        Ok(self.out.flush()?)
    }
}

impl Write for Blocks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK_BYTES.saturating_sub(self.plain.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.plain.extend_from_slice(taken);
        self.crc.update(taken);
        self.bytes = self.bytes.wrapping_add(taken.len() as u32);
        if self.plain.len() >= BLOCK_BYTES {
            self.block()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses a block by itself.
fn pack(plain: &[u8]) -> io::Result<Vec<u8>> {
    let part = |at: usize| plain.get(at..at + SAMPLE_BYTES).unwrap_or_default();
    let sample = [part(0), part(plain.len() / 2)].concat();
    let is_dense = run(HASTY, &sample)?.len() > sample.len() / 16 * 15;
    run(if is_dense { HASTY } else { PROBES }, plain)
}

fn run(flags: u32, mut plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = Box::new(CompressorOxide::new(flags));
    // What cannot be compressed is stored, with some bytes more for each part.
    let mut packed = vec![0; plain.len() + 512];
    let mut length = 0;
    loop {
        let room = packed.get_mut(length..).unwrap_or_default();
        let done = deflate(&mut compressor, plain, room, MZFlush::Sync);
        length += done.bytes_written;
        plain = plain.get(done.bytes_consumed..).unwrap_or_default();
        match done.status {
            Ok(_) if length == packed.len() => packed.resize(length + 512, 0),
            Ok(_) | Err(MZError::Buf) if plain.is_empty() => break,
            _ => return Err(damaged(Format::Gzip, "deflate failed").into()),
        }
    }
    packed.truncate(length);
    packed.shrink_to_fit();
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pipe, read, text};
    use super::*;

    /// By so many helpers, of which none may be done before all have begun, in writes of this size.
    fn packed(plain: &[u8], helpers: usize, part: usize) -> Vec<u8> {
        let own = Helpers::default();
        let mut out = Vec::new();
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|| own.help());
            }
            while held(&own.state).idle < helpers {
                std::thread::yield_now();
            }
            let mut blocks = Blocks::new(&mut out, &own).unwrap();
            plain.chunks(part).for_each(|part| blocks.write_all(part).unwrap());
            blocks.finish().unwrap();
            own.end();
        });
        out
    }

    #[test]
    fn as_many_as_there_are_write_the_same_that_gzip_reads() {
        for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 7 * BLOCK_BYTES + 9] {
            let plain = text(length);
            let alone = packed(&plain, 0, 70_000);
            assert!(pipe("gzip", &["-d"], &alone) == plain, "{length}");
            assert!(read(&alone).unwrap() == plain, "{length}");
            for (helpers, part) in [(1, 1 << 20), (3, 997)] {
                assert!(packed(&plain, helpers, part) == alone, "{length} {helpers}");
            }
        }
        // What cannot be compressed.
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..3 * BLOCK_BYTES).map(next).collect();
        let stored = packed(&noise, 2, 5000);
        assert!(stored.len() < noise.len() + 1000, "{}", stored.len());
        assert!(pipe("gzip", &["-d"], &stored) == noise);
        // What can be is no larger than what gzip makes of it in haste.
        let plain = text(9 * BLOCK_BYTES);
        let [own, theirs] = [packed(&plain, 0, 5000), pipe("gzip", &["-3"], &plain)];
        assert!(own.len() < theirs.len(), "{} {}", own.len(), theirs.len());
    }

    /// A stream that ends early leaves its blocks to nobody.
    #[test]
    fn a_place_that_takes_nothing_ends_the_stream_and_not_the_helpers() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let own = Helpers::default();
        std::thread::scope(|scope| {
            scope.spawn(|| own.help());
            for room in [9, 10, 5000] {
                let mut full = Full(room);
                let blocks = Blocks::new(&mut full, &own);
                let written = blocks.and_then(|mut blocks| {
                    blocks.write_all(&text(5 * BLOCK_BYTES))?;
                    blocks.finish()
                });
                assert!(written.is_err(), "{room}");
            }
            own.end();
        });
    }
}
