//! The programs that make file systems for lath: found on PATH, started without a shell and with an
//! environment of their own, fed with a tar or standing in the image's root, and listened to
//! when they fail.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use rustix::process::Pid;

use super::Export;
use crate::error::{Error, Result};
use crate::sandbox::pump;
use crate::sys::flow::{Outflow, read_most};
use crate::sys::process;

/// As much as is told of what a program says.
const LONGEST: u64 = 4 << 10;

/// A program, and where it comes from.
pub struct Program {
    pub name: &'static str,
    pub hint: &'static str,
}

/// What it works on.
pub enum Input<'a> {
    /// A tar on standard input, which this writes.
    Tar(&'a mut dyn FnMut(&mut dyn Outflow) -> Result<()>),
    /// The directory that it stands in, with an empty one if it is the root of a mount.
    Directory(BorrowedFd<'a>, Option<BorrowedFd<'a>>),
}

impl Program {
    /// Runs it to its end. The words have a blank between them; `FILE` is the path. What is newer
    /// than `newest`, the file system itself among it, is told as that old.
    pub fn run(
        &self,
        export: &Export<'_>,
        words: &str,
        path: &Path,
        newest: i64,
        input: Input<'_>,
    ) -> Result<()> {
        let mut said = export.scratch.nameless_file()?;
        let mut command = Command::new(self.name);
        for word in words.split(' ') {
            command.arg(if word == "FILE" { path.as_os_str() } else { OsStr::new(word) });
        }
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("LC_ALL", "C").env("SOURCE_DATE_EPOCH", newest.to_string());
        command.stdout(said.try_clone()?).stderr(said.try_clone()?);
        match &input {
            Input::Tar(_) => drop(command.stdin(Stdio::piped())),
            Input::Directory(dir, onto) => {
                command.stdin(Stdio::null());
                process::stand_in(&mut command, *dir, *onto)?;
            }
        }
        process::tie(&mut command);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Error::unsupported(format!("there is no program {} on this machine", self.name))
                    .hint(self.hint)
            }
            _ => Error::from(error).during(format!("start {}", self.name)),
        })?;
        let pid = Pid::from_child(&child);
        let mut fed = Ok(());
        if let (Input::Tar(write), Some(stdin)) = (input, child.stdin.take()) {
            let mut feed = Feed { stdin, is_broken: false };
            fed = write(&mut feed);
            // One that reads no more says why.
            if fed.is_err() && !feed.is_broken {
                process::kill(pid, libc::SIGKILL);
            }
            if feed.is_broken {
                fed = Ok(());
            }
        }
        let code = pump(pid, Vec::new(), &mut |_, _| true);
        fed?;
        match code? {
            0 => Ok(()),
            code => {
                let end = said.seek(SeekFrom::End(0))?;
                said.seek(SeekFrom::Start(end.saturating_sub(LONGEST)))?;
                let mut text = Vec::new();
                read_most(&mut said, LONGEST, &mut text)?;
                let text = String::from_utf8_lossy(&text);
                let text = text.trim().replace(['\n', '\r'], "; ");
                let text = if text.is_empty() { format!("exit code {code}") } else { text };
                Err(Error::input(format!("{}: {text}", self.name)).hint(self.hint))
            }
        }
    }
}

/// Standard input of a program, which may go away.
struct Feed {
    stdin: ChildStdin,
    is_broken: bool,
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stdin.write(bytes);
        let is_gone = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
        self.is_broken |= written.as_ref().is_err_and(is_gone);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
