//! Who looks after a container in the background: a process of lath that writes down what the
//! program says and how it ends, and starts it again when it should. It holds the folder's lock; if
//! it is killed the program goes with it.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::health::Prober;
use super::log::{Source, Writer};
use super::relay::pair;
use super::restart::{Restart, pause};
use super::start::Launched;
use super::{Container, Side, State, control};
use crate::error::{Context, Error, Kind, Result};
use crate::sandbox::{self, Streams};
use crate::session::Session;
use crate::sys::{process, signal};

/// The first byte of what a keeper tells whoever started it: it runs, or why it does not.
const RUNS: u8 = b'+';

/// Keeps the container until it is over. `tell` hears of its first start.
pub fn keep(session: &Session, container: &Container, tell: OwnedFd) {
    let mut tell = Some(std::fs::File::from(tell));
    if let Err(error) = settle().and_then(|()| keep_on(session, container, &mut tell)) {
        log::warn!("container {}: {error}", container.record.name);
        if let Some(mut tell) = tell {
            // Whoever started it may be gone.
            let _ = tell.write_all(said(&error).as_bytes());
        }
    }
    // What cannot be removed now is swept later.
    let _ = container.go_if_brief(session);
}

/// Divides this process: the new one leaves the caller's session and does `work`, which tells by its
/// argument when that has begun; the caller waits for that only.
pub fn apart(work: &mut dyn FnMut(&mut dyn FnMut()) -> Result<()>) -> Result<Side> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(|| "pipe")?;
    if process::fork()?.is_some() {
        drop(writer);
        return hear(reader).map(|()| Side::Caller);
    }
    drop(reader);
    let mut tell = Some(std::fs::File::from(writer));
    let mut say = |text: &[u8]| {
        if let Some(mut tell) = tell.take() {
            // Whoever started it may be gone.
            let _ = tell.write_all(text);
        }
    };
    let done = settle().and_then(|()| work(&mut || say(&[RUNS])));
    if let Err(error) = done {
        say(said(&error).as_bytes());
    }
    Ok(Side::Keeper)
}

/// Waits for what a keeper tells.
pub fn hear(pipe: OwnedFd) -> Result<()> {
    let mut text = String::new();
    let heard = std::fs::File::from(pipe).read_to_string(&mut text);
    heard.context(|| "wait for the container")?;
    let mut lines = text.lines();
    let kind = match lines.next() {
        Some("+") => return Ok(()),
        Some("not found") => Kind::NotFound,
        Some("denied") => Kind::Denied,
        Some("input") => Kind::Input,
        Some(_) => Kind::System,
        None => return Err(Error::new(Kind::System, "the container's keeper was killed")),
    };
    let error = Error::new(kind, lines.next().unwrap_or_default());
    Err(lines.fold(error, |error, hint| error.hint(hint)))
}

/// An error in the lines that `hear` reads.
fn said(error: &Error) -> String {
    let kind = match error.kind() {
        Kind::NotFound => "not found",
        Kind::Denied => "denied",
        Kind::Input => "input",
        _ => "system",
    };
    let mut said = format!("{kind}\n{}\n", error.text().replace('\n', " "));
    for hint in error.hints() {
        said.push_str(&hint.replace('\n', " "));
        said.push('\n');
    }
    said
}

/// Leaves the caller's session, terminal, streams and directory.
fn settle() -> Result<()> {
    rustix::process::setsid().context(|| "setsid")?;
    let null = sandbox::null()?;
    rustix::stdio::dup2_stdin(&null).context(|| "dup2")?;
    rustix::stdio::dup2_stdout(&null).context(|| "dup2")?;
    rustix::stdio::dup2_stderr(&null).context(|| "dup2")?;
    process::close_inherited();
    rustix::process::chdir("/").context(|| "chdir /")
}

fn keep_on(
    session: &Session,
    container: &Container,
    tell: &mut Option<std::fs::File>,
) -> Result<()> {
    let mut log = Writer::open(container.folder.dir())?;
    let (mut state, mut rest) = (State::default(), Duration::ZERO);
    loop {
        let since = Instant::now();
        let started = Kept::start(session, container, &state);
        let told_to_end = match started {
            Ok((kept, running)) => {
                state = running;
                if tell.is_some() && container.record.restart != Restart::No {
                    // After a power cut it shall run again.
                    container.folder.sync_state()?;
                }
                if let Some(mut tell) = tell.take() {
                    // Whoever started it may be gone.
                    let _ = tell.write_all(&[RUNS]);
                }
                let (code, told_to_end) = kept.attend(container, &mut log, &mut state)?;
                state.code = code;
                told_to_end
            }
            // The first start is whoever's who asked for it.
            Err(error) if tell.is_some() => return Err(error),
            Err(error) => {
                state = State { error: error.text().to_owned(), code: 127, ..state };
                false
            }
        };
        let is_over = told_to_end
            || container.folder.has_mark(control::STOPPED)
            || !container.record.restart.again(state.code, state.restarts);
        rest = pause(rest, since.elapsed());
        if is_over || !wait(container, rest)? {
            return Ok(());
        }
        state.restarts += 1;
    }
}

