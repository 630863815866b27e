//! A container with the caller's terminal: what is typed goes in, what it shows comes out, and the
//! caller's terminal is as it was before at the end, whatever that is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::{Container, State};
use crate::error::{Context, Error, Kind, Result};
use crate::sandbox::{self, Streams};
use crate::session::Session;
use crate::sys::fs::write_all;
use crate::sys::{process, signal};

/// Runs a container's program on a terminal of its own, and the caller's as its other side.
pub fn run(container: &Container, session: &Session) -> Result<i32> {
    let is_interactive = container.record.flags.interactive;
    let own = Own::look(is_interactive)?;
    let (here, there) = pair()?;
    let streams = Streams::Terminal(there.as_fd());
    let (launched, mut state) = container.launch(session, streams, &State::default())?;
    let terminal = sandbox::receive(here.as_fd())?;
    let ended = own.relay(&terminal, launched.running.pid);
    state.code = *ended.as_ref().unwrap_or(&1);
    container.ended(&mut state, &launched)?;
    ended
}

/// A socket over which a terminal comes.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context(|| "socketpair")
}

/// The caller's own terminal, or what stands for it.
pub struct Own {
    is_interactive: bool,
}

impl Own {
    /// Looks whether the caller's input can be a terminal's.
    pub fn look(is_interactive: bool) -> Result<Own> {
        let is_terminal = isatty(std::io::stdin());
        if is_interactive && !is_terminal {
            return Err(Error::input("the input device is not a TTY")
                .hint("leave out -t when the input is a file or a pipe"));
        }
        Ok(Own { is_interactive })
    }

    /// Hands everything to and fro until the process ends; its exit code.
    pub fn relay(self, terminal: &OwnedFd, pid: Pid) -> Result<i32> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        let _raw = Raw::begin(self.is_interactive)?;
        resize(terminal.as_fd());
        let mut buffer = vec![0u8; 16 << 10];
        let (mut reads_input, mut is_open) = (self.is_interactive, true);
        loop {
            if let Some(code) = process::ended(pid)? {
                // What it showed last.
                while is_open && copy(terminal.as_fd(), output.as_fd(), &mut buffer)? {}
                return Ok(code);
            }
            let (typed, shown) =
                ready(reads_input.then_some(input.as_fd()), is_open.then_some(terminal.as_fd()))?;
            if shown {
                is_open = copy(terminal.as_fd(), output.as_fd(), &mut buffer)?;
            }
            if typed {
                reads_input = copy(input.as_fd(), terminal.as_fd(), &mut buffer)?;
            }
            for number in signal::take() {
                match number {
                    libc::SIGWINCH => resize(terminal.as_fd()),
                    libc::SIGCHLD => {}
                    number => {
                        process::kill(pid, number);
                        signal::forget();
                    }
                }
            }
        }
    }
}

/// The caller's terminal hands on each key as it is; as it was before when this is dropped.
pub struct Raw(Option<Termios>);

impl Raw {
    /// Begins with that, if the caller's input is a terminal and it is wanted.
    pub fn begin(is_wanted: bool) -> Result<Raw> {
        let input = std::io::stdin();
        if !is_wanted || !isatty(&input) {
            return Ok(Raw(None));
        }
        let saved = tcgetattr(&input).context(|| "read the terminal's settings")?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Drain, &raw).context(|| "set the terminal")?;
        Ok(Raw(Some(saved)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(saved) = &self.0 {
            // A terminal that has gone needs nothing.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, saved);
        }
    }
}

/// Waits for input of the two or a signal. Which of them can be read.
fn ready(typed: Option<BorrowedFd<'_>>, shown: Option<BorrowedFd<'_>>) -> Result<(bool, bool)> {
    let Some(pipe) = signal::pipe() else {
        return Err(Error::new(Kind::System, "signals are not watched"));
    };
    let mut watched = vec![PollFd::from_borrowed_fd(pipe, PollFlags::IN)];
    watched.extend(shown.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
    watched.extend(typed.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
    match poll(&mut watched, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(other) => return Err(other).context(|| "poll"),
    }
    let mut found = watched.iter().skip(1).map(|file| !file.revents().is_empty());
    let shown = shown.is_some() && found.next() == Some(true);
    Ok((typed.is_some() && found.next() == Some(true), shown))
}

/// Copies what can be read; false at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<bool> {
    match rustix::io::read(from, &mut *buffer) {
        // A terminal whose program has gone says EIO.
        Ok(0) | Err(Errno::IO) => Ok(false),
        Ok(count) => {
            let bytes = buffer.get(..count).unwrap_or_default();
            // Whoever has gone hears nothing; the program's end is what counts.
            Ok(write_all(to, bytes).is_ok())
        }
        Err(Errno::INTR | Errno::AGAIN) => Ok(true),
        Err(other) => Err(other).context(|| "read a terminal"),
    }
}

/// Gives the program's terminal the size of the caller's.
pub fn resize(terminal: BorrowedFd<'_>) {
    // Without one there is no size; the program then has none either.
    if let Ok(size) = tcgetwinsize(std::io::stdout()) {
        let _ = tcsetwinsize(terminal, size);
    }
}
