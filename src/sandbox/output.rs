//! Waiting for a process: its output, its end, and the signals meanwhile.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};
use crate::event::Stream;
use crate::sys::{process, signal};

/// How long a silent process is waited for before `each` hears of nothing.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Hands on a process's output until it ends; gives its exit code. While it says nothing `each`
/// gets no bytes now and then. An ending signal kills it and is the error then.
pub fn pump(
    pid: Pid,
    streams: [(Stream, OwnedFd); 2],
    each: &mut dyn FnMut(Stream, &[u8]),
) -> Result<i32> {
    let mut open: Vec<(Stream, OwnedFd)> = streams.into();
    let mut buffer = vec![0u8; 16 << 10];
    let mut killed = None;
    while !open.is_empty() {
        let mut watched: Vec<PollFd<'_>> =
            open.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
        let pipe = signal::pipe();
        if let Some(pipe) = &pipe {
            watched.push(PollFd::new(pipe, PollFlags::IN));
        }
        match poll(&mut watched, Some(&PAUSE)) {
            Ok(0) => each(Stream::Out, &[]),
            Ok(_) | Err(Errno::INTR) => {}
            Err(other) => {
                process::kill(pid, libc::SIGKILL);
                return Err(other).context(|| "poll");
            }
        }
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        signal::take();
        if let Some(number) = signal::interrupted()
            && killed.is_none()
        {
            process::kill(pid, libc::SIGKILL);
            killed = Some(number);
        }
        let mut closed = Vec::new();
        for (at, (stream, fd)) in open.iter().enumerate() {
            if ready.get(at) != Some(&true) {
                continue;
            }
            match rustix::io::read(fd.as_fd(), &mut buffer) {
                Ok(0) => closed.push(at),
                Ok(count) => each(*stream, buffer.get(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => closed.push(at),
            }
        }
        for at in closed.into_iter().rev() {
            open.remove(at);
        }
    }
    // A process may close its output and live on.
    let code = supervise_until_end(pid, &mut killed)?;
    match killed {
        None => Ok(code),
        Some(number) => Err(Error::new(Kind::Interrupted(number), "interrupted")),
    }
}

fn supervise_until_end(pid: Pid, killed: &mut Option<i32>) -> Result<i32> {
    loop {
        if let Some(code) = process::ended(pid)? {
            return Ok(code);
        }
        if let Some(number) = signal::interrupted()
            && killed.is_none()
        {
            process::kill(pid, libc::SIGKILL);
            *killed = Some(number);
        }
        wait_for_signal()?;
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
        let script = "sleep 0.5; echo x; exit 3";
        let mut command = Command::new("/bin/sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let streams = [
            (Stream::Out, OwnedFd::from(child.stdout.take().unwrap())),
            (Stream::Err, OwnedFd::from(child.stderr.take().unwrap())),
        ];
        let (mut pauses, mut said) = (0, Vec::new());
        let code = pump(Pid::from_child(&child), streams, &mut |_, bytes| {
            pauses += usize::from(bytes.is_empty());
            said.extend_from_slice(bytes);
        });
        // It is waited for already.
        let _ = child.wait();
        assert_eq!((code.unwrap(), said.as_slice()), (3, b"x\n".as_slice()));
        assert!(pauses >= 2, "{pauses}");
    }
}
