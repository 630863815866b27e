//! A blob, read to its end over connections that break: each next one goes on where the one before
//! it stopped (RFC 9110, 14). What a broken or slow download has so far is kept for the next
//! process; one that goes well is never written down.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::remote::{Remote, is_busy, is_passing, pause, retry_after};
use crate::error::{Context, Error, Result};
use crate::event::Progress;
use crate::http::{Body, Response};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Hasher;
use crate::store::{Partial, Store};
use crate::sys::fs::BUFFER;

/// How many connections in a row may bring nothing.
const TRIES: u32 = 6;
/// A download that will take longer than this is kept, should it be the last of this process.
const LONG: Duration = Duration::from_secs(20);
/// After this time it is known how fast it goes.
const KNOWN: Duration = Duration::from_secs(1);

/// A blob under way.
pub struct Blob<'a> {
    remote: &'a mut Remote,
    store: &'a Store,
    descriptor: &'a Descriptor,
    progress: Progress<'a>,
    begun: Instant,
    hasher: Hasher,
    position: u64,
    /// The connection at hand, and where what it brings ends.
    body: Option<(Body, u64)>,
    /// Connections since the last byte.
    tries: u32,
    /// The server does not go on in the middle.
    has_no_ranges: bool,
    partial: Option<Partial>,
    /// Some of what was read came from an earlier process.
    has_old_bytes: bool,
    /// The server does not give it, so that there is nothing to be read any more.
    is_given_up: bool,
}

impl<'a> Blob<'a> {
    /// Nothing read yet.
    pub fn open(
        remote: &'a mut Remote,
        store: &'a Store,
        descriptor: &'a Descriptor,
        progress: Progress<'a>,
    ) -> Result<Blob<'a>> {
        let mut partial = store.partial(&descriptor.digest)?;
        // One that was begun and no more would stand where nothing is kept.
        if let Some(empty) = partial.take_if(|partial| partial.length == 0) {
            store.drop_partial(empty);
        }
        Ok(Blob {
            remote,
            store,
            descriptor,
            progress,
            begun: Instant::now(),
            hasher: Hasher::new(),
            position: 0,
            body: None,
            tries: 0,
            has_no_ranges: false,
            partial,
            has_old_bytes: false,
            is_given_up: false,
        })
    }

    /// Reads what nobody has asked for, and says whether all of it is what the descriptor
    /// promises.
    pub fn verify(&mut self) -> Result<()> {
        if self.is_given_up {
            return Ok(());
        }
        io::copy(self, &mut io::sink())?;
        let found = self.hasher.clone().finish();
        let wanted = self.descriptor.digest;
        if found == wanted {
            return Ok(());
        }
        if let Some(partial) = self.partial.take() {
            self.store.drop_partial(partial);
        }
        Err(Error::corrupt(format!("the blob should be {wanted}; it is {found}"))
            .hint("the registry, or somebody on the way to it, gives something else"))
    }

    /// Whether it may be right when it is read once more: old bytes were wrong.
    pub fn may_be_stale(&self) -> bool {
        self.has_old_bytes
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let size = self.descriptor.size_bytes;
        if self.position >= size || buffer.is_empty() {
            return Ok(0);
        }
        let count = match &self.partial {
            Some(kept) if kept.start <= self.position && self.position < kept.end() => {
                let end = kept.end().min(size);
                let count = kept.read_at(self.position, upto(buffer, end - self.position))?;
                if count == 0 {
                    return Err(Error::corrupt("a kept download has become shorter"));
                }
                self.body = None;
                self.has_old_bytes = true;
                count
            }
            kept => {
                let ahead = kept.as_ref().filter(|kept| kept.start > self.position);
                let end = ahead.filter(|kept| kept.length > 0).map_or(size, |kept| kept.start);
                let count = self.receive(buffer, end.min(size))?;
                self.keep(buffer.get(..count).unwrap_or_default());
                count
            }
        };
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.position += count as u64;
        self.progress.add(count as u64);
        Ok(count)
    }

    /// Bytes from the network, of those before `end`.
    fn receive(&mut self, buffer: &mut [u8], end: u64) -> Result<usize> {
        loop {
            let error = match self.receive_once(buffer, end) {
                Ok(0) => Error::input("the server ends it too early"),
                Ok(count) => {
                    self.tries = 0;
                    return Ok(count);
                }
                Err(error) => error,
            };
            self.body = None;
            self.tries += 1;
            let digest = self.descriptor.digest.short();
            log::info!("{digest}: {error}, after {} bytes", self.position);
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

    fn receive_once(&mut self, buffer: &mut [u8], end: u64) -> Result<usize> {
        let (mut body, ends) = match self.body.take() {
            // What was asked for may have been more than is wanted now.
            Some((body, ends)) if ends >= end => (body, ends),
            _ => (self.connect(end)?, end),
        };
        let count = body.read(upto(buffer, end - self.position))?;
        self.body = Some((body, ends));
        Ok(count)
    }

    /// Asks for the bytes from here to `end`.
    fn connect(&mut self, end: u64) -> Result<Body> {
        let (position, size) = (self.position, self.descriptor.size_bytes);
        let path = format!("blobs/{}", self.descriptor.digest);
        let range = format!("bytes={position}-{}", end.saturating_sub(1));
        let is_part = !self.has_no_ranges && (position > 0 || end < size);
        let headers: &[_] = if is_part { &[("Range", range.as_str())] } else { &[] };
        let answer = self.remote.get_once(&path, headers)?;
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
                Err(self.remote.refusal(&answer, &path))
            }
            status if is_busy(status) => {
                pause(self.tries, retry_after(&answer))?;
                Err(self.remote.refusal(&answer, &path))
            }
            _ => {
                self.is_given_up = true;
                Err(self.remote.refusal(&answer, &path))
            }
        }
    }

    /// Notes what came, if it is kept.
    fn keep(&mut self, bytes: &[u8]) {
        let elapsed = self.begun.elapsed();
        if self.partial.is_none() && elapsed >= KNOWN {
            let left = self.descriptor.size_bytes.saturating_sub(self.position);
            // In whole bytes a second; nothing so far is slow.
            let speed = self.position / elapsed.as_secs().max(1);
            if speed == 0 || left / speed >= LONG.as_secs() {
                self.begin_to_keep();
            }
        }
        let Some(partial) = &mut self.partial else { return };
        if partial.end() == self.position
            && let Err(error) = partial.append(bytes)
        {
            // It only spares work, and the disk may need the room.
            log::warn!("{error}");
            if let Some(partial) = self.partial.take() {
                self.store.drop_partial(partial);
            }
        }
    }

    fn begin_to_keep(&mut self) {
        if self.partial.is_none() {
            match self.store.new_partial(&self.descriptor.digest, self.position) {
                Ok(partial) => self.partial = partial,
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
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
