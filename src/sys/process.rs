//! Children in namespaces of their own: clone(2) without copying memory, and execve(2).

use std::ffi::{CStr, CString};
use std::os::raw::{c_int, c_void};
use std::panic::AssertUnwindSafe;

use rustix::io::Errno;
use rustix::process::Pid;

use super::signal;
use crate::error::{Context, Error, Result};

/// Enough for a child's few frames.
const STACK: usize = 256 << 10;

/// The namespaces of a child (clone(2), CLONE_NEW*).
#[derive(Clone, Copy, Debug)]
pub enum Namespaces {
    /// Those of this process, and the pid namespace that it has chosen for its children.
    Same,
    /// New ones: mount, pid, ipc and uts.
    New {
        /// Its own network too: none but a loopback.
        network: bool,
    },
}

struct Job<'a> {
    child: &'a mut dyn FnMut() -> Error,
    error: Option<Error>,
}

extern "C" fn enter(job: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes a `Job` of its own frame, and waits (CLONE_VFORK) until this child
    // has exec'd or ended, so nobody else uses it meanwhile.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    // With panic=abort this only keeps an unwinding debug build off the foreign frame.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        signal::reset_all();
        (job.child)()
    }));
    job.error = Some(ended.unwrap_or_else(|_| Error::unsupported("the child panicked")));
    127
}

/// Starts a child, in new namespaces as pid 1 there. `child` runs in it,
/// sharing this process's memory until it execs; it returns only when it could not, and says why.
/// Signals are blocked until `exec`; the caller is suspended meanwhile. (clone(2): CLONE_VM and
/// CLONE_VFORK, which save copying the page tables.)
pub fn spawn(namespaces: Namespaces, child: &mut dyn FnMut() -> Error) -> Result<Pid> {
    let mut stack = vec![0u8; STACK];
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    if let Namespaces::New { network } = namespaces {
        flags |= libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        flags |= if network { libc::CLONE_NEWNET } else { 0 };
    }
    let mut job = Job { child, error: None };
    let blocked = signal::Blocked::new();
    // SAFETY: the stack outlives the child's use of it, since CLONE_VFORK suspends this thread
    // until the child execs or ends; its top is aligned to 16; `job` lives as long. The child
    // shares the memory but has its own files, directories and signal actions (no CLONE_FILES,
    // CLONE_FS, CLONE_SIGHAND), and makes no call that libc would hand to other threads.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK);
        let top = top.sub(top as usize % 16);
        libc::clone(enter, top.cast(), flags, (&raw mut job).cast())
    };
    let failed = std::io::Error::last_os_error();
    drop(blocked);
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        let error = Error::from(failed).during("start a process in new namespaces");
        return Err(error.hint(
            "this needs root and CONFIG_NAMESPACES, CONFIG_PID_NS, CONFIG_IPC_NS, CONFIG_UTS_NS, for --network none CONFIG_NET_NS",
        ));
    };
    match job.error {
        None => Ok(pid),
        Some(error) => {
            wait(pid)?;
            Err(error)
        }
    }
}

/// Divides this process in two (fork(2)): the child gets `None`. The caller has no other threads.
/// The child hears of its own signals only.
#[cfg(feature = "containers")]
pub fn fork() -> Result<Option<Pid>> {
    // SAFETY: with one thread the child is a whole copy, whose locks are all free; the caller
    // promises that there is one.
    match unsafe { libc::fork() } {
        0 => signal::renew().map(|()| None),
        pid if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(std::io::Error::last_os_error()).context(|| "fork"),
    }
}

/// Starts a process that is a copy of this one, does `work` and ends. It leaves the caller's session, and
/// what it hears of signals is their default. The caller has no other threads.
#[cfg(feature = "bridge")]
pub fn helper(work: &mut dyn FnMut() -> Result<()>) -> Result<Pid> {
    if let Some(pid) = fork()? {
        return Ok(pid);
    }
    signal::reset_all();
    let done = rustix::process::setsid().context(|| "setsid").and_then(|_| work());
    let code = match done {
        Ok(()) => 0,
        Err(error) => {
            log::warn!("{error}");
            1
        }
    };
    // SAFETY: _exit(2) takes a number. Nothing that the caller has begun may be ended here, so nothing
    // is dropped or flushed.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor but these, and points the three streams at nothing. For a process that uses
/// nothing else any more.
#[cfg(feature = "bridge")]
pub fn close_all_but(kept: &[std::os::fd::RawFd]) {
    const MANY: i32 = 4096;
    // SAFETY: the caller uses no other descriptors from now on, so nobody misses one or closes a number
    // that has become somebody else's.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..MANY {
            match fd {
                0..=2 if null >= 0 => drop(libc::dup2(null, fd)),
                _ if kept.contains(&fd) => {}
                _ => drop(libc::close(fd)),
            }
        }
    }
}

/// Closes what this process has got from whoever started it, but the three streams: lath's own
/// descriptors are all close-on-exec.
#[cfg(feature = "containers")]
pub fn close_inherited() {
    const MANY: i32 = 4096;
    for fd in 3..MANY {
        // SAFETY: asks for a number's flags; closes only what no owner in this program has.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == 0 {
                libc::close(fd);
            }
        }
    }
}