/// Waits before the next start; false when there shall be none.
fn wait(container: &Container, time: Duration) -> Result<bool> {
    const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let until = Instant::now() + time;
    while Instant::now() < until {
        watch(&[], Some(&STEP))?;
        if signal::take().iter().any(|number| signal::ENDING.contains(number))
            || container.folder.has_mark(control::STOPPED)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A program that runs, and where what it says comes from.
struct Kept {
    launched: Launched,
    sources: Vec<(Source, OwnedFd)>,
    /// Stays open, so that the program's input does not end between two that attach.
    _input: Option<OwnedFd>,
}

impl Kept {
    fn start(session: &Session, container: &Container, before: &State) -> Result<(Kept, State)> {
        if container.record.flags.tty {
            let (here, there) = pair()?;
            let streams = Streams::Terminal(there.as_fd());
            let (launched, state) = container.launch(session, streams, before)?;
            let terminal = sandbox::receive(here.as_fd())?;
            let state = State { input: terminal.as_raw_fd(), ..state };
            container.says(&state)?;
            let sources = vec![(Source::Out, terminal)];
            return Ok((Kept { launched, sources, _input: None }, state));
        }
        let pipe = || pipe_with(PipeFlags::CLOEXEC).context(|| "pipe");
        let ((out, out_inside), (errors, errors_inside)) = (pipe()?, pipe()?);
        let (inside, input) = match container.record.flags.interactive {
            true => pipe().map(|(inside, input)| (inside, Some(input)))?,
            false => (sandbox::null()?, None),
        };
        let streams = Streams::Files([inside.as_fd(), out_inside.as_fd(), errors_inside.as_fd()]);
        let (launched, mut state) = container.launch(session, streams, before)?;
        if let Some(input) = &input {
            state.input = input.as_raw_fd();
            container.says(&state)?;
        }
        let sources = vec![(Source::Out, out), (Source::Err, errors)];
        Ok((Kept { launched, sources, _input: input }, state))
    }

    /// Writes down what it says until it ends. The exit code, and whether the machine wants
    /// everybody to end: then it is asked to, and killed when it does not.
    fn attend(
        self,
        container: &Container,
        log: &mut Writer,
        state: &mut State,
    ) -> Result<(i32, bool)> {
        const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        // After that long without a word nothing more is expected soon.
        const QUIET: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut is_quiet = false;
        let pid = self.launched.running.pid;
        let (mut sources, mut end_by) = (self.sources, None);
        let mut buffer = vec![0u8; 16 << 10];
        let mut prober = Prober::new(container, state);
        if prober.is_some() {
            container.says(state)?;
        }
        loop {
            let files: Vec<_> = sources.iter().map(|(_, file)| file.as_fd()).collect();
            // Nobody wakes up for nothing.
            let wait = if is_quiet { None } else { Some(QUIET) };
            let wait = end_by.map(|_| STEP).or(wait);
            let check = prober.as_ref().and_then(|prober| Timespec::try_from(prober.idle()).ok());
            let wait = wait.into_iter().chain(check).min_by_key(|wait| (wait.tv_sec, wait.tv_nsec));
            let ready = watch(&files, wait.as_ref())?;
            is_quiet = !ready.contains(&true);
            if is_quiet {
                process::let_go_of_code();
            }
            let mut closed = Vec::new();
            for (at, (source, file)) in sources.iter().enumerate() {
                if ready.get(at) == Some(&true) && !log.take(*source, file, &mut buffer) {
                    closed.push(at);
                }
            }
            for at in closed.into_iter().rev() {
                sources.remove(at);
            }
            if signal::take().iter().any(|number| signal::ENDING.contains(number))
                && end_by.is_none()
            {
                process::kill(pid, container.record.stop_signal);
                let time = Duration::from_secs(container.record.stop_timeout);
                end_by = Some(Instant::now() + time);
            }
            if end_by.is_some_and(|end| Instant::now() >= end) {
                process::kill(pid, libc::SIGKILL);
            }
            if let Some(prober) = &mut prober
                && prober.tick(container, state)
            {
                container.says(state)?;
            }
            if let Some(code) = process::ended(pid)? {
                // What it said last is still in the pipes; nobody else writes to them any more.
                for (source, file) in &sources {
                    while !watch_none(file)? && log.take(*source, file, &mut buffer) {}
                }
                state.code = code;
                container.ended(state, &self.launched)?;
                return Ok((code, end_by.is_some()));
            }
        }
    }
}

/// Waits until one of these files can be read or a signal comes. Which can be read.
pub(super) fn watch(files: &[BorrowedFd<'_>], time: Option<&Timespec>) -> Result<Vec<bool>> {
    let mut watched: Vec<PollFd<'_>> =
        files.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect();
    let pipe = signal::pipe();
    watched.extend(pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    match poll(&mut watched, time) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(other) => return Err(other).context(|| "poll"),
    }
    Ok(watched.iter().map(|file| !file.revents().is_empty()).collect())
}

/// Whether there is nothing to read just now.
fn watch_none(file: &OwnedFd) -> Result<bool> {
    let mut watched = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(count) => Ok(count == 0),
        Err(Errno::INTR) => Ok(true),
        Err(other) => Err(other).context(|| "poll"),
    }
}

/// A process by its number, if that is one.
pub fn process_of(number: i32) -> Option<Pid> {
    Pid::from_raw(number).filter(|_| number > 0)
}
