//! A blob, read to its end over connections that break: each next one goes on where the one before
//! it stopped (RFC 9110, 14). What a broken or slow download has so far is kept for the next
//! process; one that goes well is never written down.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::remote::{is_busy, is_passing, pause, retry_after};
use super::sources::{Source, Sources};
use crate::error::{Context, Error, Kind, Result};
use crate::http::{Body, Response};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Hasher;
use crate::store::{Partial, Store};
use crate::sys::fs::BUFFER;

/// How many connections in a row may bring nothing.
const TRIES: u32 = 6;
/// A download that will take longer than this is kept, should it be the last of this process.
const LONG: Duration = Duration::from_secs(20);
/// A mirror that has brought less than `LEAST` bytes a second for so long is left for the next place.
const DRIP: Duration = Duration::from_secs(10);
const LEAST: u64 = 1000;
/// After this time it is known how fast it goes.
const KNOWN: Duration = Duration::from_secs(1);

/// Where bytes came from that may be wrong without the registry's fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origins {
    /// From an earlier process.
    pub has_old: bool,
    /// From a mirror.
    pub has_mirrored: bool,
}

/// A blob under way.
pub struct Blob {
    sources: Arc<Sources>,
    store: Arc<Store>,
    descriptor: Descriptor,
    /// Time that went by with waiting for the network.
    waited: Duration,
    /// The same of late, and what came in it.
    window: (Duration, u64),
    hasher: Hasher,
    position: u64,
    /// The connection at hand, and where what it brings ends.
    body: Option<(Body, u64)>,
    /// The first place that is still asked.
    first: usize,
    /// Connections to the last place since the last byte.
    tries: u32,
    /// The server does not go on in the middle.
    has_no_ranges: bool,
    /// Parts of it that are kept: of earlier processes, and of this one.
    kept: Vec<Partial>,
    /// It is a bad link: an earlier process has not come to the end.
    is_to_be_kept: bool,
    /// Some of what was read came from an earlier process.
    has_old_bytes: bool,
    /// Some of it came from a mirror.
    has_mirrored_bytes: bool,
    /// Nobody gives it, so that there is nothing to be read any more.
    is_given_up: bool,
}

impl Blob {
    /// Nothing read yet.
    pub fn open(sources: Arc<Sources>, store: Arc<Store>, descriptor: Descriptor) -> Result<Blob> {
        let mut kept = store.partials(&descriptor.digest)?;
        // One that was begun and no more would stand where nothing is kept.
        while let Some(empty) = kept.iter().position(|partial| partial.length == 0) {
            store.drop_partial(kept.swap_remove(empty));
        }
        Ok(Blob {
            sources,
            store,
            descriptor,
            waited: Duration::ZERO,
            window: (Duration::ZERO, 0),
            hasher: Hasher::new(),
            position: 0,
            body: None,
            first: 0,
            tries: 0,
            has_no_ranges: false,
            is_to_be_kept: !kept.is_empty(),
            kept,
            has_old_bytes: false,
            has_mirrored_bytes: false,
            is_given_up: false,
        })
    }

    /// Whether all of it, which was read, is what the descriptor promises.
    pub fn verify(&mut self) -> Result<()> {
        let found = self.hasher.clone().finish();
        let wanted = self.descriptor.digest;
        if found == wanted {
            return Ok(());
        }
        std::mem::take(&mut self.kept).into_iter().for_each(|part| self.store.drop_partial(part));
        Err(Error::corrupt(format!("the blob should be {wanted}; it is {found}"))
            .hint("the registry, or somebody on the way to it, gives something else"))
    }

    /// Whose bytes were among those read: those of an earlier process, those of a mirror.
    pub fn origins(&self) -> Origins {
        Origins { has_old: self.has_old_bytes, has_mirrored: self.has_mirrored_bytes }
    }

    /// Gives the connection back: nothing will be read for a while, and a server does not wait.
    pub fn rest(&mut self) {
        self.body = None;
    }