/// Gives the memory back that holds the program's code; what is needed again is read again
/// (madvise(2), MADV_DONTNEED). For a process that does little for long.
#[cfg(feature = "containers")]
pub fn let_go_of_code() {
    #[cfg(target_env = "musl")]
    {
        // Where the linker has put the code (ld's PROVIDE symbols).
        unsafe extern "C" {
            static __executable_start: u8;
            static etext: u8;
        }
        let page = rustix::param::page_size();
        let start = (&raw const __executable_start).addr().next_multiple_of(page);
        let end = (&raw const etext).addr();
        let length = end.saturating_sub(start) / page * page;
        // SAFETY: whole pages of a private mapping of a file that nobody writes to: they are read
        // from the file again. On failure they only stay.
        unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Keeps others from looking into this process's memory and files through /proc, root in a container
/// among them (prctl(2), PR_SET_DUMPABLE). A program that it executes can be looked at again.
#[cfg(feature = "containers")]
pub fn hide_from_proc() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

/// When a process began, in ticks after boot (proc(5), the 22nd field of stat); `None` when there is
/// no such process.
pub fn began(pid: Pid) -> Option<u64> {
    stat(pid, 19)
}

/// Who has started a process; `None` when there is no such process.
#[cfg(feature = "containers")]
pub fn parent(pid: Pid) -> Option<Pid> {
    Pid::from_raw(stat(pid, 1)?.try_into().ok()?)
}

/// A field of a process's line of numbers, from the third of all on (proc(5), stat).
fn stat(pid: Pid, field: usize) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The second field is the program's name and may have anything in it, also `)`.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(field)?.parse().ok()
}

/// How a process ended: its exit code, or 128 and the signal's number.
pub fn wait(pid: Pid) -> Result<i32> {
    loop {
        match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(code(status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(other) => return Err(other).context(|| "wait for a process"),
        }
    }
}

/// Like `wait`, but only looks: `None` while the process lives.
pub fn ended(pid: Pid) -> Result<Option<i32>> {
    match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG) {
        Ok(status) => Ok(status.map(|(_, status)| code(status))),
        Err(Errno::INTR) => Ok(None),
        Err(other) => Err(other).context(|| "wait for a process"),
    }
}

/// Bytes of memory of the largest child that has ended, and been waited for, so far; their children
/// count too (getrusage(2), RUSAGE_CHILDREN).
pub fn largest_child() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills it, and zeroes are a value of it too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024)
}

/// A child that has ended, any of them, and how; nothing when none has.
#[cfg(feature = "containers")]
pub fn reap() -> Option<(Pid, i32)> {
    let found = rustix::process::waitpid(None, rustix::process::WaitOptions::NOHANG);
    found.ok().flatten().map(|(pid, status)| (pid, code(status)))
}

fn code(status: rustix::process::WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        _ => 1,
    }
}

/// Sends a signal by its number (kill(2)); a process that is gone is no error.
pub fn kill(pid: Pid, signal: i32) {
    // SAFETY: kill(2) takes two numbers. The child is not reaped yet, so the pid is its own.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Marks every descriptor from 3 on to be closed at exec (close_range(2), kernel 5.11; before
/// that by closing them one by one).
pub fn hide_descriptors() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: numbers only; nothing is closed while this program still uses it.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    if done != 0 {
        for fd in 3..4096 {
            // SAFETY: sets FD_CLOEXEC; fails harmlessly where no descriptor is open.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Leaves the session keyring of whoever called lath (keyctl(2)); a kernel without keys is fine.
pub fn leave_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for a new anonymous keyring.
    unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>());
    }
}

/// Where a program of this name may be, by a search path with colons (execvp(3)). A part of a word that
/// comes after a NUL byte, which none can have, is left out.
pub fn candidates(name: &[u8], path: &[u8]) -> Vec<CString> {
    let text = |bytes: &[u8]| {
        let until_nul = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        CString::new(until_nul).unwrap_or_default()
    };
    if name.contains(&b'/') {
        return vec![text(name)];
    }
    let in_dir = |dir: &[u8]| match dir {
        b"" => text(&[b"./", name].concat()),
        dir => text(&[dir, b"/", name].concat()),
    };
    path.split(|byte| *byte == b':').map(in_dir).collect()
}

/// Becomes the first of these programs that there is; returns only with the reason why none could be
/// executed: that one may not be, before that none is there.
pub fn exec_first(candidates: &[CString], argv: &[CString], env: &[CString]) -> Errno {
    let mut worst = Errno::NOENT;
    for candidate in candidates {
        match exec(candidate, argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            other => return other,
        }
    }
    worst
}

/// Becomes another program; returns only when it could not.
pub fn exec(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |words: &[CString]| {
        let mut list: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        list.push(std::ptr::null());
        list
    };
    let (argv, env) = (pointers(argv), pointers(env));
    signal::unblock_all();
    // SAFETY: both lists end with a null and point at strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_pid_1_and_its_exit_code_comes_back() {
        let words = ["/bin/sh", "-c", "exit $((40 + $$))"].map(|word| CString::new(word).unwrap());
        let pid = spawn(Namespaces::New { network: false }, &mut || {
            Error::from(exec(&words[0], &words, &[])).during("exec")
        })
        .unwrap();
        assert_eq!(wait(pid).unwrap(), 41);
    }

    #[test]
    fn a_child_that_cannot_exec_says_why() {
        let words = [CString::new("/nothing/here").unwrap()];
        let error = spawn(Namespaces::New { network: true }, &mut || {
            Error::from(exec(&words[0], &words, &[])).during("exec")
        })
        .unwrap_err();
        assert_eq!(error.text(), "exec: No such file or directory");
    }
}
