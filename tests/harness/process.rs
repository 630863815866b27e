//! Programs with an end: started, fed, read, signalled, and killed when they take too long.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// No call of a test takes longer on a machine that works.
const TOO_LONG: Duration = Duration::from_secs(180);
/// How long the output of a process that is gone may stay open.
const STILL_OPEN: Duration = Duration::from_secs(10);

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Output {
    /// The exit code, 128+n after signal n, as a shell has it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    called: String,
}

impl Output {
    /// Wants exit code 0.
    #[track_caller]
    pub fn success(self) -> Output {
        assert!(self.code == 0, "{self}");
        self
    }

    /// Wants this exit code and an error on standard error, not a panic; gives that.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        assert!(self.code == code, "wanted exit code {code}: {self}");
        assert!(!self.stderr.trim().is_empty(), "it fails without a word: {self}");
        assert!(!self.stderr.contains("panicked at"), "{self}");
        self.stderr
    }

    /// The steps of a build's plain log: the words of each, and whether it came from the cache.
    pub fn steps(&self) -> Vec<(String, bool)> {
        let mut steps: Vec<(String, bool)> = Vec::new();
        for line in self.stdout.lines() {
            if let Some((_, words)) =
                line.strip_prefix("Step ").and_then(|rest| rest.split_once(" : "))
            {
                steps.push((words.to_owned(), false));
            } else if line == " ---> Using cache" {
                steps.last_mut().expect("a step before its result").1 = true;
            }
        }
        steps
    }

    /// The words of the steps that came from the cache.
    pub fn cached(&self) -> Vec<String> {
        self.steps().into_iter().filter(|(_, cached)| *cached).map(|(words, _)| words).collect()
    }

    /// The short id that a build ends with.
    #[track_caller]
    pub fn built(&self) -> String {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix("Successfully built "));
        line.unwrap_or_else(|| panic!("no image was built: {self}")).to_owned()
    }

    /// Both streams.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { code, stdout, stderr, called } = self;
        write!(f, "{called}\nexit code {code}\n-- stdout\n{stdout}-- stderr\n{stderr}")
    }
}

/// A program that runs.
pub struct Running {
    child: Child,
    called: String,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    since: Instant,
}

impl Running {
    /// Starts a program in a process group of its own, as a shell does, with nothing on stdin.
    pub fn start(command: &mut Command) -> Running {
        Running::feed(command, &[])
    }

    fn feed(command: &mut Command, input: &[u8]) -> Running {
        use std::os::unix::process::CommandExt;
        let called = format!("{command:?}");
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        let mut own = own_children();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{called}: {error}"));
        own.insert(child.id());
        drop(own);
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // Whoever does not read all of it says so by its exit code.
            thread::spawn(move || drop(stdin.write_all(&input)));
        }
        Running { child, called, stdout, stderr, since: Instant::now() }
    }

    /// The most memory that it has had so far, in KB, as the kernel counts it; without the pages of
    /// its program, of which one for debugging has many.
    pub fn peak(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
        };
        field("VmHWM:") - field("RssFile:")
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to this one process.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Sends a signal to all of its process group, as Ctrl-C on a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process_group(pid, signal).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the condition holds; a program that ends before is a failure.
    #[track_caller]
    pub fn until(mut self, what: &str, mut holds: impl FnMut() -> bool) -> Running {
        while !holds() {
            if self.has_ended() || self.since.elapsed() > TOO_LONG {
                panic!("waited in vain for {what}: {}", self.wait());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if self.since.elapsed() > TOO_LONG {
                self.signal_group(Signal::KILL);
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        own_children().remove(&self.child.id());
        let read = |stream: &Receiver<Vec<u8>>| stream.recv_timeout(STILL_OPEN);
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let Some(status) = status else { panic!("{}: no end after {TOO_LONG:?}", self.called) };
        let (Ok(stdout), Ok(stderr)) = (stdout, stderr) else {
            panic!("{}: ended, but something holds its output open", self.called)
        };
        Output {
            code: code(status),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            called: self.called,
        }
    }
}

/// Runs a command to its end with these bytes on standard input.
#[track_caller]
pub fn finish(command: &mut Command, input: &[u8]) -> Output {
    Running::feed(command, input).wait()
}

/// Runs a program of this machine and wants it to work; gives its standard output.
#[track_caller]
pub fn host(program: &str, args: &[&str]) -> String {
    finish(Command::new(program).args(args), &[]).success().stdout
}

/// The same with bytes on standard input.
#[track_caller]
pub fn host_with(program: &str, args: &[&str], input: &[u8]) -> String {
    finish(Command::new(program).args(args), input).success().stdout
}

/// The process that waits for this one, if this one is there: for the program of a container in the
/// background, its keeper.
pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Kilobytes of memory that a process has, its share of what it shares (proc(5), smaps_rollup).
pub fn pss(pid: i32) -> u64 {
    let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let mut lines = memory.lines();
    let pss = lines.find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
    pss.unwrap().parse().unwrap()
}

/// Waits until the condition holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that the tests themselves have started and wait for.
pub fn own_children() -> MutexGuard<'static, BTreeSet<u32>> {
    static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
}

fn drain(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || -> io::Result<()> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        drop(sender.send(bytes));
        Ok(())
    });
    receiver
}
