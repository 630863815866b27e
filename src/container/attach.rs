//! Somebody comes to a container in the background: sees what it says from now on, and types to it.
//!
//! What it says is read from its log. What is typed goes by a copy of the descriptor that its keeper
//! has (pidfd_getfd(2), kernel 5.6), so that the keeper has nothing to do with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::process::{ForeignRawFd, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::log::{Follower, Source};
use super::relay::{Raw, resize};
use super::{Container, State, keeper};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::fs::write_all;
use crate::sys::process::parent;
use crate::sys::signal;

/// How somebody comes.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What is typed goes in, if the container takes that.
    pub types: bool,
    /// Signals that this process gets are for the program.
    pub hands_signals_on: bool,
}

/// How somebody has left.
pub enum Left {
    /// The program has ended; its exit code.
    Ended(i32),
    /// By the keys for that: it runs on.
    Detached,
}

/// Stays until the program ends, or the keys Ctrl-P and Ctrl-Q are typed on a terminal.
pub fn attach(container: &Container, manner: Manner) -> Result<Left> {
    let (is_running, state) = container.state()?;
    if !is_running {
        let text =
            format!("container {} does not run, and cannot be attached to", container.record.name);
        return Err(Error::new(Kind::Conflict, text).hint("start it with lath start first"));
    }
    let flags = container.record.flags;
    let input = match state.input {
        0 => None,
        number => Some(input_of(container, &state, number)?),
    };
    let mut types = manner.types && flags.interactive && input.is_some();
    let raw = Raw::begin(flags.tty && types)?;
    let mut log = Follower::from_now(container)?;
    let news = news_of(container);
    let (mut keys, mut buffer) = (Keys::default(), vec![0u8; 16 << 10]);
    if let Some(terminal) = input.as_ref().filter(|_| flags.tty) {
        resize(terminal.as_fd());
    }
    loop {
        // Asked before the last look: what comes after that comes from nobody.
        let now = container.state();
        let is_over = !matches!(&now, Ok((true, now)) if now.pid == state.pid);
        while log.take(&mut |entry| show(entry.source, entry.text, entry.is_whole))? {}
        if is_over {
            drop(raw);
            // Also of one that has gone with its program (`--rm`).
            return Ok(Left::Ended(State::parse(&container.folder.state()?).code));
        }
        let typed = watch(news.as_ref(), types.then(std::io::stdin))?;
        if typed && let Some(input) = &input {
            let count = match rustix::io::read(std::io::stdin(), &mut buffer[..]) {
                Err(Errno::INTR | Errno::AGAIN) => continue,
                other => other.unwrap_or(0),
            };
            types = count > 0;
            let bytes = buffer.get(..count).unwrap_or_default();
            let (bytes, leaves) = match flags.tty {
                true => keys.pass(bytes),
                false => (bytes.to_vec(), false),
            };
            // A program that has closed its input hears nothing, and may run on.
            types &= write_all(input.as_fd(), &bytes).is_ok();
            if leaves {
                return Ok(Left::Detached);
            }
        }
        for number in signal::take() {
            match (number, &input) {
                (libc::SIGWINCH, Some(terminal)) if flags.tty => resize(terminal.as_fd()),
                (libc::SIGWINCH | libc::SIGCHLD, _) => {}
                _ if manner.hands_signals_on => {
                    signal::forget();
                    container.signal(number)?;
                }
                _ => signal::check()?,
            }
        }
    }
}

/// A copy of the keeper's descriptor. The keeper is the parent of the program, which is that one.
fn input_of(container: &Container, state: &State, number: i32) -> Result<OwnedFd> {
    let program = keeper::process_of(state.pid).ok_or_else(|| container.is_not_running())?;
    let keeper = parent(program).ok_or_else(|| container.is_not_running())?;
    let keeper =
        pidfd_open(keeper, PidfdFlags::empty()).context(|| "open the container's keeper")?;
    let input = pidfd_getfd(&keeper, number as ForeignRawFd, PidfdGetfdFlags::empty())
        .context(|| "get the container's input from its keeper");
    if !container.is_program(program, state)? {
        return Err(container.is_not_running());
    }
    input
}

/// Tells that something of the container's folder has changed; without it, it is looked at now and
/// then.
fn news_of(container: &Container) -> Option<OwnedFd> {
    let news =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let folder = crate::sys::mount::fd_path(container.folder.dir());
    let what =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&news, folder, what).ok()?;
    Some(news)
}

/// Waits for news, input, a signal, or a moment. Whether there is input.
fn watch(news: Option<&OwnedFd>, input: Option<std::io::Stdin>) -> Result<bool> {
    const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let input: Option<BorrowedFd<'_>> = input.as_ref().map(|input| input.as_fd());
    let files: Vec<_> = input.into_iter().chain(news.map(|news| news.as_fd())).collect();
    let ready = keeper::watch(&files, Some(&MOMENT))?;
    if let Some(news) = news {
        // What they are does not matter: all is looked at.
        let mut events = [0u8; 4096];
        while rustix::io::read(news, &mut events[..]).is_ok_and(|count| count > 0) {}
    }
    Ok(input.is_some() && ready.first() == Some(&true))
}

/// Shows an entry where it belongs. Whoever has gone sees nothing; the program's end is what counts.
fn show(source: Source, text: &[u8], is_whole: bool) -> Result<bool> {
    let mut bytes = text.to_vec();
    if is_whole {
        bytes.push(b'\n');
    }
    let _ = match source {
        Source::Out => write_all(std::io::stdout().as_fd(), &bytes),
        Source::Err => write_all(std::io::stderr().as_fd(), &bytes),
    };
    Ok(true)
}

/// Looks for docker's keys to leave: Ctrl-P, Ctrl-Q.
#[derive(Default)]
struct Keys {
    has_begun: bool,
}

impl Keys {
    const BEGIN: u8 = 0x10;
    const END: u8 = 0x11;

    /// What of this is for the program, and whether the keys were in it.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for byte in typed {
            match (std::mem::take(&mut self.has_begun), *byte) {
                (true, Keys::END) => return (passed, true),
                (had_begun, byte) => {
                    if had_begun {
                        passed.push(Keys::BEGIN);
                    }
                    self.has_begun = byte == Keys::BEGIN;
                    if !self.has_begun {
                        passed.push(byte);
                    }
                }
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_to_leave_are_found_wherever_they_are_cut() {
        let mut keys = Keys::default();
        assert_eq!(keys.pass(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.pass(b"c\x10\x10"), (b"\x10c\x10".to_vec(), false));
        assert_eq!(keys.pass(b"\x11d"), (Vec::new(), true));
        assert_eq!(Keys::default().pass(b"\x11x\x10\x11y"), (b"\x11x".to_vec(), true));
    }
}
