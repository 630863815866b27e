//! Waiting for a process: its output, its end, and the signals meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};
use crate::event::Stream;
use crate::sys::{process, signal};

/// How long a silent process is waited for before `each` hears of nothing.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const QUIET: Duration = Duration::from_millis(100);

/// Hands on a process's output until it ends; gives its exit code. While it says nothing `each`
/// gets no bytes now and then. An ending signal kills it and is the error then; so it is when
/// `each` says false.
pub fn pump(
    pid: Pid,
    streams: Vec<(Stream, OwnedFd)>,
    each: &mut dyn FnMut(Stream, &[u8]) -> bool,
) -> Result<i32> {
    let mut open = streams;
    let mut buffer = vec![0u8; 16 << 10];
    let mut killed = None;
    let mut is_wanted = true;
    let mut heard = Instant::now();
    while !open.is_empty() {
        let mut watched: Vec<PollFd<'_>> =
            open.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
        let pipe = signal::pipe();
        if let Some(pipe) = &pipe {
            watched.push(PollFd::new(pipe, PollFlags::IN));
        }
        match poll(&mut watched, Some(&PAUSE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(other) => {
                process::kill(pid, libc::SIGKILL);
                return Err(other).context(|| "poll");
            }
        }
        // By the clock that only goes on: signals about other children wake it up as well.
        if heard.elapsed() >= QUIET {
            heard = Instant::now();
            is_wanted &= each(Stream::Out, &[]);
        }
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        signal::take();
        kill_when_told(pid, is_wanted, &mut killed);
        let mut closed = Vec::new();
        for (at, (stream, fd)) in open.iter().enumerate() {
            if ready.get(at) != Some(&true) {
                continue;
            }
            match rustix::io::read(fd.as_fd(), &mut buffer) {
                Ok(0) => closed.push(at),
                Ok(count) => is_wanted &= each(*stream, buffer.get(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => closed.push(at),
            }
        }
        for at in closed.into_iter().rev() {
            open.remove(at);
        }
    }
    // A process may close its output and live on.
    let code = loop {
        if let Some(code) = process::ended(pid)? {
            break code;
        }
        is_wanted &= each(Stream::Out, &[]);
        kill_when_told(pid, is_wanted, &mut killed);
        wait_for_end(pid)?;
    };
    match killed {
        None => Ok(code),
        Some(number) => Err(Error::new(Kind::Interrupted(number), "interrupted")),
    }
}

fn kill_when_told(pid: Pid, is_wanted: bool, killed: &mut Option<i32>) {
    let told = signal::interrupted().or((!is_wanted).then_some(libc::SIGTERM));
    if killed.is_none() && told.is_some() {
        process::kill(pid, libc::SIGKILL);
        *killed = told;
    }
}

/// Waits a while for the end of a process. The pipe of the signals does not tell it: there may be
/// other threads with processes of their own, and one of them reads that SIGCHLD.
fn wait_for_end(pid: Pid) -> Result<()> {
    /// Where there are no process descriptors (kernel 5.3).
    const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    let flags = rustix::process::PidfdFlags::empty();
    let waited = match rustix::process::pidfd_open(pid, flags) {
        Ok(fd) => poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&PAUSE)),
        Err(_) => poll(&mut [], Some(&NAP)),
    };
    match waited {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(other) => Err(other).context(|| "poll"),
    }
}

/// Waits for a process whose streams are the caller's own, handing on each signal that comes;
/// gives its exit code.
pub fn supervise(pid: Pid) -> Result<i32> {
    loop {
        for number in signal::take() {
            if number != libc::SIGCHLD {
                process::kill(pid, number);
                signal::forget();
            }
        }
        if let Some(code) = process::ended(pid)? {
            return Ok(code);
        }
        wait_for_signal()?;
    }
}

fn wait_for_signal() -> Result<()> {
    let Some(pipe) = signal::pipe() else {
        return Err(Error::new(Kind::System, "signals are not watched"));
    };
    match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(other) => Err(other).context(|| "poll"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_silent_process_is_heard_of_now_and_then() {
        signal::watch().unwrap();
        let script = "sleep 1; echo x; exit 3";
        let mut command = Command::new("/bin/sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let streams = [
            (Stream::Out, OwnedFd::from(child.stdout.take().unwrap())),
            (Stream::Err, OwnedFd::from(child.stderr.take().unwrap())),
        ];
        let (mut pauses, mut said) = (0, Vec::new());
        let code = pump(Pid::from_child(&child), streams.into(), &mut |_, bytes| {
            pauses += usize::from(bytes.is_empty());
            said.extend_from_slice(bytes);
            true
        });
        // It is waited for already.
        let _ = child.wait();
        assert_eq!((code.unwrap(), said.as_slice()), (3, b"x\n".as_slice()));
        assert!(pauses >= 2, "{pauses}");
    }

    #[test]
    fn a_process_that_nobody_wants_any_more_is_killed() {
        signal::watch().unwrap();
        // With its output open, and closed.
        for script in ["echo x; exec sleep 100", "exec >/dev/null 2>&1; exec sleep 100"] {
            let mut command = Command::new("/bin/sh");
            let child = command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn().unwrap();
            let streams = [
                (Stream::Out, OwnedFd::from(child.stdout.take().unwrap())),
                (Stream::Err, OwnedFd::from(child.stderr.take().unwrap())),
            ];
            let ended = pump(Pid::from_child(&child), streams.into(), &mut |_, _| false);
            let _ = child.wait();
            assert_eq!(ended.unwrap_err().kind(), Kind::Interrupted(libc::SIGTERM), "{script}");
        }
    }
}
