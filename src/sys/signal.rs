//! Signals as bytes in a pipe, and a flag that long work looks at (man 7 signal-safety).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::pipe::PipeFlags;

use crate::error::{Context, Error, Kind, Result};

static INTERRUPTED: AtomicI32 = AtomicI32::new(0);
static TIMES: AtomicU32 = AtomicU32::new(0);
static WRITER: AtomicI32 = AtomicI32::new(-1);
static PIPE: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

/// The signals that end the work.
pub const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// Those that `run` hands on to the container besides the ending ones.
pub const FORWARDED: [i32; 4] = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH, libc::SIGCONT];

extern "C" fn note(signal: libc::c_int) {
    if ENDING.contains(&signal) {
        INTERRUPTED.store(signal, Ordering::Relaxed);
        // Somebody who asks for the third time means it, whatever lath is busy with.
        if TIMES.fetch_add(1, Ordering::Relaxed) >= 2 {
            // SAFETY: _exit(2) is async-signal-safe and takes no pointers.
            unsafe { libc::_exit(128 + signal) };
        }
    }
    let fd = WRITER.load(Ordering::Relaxed);
    let byte = signal.to_le_bytes();
    if fd >= 0 {
        // SAFETY: write(2) is async-signal-safe; the buffer lives on this stack. A full pipe
        // loses the byte, and then whoever reads it is awake anyway.
        unsafe { libc::write(fd, byte.as_ptr().cast(), 1) };
    }
}

/// Begins to watch the ending signals, the forwarded ones and SIGCHLD. Call it once.
pub fn watch() -> Result<()> {
    if PIPE.get().is_none() {
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).context(|| "pipe")?;
        WRITER.store(writer.as_raw_fd(), Ordering::Relaxed);
        // Lost only to a second caller, who then uses the first one's pipe.
        let _ = PIPE.set((reader, writer));
    }
    for signal in ENDING.into_iter().chain(FORWARDED).chain([libc::SIGCHLD]) {
        // SAFETY: sigaction(2) with a zeroed, then filled struct; the handler only does what
        // man 7 signal-safety allows. An ignored signal (nohup) stays ignored.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut old);
            if old.sa_sigaction == libc::SIG_IGN && signal != libc::SIGCHLD {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
    Ok(())
}

/// After a fork: a pipe of this process's own in place of the one that it shares with its parent.
#[cfg(feature = "containers")]
pub(super) fn renew() -> Result<()> {
    use std::os::fd::FromRawFd;
    let Some((reader, writer)) = PIPE.get() else { return Ok(()) };
    let new =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).context(|| "pipe")?;
    for (from, onto) in [(&new.0, reader), (&new.1, writer)] {
        // SAFETY: the number belongs to `PIPE`, which lives as long as the process; the second
        // owner of it, which dup3 wants, is forgotten and closes nothing.
        let mut onto =
            std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(onto.as_raw_fd()) });
        rustix::io::dup3(from, &mut onto, rustix::io::DupFlags::CLOEXEC).context(|| "dup3")?;
    }
    INTERRUPTED.store(0, Ordering::Relaxed);
    TIMES.store(0, Ordering::Relaxed);
    Ok(())
}

/// Becomes readable when a watched signal has come.
pub fn pipe() -> Option<BorrowedFd<'static>> {
    PIPE.get().map(|(reader, _)| reader.as_fd())
}

/// The signals that have come since the last call.
pub fn take() -> Vec<i32> {
    let mut bytes = [0u8; 64];
    let count = pipe().and_then(|reader| rustix::io::read(reader, &mut bytes).ok()).unwrap_or(0);
    bytes.iter().take(count).map(|byte| i32::from(*byte)).collect()
}

/// The ending signal that has come, if one has.
pub fn interrupted() -> Option<i32> {
    let signal = INTERRUPTED.load(Ordering::Relaxed);
    (signal != 0).then_some(signal)
}

/// Forgets an ending signal: `run` hands it on and goes by its child's end instead.
pub fn forget() {
    INTERRUPTED.store(0, Ordering::Relaxed);
    TIMES.store(0, Ordering::Relaxed);
}

/// An error when an ending signal has come; long loops call it once a buffer.
pub fn check() -> Result<()> {
    match interrupted() {
        None => Ok(()),
        Some(signal) => Err(Error::new(Kind::Interrupted(signal), "interrupted")),
    }
}

/// Gives all signals their default action; for a child before exec.
pub(super) fn reset_all() {
    for signal in 1..=64 {
        // SAFETY: sets the default action with a zeroed struct (SIG_DFL is 0); fails harmlessly
        // for SIGKILL and SIGSTOP.
        unsafe {
            let action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// All signals blocked until it is dropped.
pub struct Blocked(libc::sigset_t);

impl Blocked {
    /// Blocks them.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Blocked {
        // SAFETY: sigfillset and pthread_sigmask write into structs of this frame.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut old: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
            Blocked(old)
        }
    }

    /// Waits for the next signal: its number, and whether a process has sent it (sigwaitinfo(2)).
    #[cfg(feature = "containers")]
    pub fn next(&self) -> (i32, bool) {
        // SAFETY: both structs are of this frame; the set is filled before it is read.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut about: libc::siginfo_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            // An interrupted wait looks like a child's end: its caller looks for those anyway.
            match libc::sigwaitinfo(&raw const all, &raw mut about) {
                number if number > 0 => (number, about.si_code <= 0),
                _ => (libc::SIGCHLD, false),
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: restores a mask that `new` got from the kernel.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}

/// Unblocks every signal; for a child before exec.
pub(super) fn unblock_all() {
    // SAFETY: an empty set of this frame.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
