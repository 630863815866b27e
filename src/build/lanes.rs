//! What stages that run side by side have to tell, in the order of the stages: one after the
//! other, each whole, so that the log is the one of stages that run one by one. The first stage
//! that has not ended is heard at once; what the others say waits, beyond a little in a file.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::event::{Event, Listener, Stream};
use crate::image::digest::Digest;
use crate::sys::flow::{Inflow, read_most};

/// What a stage may have said before it goes into a file, or before it waits to be heard.
const PATIENCE_BYTES: usize = 64 << 10;

/// What each stage has said and nobody has heard yet.
pub struct Lanes<'a> {
    lanes: Mutex<State>,
    changed: Condvar,
    /// Gives an empty file that has no name.
    file: &'a (dyn Fn() -> Result<File> + Sync),
}

struct State {
    lanes: Vec<Lane>,
    /// The one that is heard.
    live: usize,
}

#[derive(Default)]
struct Lane {
    /// What came first, if there was too much.
    spilled: Option<File>,
    bytes: Vec<u8>,
    is_closed: bool,
}

impl<'a> Lanes<'a> {
    /// Lanes for so many stages.
    pub fn new(count: usize, file: &'a (dyn Fn() -> Result<File> + Sync)) -> Lanes<'a> {
        let lanes = std::iter::repeat_with(Lane::default).take(count).collect();
        Lanes { lanes: Mutex::new(State { lanes, live: 0 }), changed: Condvar::new(), file }
    }

    /// The listener of one stage.
    pub fn listener(&self, at: usize) -> LaneListener<'_> {
        LaneListener { lanes: self, at }
    }

    /// The stage says no more.
    pub fn close(&self, at: usize) {
        if let Some(lane) = self.lock().lanes.get_mut(at) {
            lane.is_closed = true;
        }
        self.changed.notify_all();
    }

    /// Tells what the stages say, in their order, until the last one is closed; `is_over` ends it
    /// after a stage. What cannot be read back is lost, and not the build.
    pub fn tell(&self, listener: &mut dyn Listener, is_over: &dyn Fn(usize) -> bool) {
        let count = self.lock().lanes.len();
        for at in 0..count {
            while let Some((spilled, bytes)) = self.next(at) {
                let told = spilled.map_or(Ok(()), |mut file| {
                    file.rewind()?;
                    replay(&mut std::io::BufReader::new(file), listener)
                });
                if let Err(error) = told.and_then(|()| replay(&mut bytes.as_slice(), listener)) {
                    log::warn!("a part of a stage's log is lost: {error}");
                }
            }
            if is_over(at) {
                break;
            }
        }
    }

