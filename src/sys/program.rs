//! Programs of this machine that lath calls: found on PATH, without a shell. std's `Command` would be
//! 25 KB, for a map of the environment and much else.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::process::{self, Namespaces, spawn};
use crate::error::{Context, Error, Kind, Result};

/// Where one of a program's three streams leads.
pub enum Stream {
    /// To nobody.
    Null,
    /// To lath.
    Pipe,
    /// To a file.
    File(OwnedFd),
}

/// Where a program stands.
pub enum Place<'a> {
    /// Where lath does.
    Here,
    /// In the directory of a path.
    Path(&'a std::path::Path),
    /// In a directory.
    Directory(BorrowedFd<'a>),
    /// In the root of a detached mount, which is mounted onto the second directory for it alone.
    #[cfg(feature = "outputs")]
    Mount(BorrowedFd<'a>, BorrowedFd<'a>),
}

/// A program, before it is started.
pub struct Program<'a> {
    argv: Vec<CString>,
    env: Vec<CString>,
    /// Where it stands.
    pub place: Place<'a>,
    /// Its input, output and errors.
    pub streams: [Stream; 3],
}

/// One that runs.
pub struct Child {
    /// Its number.
    pub pid: Pid,
    /// Where its input comes from, and where its output and errors go: those that are pipes.
    pub pipes: [Option<File>; 3],
}

impl<'a> Program<'a> {
    /// One with these words and an empty environment; it stands where lath does, and its streams lead
    /// to nobody.
    pub fn new<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Program<'a> {
        let mut program = Program {
            argv: Vec::new(),
            env: Vec::new(),
            place: Place::Here,
            streams: [Stream::Null, Stream::Null, Stream::Null],
        };
        words.into_iter().for_each(|word| program.word(word.as_ref()));
        program
    }

    /// Gives it the environment of lath itself.
    #[cfg(any(feature = "containers", feature = "net"))]
    pub fn inherit(&mut self) {
        for (name, value) in std::env::vars_os() {
            self.set(&name, &value);
        }
    }

    /// One more word.
    pub fn word(&mut self, word: &OsStr) {
        self.argv.push(text(word.as_bytes().to_vec()));
    }

    /// Sets a variable that is not set yet.
    pub fn set(&mut self, name: &OsStr, value: &OsStr) {
        self.env.push(text([name.as_bytes(), b"=", value.as_bytes()].concat()));
    }

    /// Starts it. Files that it makes have the modes that everybody has (umask 022), and it ends when
    /// the thread that has started it does. `Kind::NotFound`: there is no such program.
    pub fn start(self) -> Result<Child> {
        let mut ends = Vec::new();
        let mut pipes = [const { None }; 3];
        for (at, (stream, pipe)) in self.streams.into_iter().zip(&mut pipes).enumerate() {
            ends.push(match stream {
                Stream::File(file) => file,
                Stream::Null => {
                    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                        .context(|| "open /dev/null")?
                }
                Stream::Pipe => {
                    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(|| "pipe")?;
                    let (own, other) = if at == 0 { (writer, reader) } else { (reader, writer) };
                    *pipe = Some(File::from(own));
                    other
                }
            });
        }
        let candidates = candidates(&self.argv);
        let pid = spawn(Namespaces::Same, &mut || match prepare(&ends, &self.place) {
            Err(error) => error,
            Ok(()) => execute(&candidates, &self.argv, &self.env),
        })?;
        Ok(Child { pid, pipes })
    }

    /// Becomes it, with the streams of this process. Returns only with the reason why it could not.
    #[cfg(feature = "containers")]
    pub fn become_it(self) -> Error {
        execute(&candidates(&self.argv), &self.argv, &self.env)
    }
}

/// What is left before a NUL byte, which no word of the kernel's can have.
fn text(bytes: Vec<u8>) -> CString {
    let bytes: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// Where a program may be, by the search path of lath itself.
fn candidates(argv: &[CString]) -> Vec<CString> {
    let name = argv.first().map(CString::as_bytes).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    process::candidates(name, path.as_bytes())
}

/// In the child, before it is another program.
fn prepare(ends: &[OwnedFd], place: &Place<'_>) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context(|| "set the parent death signal")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    match place {
        Place::Here => {}
        Place::Path(path) => {
            rustix::process::chdir(*path).context(|| format!("chdir {path:?}"))?;
        }
        Place::Directory(dir) => rustix::process::fchdir(dir).context(|| "chdir")?,
        #[cfg(feature = "outputs")]
        Place::Mount(dir, onto) => {
            // The working directory is the one thing that a new namespace takes along.
            rustix::process::fchdir(onto).context(|| "chdir")?;
            super::mount::own_mounts()?;
            super::mount::attach(*dir, rustix::fs::CWD)?;
            rustix::process::fchdir(dir).context(|| "chdir")?;
        }
    }
    // Copies first: a stream may itself be one of the three numbers.
    let copy = |end: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(end.as_fd(), 3);
    let copies = ends.iter().map(copy).collect::<rustix::io::Result<Vec<_>>>();
    if let [input, output, errors] = copies.context(|| "dup")?.as_slice() {
        rustix::stdio::dup2_stdin(input).context(|| "dup2")?;
        rustix::stdio::dup2_stdout(output).context(|| "dup2")?;
        rustix::stdio::dup2_stderr(errors).context(|| "dup2")?;
    }
    Ok(())
}

fn execute(candidates: &[CString], argv: &[CString], env: &[CString]) -> Error {
    let worst = process::exec_first(candidates, argv, env);
    let kind = if worst == Errno::NOENT { Kind::NotFound } else { Kind::Denied };
    Error::new(kind, Error::from(worst).text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_program_is_found_fed_and_listened_to() {
        let mut program =
            Program::new(["sh", "-c", "cat; echo $A $0 \"$PWD\"; umask >&2; exit 3", "w"]);
        program.set("A".as_ref(), "b c".as_ref());
        program.place = Place::Path("/".as_ref());
        program.streams = [Stream::Pipe, Stream::Pipe, Stream::Pipe];
        let Child { pid, pipes: [input, output, errors] } = program.start().unwrap();
        input.unwrap().write_all(b"in\n").unwrap();
        let (mut said, mut told) = (String::new(), String::new());
        output.unwrap().read_to_string(&mut said).unwrap();
        errors.unwrap().read_to_string(&mut told).unwrap();
        assert_eq!((said.as_str(), told.as_str()), ("in\nb c w /\n", "0022\n"));
        assert_eq!(crate::sys::process::wait(pid).unwrap(), 3);
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let kind = |word: &str| Program::new([word]).start().err().unwrap().kind();
        assert_eq!(kind("no-such-program-at-all"), Kind::NotFound);
        assert_eq!(kind("/etc/passwd"), Kind::Denied);
    }
}
