//! The programs that make file systems for lath: found on PATH, started without a shell and with an
//! environment of their own, fed with a tar or standing in the image's root, and listened to
//! when they fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::Export;
use crate::error::{Error, Kind, Result};
use crate::sandbox::pump;
use crate::sys::flow::{Outflow, read_most};
use crate::sys::process;
use crate::sys::program::{self, Place, Stream};

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
        let mut program = program::Program::new([self.name]);
        for word in words.split(' ') {
            program.word(if word == "FILE" { path.as_os_str() } else { OsStr::new(word) });
        }
        if let Some(path) = std::env::var_os("PATH") {
            program.set("PATH".as_ref(), &path);
        }
        program.set("LC_ALL".as_ref(), "C".as_ref());
        program.set("SOURCE_DATE_EPOCH".as_ref(), newest.to_string().as_ref());
        let file = || said.try_clone().map(|said| Stream::File(said.into()));
        program.streams = [Stream::Null, file()?, file()?];
        match &input {
            Input::Tar(_) => {
                if let Some(stdin) = program.streams.first_mut() {
                    *stdin = Stream::Pipe;
                }
            }
            Input::Directory(dir, Some(onto)) => program.place = Place::Mount(*dir, *onto),
            Input::Directory(dir, None) => program.place = Place::Directory(*dir),
        }
        let child = program.start().map_err(|error| match error.kind() {
            Kind::NotFound => {
                Error::unsupported(format!("there is no program {} on this machine", self.name))
                    .hint(self.hint)
            }
            _ => error.during(format!("start {}", self.name)),
        })?;
        let pid = child.pid;
        let mut fed = Ok(());
        let [stdin, ..] = child.pipes;
        if let (Input::Tar(write), Some(stdin)) = (input, stdin) {
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
    stdin: File,
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