    /// Waits for what the stage says next; nothing when it is closed.
    fn next(&self, at: usize) -> Option<(Option<File>, Vec<u8>)> {
        let mut state = self.lock();
        state.live = at;
        // Whoever has waited to be heard is heard from now on.
        self.changed.notify_all();
        loop {
            let lane = state.lanes.get_mut(at)?;
            if !lane.bytes.is_empty() || lane.spilled.is_some() {
                return Some((lane.spilled.take(), std::mem::take(&mut lane.bytes)));
            }
            if lane.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what one stage says.
pub struct LaneListener<'a> {
    lanes: &'a Lanes<'a>,
    at: usize,
}

impl Listener for LaneListener<'_> {
    fn event(&mut self, event: &Event<'_>) {
        let mut state = self.lanes.lock();
        loop {
            let live = state.live;
            let Some(lane) = state.lanes.get_mut(self.at) else { return };
            if lane.bytes.len() < PATIENCE_BYTES {
                write(event, &mut lane.bytes);
                break;
            }
            if live != self.at {
                lane.spill(self.lanes.file);
                continue;
            }
            state = self.lanes.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.live == self.at {
            self.lanes.changed.notify_all();
        }
    }
}

impl Lane {
    /// What cannot be put by is lost: the build is worth more than its log.
    fn spill(&mut self, file: &dyn Fn() -> Result<File>) {
        if self.spilled.is_none() {
            self.spilled = file().ok();
        }
        let written = self.spilled.as_mut().map(|file| file.write_all(&self.bytes));
        if !matches!(written, Some(Ok(()))) {
            log::warn!("{} bytes of a stage's log are lost: there is no room", self.bytes.len());
        }
        self.bytes.clear();
    }
}

/// One event as bytes: what it is, the length of the rest, two numbers, and the text.
fn write(event: &Event<'_>, into: &mut Vec<u8>) {
    let (kind, numbers, text): (u8, [u64; 2], &[u8]) = match event {
        Event::Step { number, total, text } => {
            (b's', [*number as u64, *total as u64], text.as_bytes())
        }
        Event::Triggers { count } => (b't', [*count as u64, 0], b""),
        Event::Cached => (b'c', [0, 0], b""),
        Event::NotCached { why } => (b'n', [0, 0], why.as_bytes()),
        Event::Running { id } => (b'r', [0, 0], id.as_bytes()),
        Event::Output { stream, bytes } => (b'o', [u64::from(*stream == Stream::Err), 0], bytes),
        Event::Removed { id } => (b'x', [0, 0], id.as_bytes()),
        Event::StepDone { image } => (b'd', [0, 0], image.bytes()),
        Event::Moved { what, done_bytes, total_bytes } => {
            (b'm', [*done_bytes, total_bytes.unwrap_or(u64::MAX)], what.as_bytes())
        }
        Event::Pulling { name } => (b'p', [0, 0], name.as_bytes()),
        Event::Warning { text } => (b'w', [0, 0], text.as_bytes()),
        // Of the whole build, not of a stage.
        Event::Findings { .. } | Event::Built { .. } | Event::Tagged { .. } => return,
    };
    into.push(kind);
    into.extend_from_slice(&(text.len() as u64).to_le_bytes());
    for number in numbers {
        into.extend_from_slice(&number.to_le_bytes());
    }
    into.extend_from_slice(text);
}

/// Tells the events that were written, one after the other.
fn replay(from: &mut dyn Inflow, listener: &mut dyn Listener) -> Result<()> {
    let mut payload = Vec::new();
    loop {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(());
        }
        let mut number = || -> Result<u64> {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        };
        let (length, first, second) = (number()?, number()?, number()?);
        payload.clear();
        read_most(from, length, &mut payload)?;
        // Only `Output` and `StepDone` are not text.
        let text = std::str::from_utf8(&payload).unwrap_or_default();
        let image;
        let event = match kind {
            [b's'] => Event::Step { number: first as usize, total: second as usize, text },
            [b't'] => Event::Triggers { count: first as usize },
            [b'c'] => Event::Cached,
            [b'n'] => Event::NotCached { why: text },
            [b'r'] => Event::Running { id: text },
            [b'o'] => {
                let stream = if first == 0 { Stream::Out } else { Stream::Err };
                Event::Output { stream, bytes: &payload }
            }
            [b'x'] => Event::Removed { id: text },
            [b'p'] => Event::Pulling { name: text },
            [b'd'] => {
                let bytes = payload.as_slice().try_into();
                image = Digest::from_bytes(bytes.map_err(|_| Error::corrupt("a stage's log"))?);
                Event::StepDone { image: &image }
            }
            [b'm'] => {
                let total_bytes = (second != u64::MAX).then_some(second);
                Event::Moved { what: text, done_bytes: first, total_bytes }
            }
            _ => Event::Warning { text },
        };
        listener.event(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(String);

    impl Listener for Heard {
        fn event(&mut self, event: &Event<'_>) {
            match event {
                // Output comes in pieces of any size.
                Event::Output { bytes, .. } => self.0.push_str(&String::from_utf8_lossy(bytes)),
                other => self.0.push_str(&format!("{other:?}\n")),
            }
        }
    }

    fn file() -> Result<File> {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        Ok(File::from(rustix::fs::open(std::env::temp_dir(), flags, mode)?))
    }

    fn say(listener: &mut dyn Listener, stage: usize) {
        let text = format!("RUN stage {stage}");
        listener.event(&Event::Step { number: stage + 1, total: 9, text: &text });
        listener.event(&Event::Running { id: "0123456789ab" });
        for line in 0..5000 {
            let line = format!("{stage}: line {line} of many that are longer than a lane keeps\n");
            let stream = if stage == 0 { Stream::Out } else { Stream::Err };
            listener.event(&Event::Output { stream, bytes: line.as_bytes() });
        }
        listener.event(&Event::Moved { what: "copy", done_bytes: 5, total_bytes: None });
        listener.event(&Event::Moved { what: "copy", done_bytes: 6, total_bytes: Some(7) });
        listener.event(&Event::Pulling { name: "a:b" });
        listener.event(&Event::Warning { text: "beware" });
        listener.event(&Event::Removed { id: "0123456789ab" });
        listener.event(&Event::Triggers { count: stage + 1 });
        listener.event(&Event::NotCached { why: "it is new" });
        listener.event(&Event::Cached);
        listener.event(&Event::StepDone { image: &Digest::of(text.as_bytes()) });
    }

    #[test]
    fn stages_are_heard_one_after_the_other() {
        let mut wanted = Heard::default();
        for stage in 0..3 {
            say(&mut wanted, stage);
        }
        let lanes = Lanes::new(3, &file);
        let mut heard = Heard::default();
        std::thread::scope(|scope| {
            for stage in (0..3).rev() {
                let lanes = &lanes;
                scope.spawn(move || {
                    say(&mut lanes.listener(stage), stage);
                    lanes.close(stage);
                });
            }
            lanes.tell(&mut heard, &|_| false);
        });
        assert_eq!(heard.0, wanted.0);
    }

    #[test]
    fn after_the_stage_that_failed_nobody_is_heard() {
        let lanes = Lanes::new(2, &file);
        for stage in 0..2 {
            lanes.listener(stage).event(&Event::Warning { text: &stage.to_string() });
            lanes.close(stage);
        }
        let mut heard = Heard::default();
        lanes.tell(&mut heard, &|stage| stage == 0);
        assert_eq!(heard.0, "Warning { text: \"0\" }\n");
    }

    #[test]
    fn a_log_without_room_loses_lines_and_nothing_else() {
        let none = || Err(Error::usage("no room"));
        let lanes = Lanes::new(2, &none);
        say(&mut lanes.listener(1), 1);
        lanes.close(0);
        lanes.close(1);
        let mut heard = Heard::default();
        lanes.tell(&mut heard, &|_| false);
        assert!(heard.0.contains("StepDone"), "{}", heard.0);
    }
}
