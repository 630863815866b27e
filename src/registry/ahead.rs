//! A blob that comes while others are unpacked: a thread of its own reads it, checks it, and waits
//! when it is too far ahead. Nothing is written down for that, so it is never far.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::blob::{Blob, Origins};
use super::sources::Sources;
use crate::error::{Context, Error, Result};
use crate::image::descriptor::Descriptor;
use crate::store::Store;
use crate::sys::fs::BUFFER;
use crate::sys::signal;

/// How many blobs come at once, as docker has it.
pub const AT_ONCE: usize = 3;
/// How many buffers a blob may be ahead.
const MOST: usize = 6;
/// A connection that is not read from for so long is given back.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked whether the user wants an end.
const SLICE: Duration = Duration::from_millis(100);
const STACK: usize = 1 << 20;

/// The reader's end.
pub struct Ahead {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    at: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    full: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// How it ended, when it has.
    end: Option<Result<()>>,
    origins: Origins,
    /// Nobody reads it any more.
    is_unwanted: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(
    changed: &Condvar,
    state: MutexGuard<'a, State>,
    patience: Duration,
) -> (MutexGuard<'a, State>, bool) {
    let waited = changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
    (waited.0, waited.1.timed_out())
}

impl Ahead {
    /// Begins to read it. The thread ends by itself, soon after this is dropped.
    pub fn start(sources: &Arc<Sources>, store: &Arc<Store>, layer: &Descriptor) -> Result<Ahead> {
        let mut blob = Blob::open(sources.clone(), store.clone(), layer.clone())?;
        let shared = Arc::new(Shared::default());
        let ahead = Ahead { shared: shared.clone(), buffer: Vec::new(), at: 0 };
        let fetch = move || {
            let end = fetch(&mut blob, &shared);
            let mut state = shared.lock();
            state.origins = blob.origins();
            state.end = Some(end);
            shared.changed.notify_all();
        };
        std::thread::Builder::new().stack_size(STACK).spawn(fetch).context(|| "start a thread")?;
        Ok(ahead)
    }

    /// Reads what nobody has asked for, and says whether all of it was what it should be.
    pub fn verify(&mut self) -> Result<()> {
        while self.fill()? {
            self.at = self.buffer.len();
        }
        self.shared.lock().end.clone().unwrap_or(Ok(()))
    }

    /// Where what was read came from, once it is at its end.
    pub fn origins(&self) -> Origins {
        self.shared.lock().origins
    }

    /// Sees to it that there is something to be read; whether there is.
    fn fill(&mut self) -> Result<bool> {
        if self.at < self.buffer.len() {
            return Ok(true);
        }
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            signal::check()?;
            if let Some(next) = state.full.pop_front() {
                let used = std::mem::replace(&mut self.buffer, next);
                self.at = 0;
                state.spare.push(used);
                shared.changed.notify_all();
                return Ok(true);
            }
            match &state.end {
                Some(Err(error)) => return Err(error.clone()),
                Some(Ok(())) => return Ok(false),
                None => state = wait(&shared.changed, state, SLICE).0,
            }
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let mut rest = self.buffer.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().is_unwanted = true;
        self.shared.changed.notify_all();
    }
}

fn fetch(blob: &mut Blob, shared: &Shared) -> Result<()> {
    loop {
        let mut state = shared.lock();
        while state.full.len() >= MOST && !state.is_unwanted {
            let (next, is_over) = wait(&shared.changed, state, PATIENCE);
            state = next;
            if is_over {
                blob.rest();
            }
        }
        if state.is_unwanted {
            return Err(Error::input("nobody wants it any more"));
        }
        let mut buffer = state.spare.pop().unwrap_or_default();
        drop(state);
        buffer.resize(BUFFER, 0);
        let count = blob.read(&mut buffer)?;
        if count == 0 {
            return blob.verify();
        }
        buffer.truncate(count);
        shared.lock().full.push_back(buffer);
        shared.changed.notify_all();
    }
}