    /// Reads on; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let size = self.descriptor.size_bytes;
        if self.position >= size || buffer.is_empty() {
            return Ok(0);
        }
        let at = self.position;
        let count = match self.kept.iter().find(|kept| kept.start <= at && at < kept.end()) {
            Some(kept) => {
                let end = kept.end().min(size);
                let count = kept.read_at(at, upto(buffer, end - at))?;
                if count == 0 {
                    return Err(Error::corrupt("a kept download has become shorter"));
                }
                self.body = None;
                self.has_old_bytes = true;
                count
            }
            None => {
                let ahead = self.kept.iter().filter(|kept| kept.start > at && kept.length > 0);
                let end = ahead.map(|kept| kept.start).min().unwrap_or(size);
                let count = self.receive(buffer, end.min(size))?;
                self.keep(buffer.get(..count).unwrap_or_default());
                count
            }
        };
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.position += count as u64;
        Ok(count)
    }

    /// Bytes from the network, of those before `end`.
    fn receive(&mut self, buffer: &mut [u8], end: u64) -> Result<usize> {
        loop {
            let begun = Instant::now();
            let source = self.sources.from(self.first)?;
            let done = self.receive_once(&source, buffer, end);
            self.waited += begun.elapsed();
            let error = match done {
                Ok(0) => Error::input("the server ends it too early"),
                Ok(count) => {
                    self.tries = 0;
                    let is_mirror = !self.sources.is_last(&source);
                    self.has_mirrored_bytes |= is_mirror;
                    let (waited, bytes) = &mut self.window;
                    *waited += begun.elapsed();
                    *bytes += count as u64;
                    if *waited >= DRIP {
                        if is_mirror && *bytes < DRIP.as_secs() * LEAST {
                            let error = Error::input("it is slower than a kilobyte a second");
                            self.first = self.sources.after(&source, &error, true);
                            self.body = None;
                        }
                        self.window = (Duration::ZERO, 0);
                    }
                    return Ok(count);
                }
                Err(error) => error,
            };
            self.window = (Duration::ZERO, 0);
            self.body = None;
            let digest = self.descriptor.digest.short();
            log::info!("{digest}: {error}, after {} bytes", self.position);
            if !self.sources.is_last(&source) && !matches!(error.kind(), Kind::Interrupted(_)) {
                // The next place goes on where this one has stopped.
                let is_broken = error.kind() != Kind::NotFound;
                self.first = self.sources.after(&source, &error, is_broken);
                (self.is_given_up, self.has_no_ranges) = (false, false);
                continue;
            }
            self.tries += 1;
            if self.is_given_up || self.tries > TRIES || !is_passing(&error) {
                self.is_given_up = true;
                return Err(error.during(format!("download {digest}")));
            }
            self.begin_to_keep();
            if self.tries > 1 {
                pause(self.tries, None)?;
            }
        }
    }

    fn receive_once(&mut self, source: &Source, buffer: &mut [u8], end: u64) -> Result<usize> {
        let (mut body, ends) = match self.body.take() {
            // What was asked for may have been more than is wanted now.
            Some((body, ends)) if ends >= end => (body, ends),
            _ => (self.connect(source, end)?, end),
        };
        let count = body.read(upto(buffer, end - self.position))?;
        self.body = Some((body, ends));
        Ok(count)
    }

    /// Asks for the bytes from here to `end`.
    fn connect(&mut self, source: &Source, end: u64) -> Result<Body> {
        let (position, size) = (self.position, self.descriptor.size_bytes);
        let path = format!("blobs/{}", self.descriptor.digest);
        let range = format!("bytes={position}-{}", end.saturating_sub(1));
        let is_part = !self.has_no_ranges && (position > 0 || end < size);
        let headers: &[_] = if is_part { &[("Range", range.as_str())] } else { &[] };
        let remote = &source.remote;
        let answer = remote.get_once(&path, headers)?;
        match answer.status {
            206 if is_part => {
                let begins = begins_at(&answer, position, size);
                // Who gives another part than was asked for is not asked for parts again.
                self.has_no_ranges = begins.is_err();
                begins.map(|()| answer.body)
            }
            200 => {
                if let Some(length) = answer.body.length().filter(|length| *length != size) {
                    let text = format!("the blob has {length} bytes and not {size}");
                    self.is_given_up = true;
                    return Err(Error::corrupt(text));
                }
                skip(answer.body, position)
            }
            416 if is_part => {
                self.has_no_ranges = true;
                Err(remote.refusal(&answer, &path))
            }
            status if is_busy(status) => {
                if self.sources.is_last(source) {
                    pause(self.tries, retry_after(&answer))?;
                }
                Err(remote.refusal(&answer, &path))
            }
            _ => {
                self.is_given_up = true;
                Err(remote.refusal(&answer, &path))
            }
        }
    }

    /// Notes what came, if it is kept.
    fn keep(&mut self, bytes: &[u8]) {
        if self.is_to_be_kept {
            self.begin_to_keep();
        } else if self.kept.is_empty() && self.waited >= KNOWN {
            let left = self.descriptor.size_bytes.saturating_sub(self.position);
            // In whole bytes a second; nothing so far is slow.
            let speed = self.position / self.waited.as_secs().max(1);
            if speed == 0 || left / speed >= LONG.as_secs() {
                self.begin_to_keep();
            }
        }
        let Some(here) = self.part_before() else { return };
        if let Some(partial) = self.kept.get_mut(here)
            && let Err(error) = partial.append(bytes)
        {
            // It only spares work, and the disk may need the room.
            log::warn!("{error}");
            self.is_to_be_kept = false;
            self.store.drop_partial(self.kept.swap_remove(here));
        }
    }

    /// The kept part that ends here.
    fn part_before(&self) -> Option<usize> {
        self.kept.iter().position(|kept| kept.end() == self.position)
    }

    fn begin_to_keep(&mut self) {
        if self.part_before().is_none() {
            match self.store.new_partial(&self.descriptor.digest, self.position) {
                Ok(partial) => self.kept.extend(partial),
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

fn upto(buffer: &mut [u8], most: u64) -> &mut [u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
    buffer.get_mut(..most).unwrap_or_default()
}

/// `Content-Range: bytes FIRST-LAST/SIZE` must say what was asked for.
fn begins_at(answer: &Response, position: u64, size: u64) -> Result<()> {
    let text = answer.headers.get("content-range").unwrap_or_default();
    let range = text.strip_prefix("bytes ").unwrap_or_default();
    let (first, total) = range.split_once('/').unwrap_or_default();
    let first = first.split('-').next().unwrap_or_default();
    let is_right = first.parse() == Ok(position) && (total == "*" || total.parse() == Ok(size));
    match is_right {
        true => Ok(()),
        false => Err(Error::corrupt(format!(
            "the server gives the range {text:?}, where {position} of {size} bytes are here"
        ))),
    }
}

/// A server that begins anew gives everything once more.
fn skip(mut body: Body, bytes: u64) -> Result<Body> {
    let mut buffer = vec![0; BUFFER];
    let mut left = bytes;
    while left > 0 {
        match body.read(upto(&mut buffer, left)).context(|| "read what is here already")? {
            0 => return Err(Error::input("the server ends it too early")),
            count => left -= count as u64,
        }
    }
    Ok(body)
}
