//! Files into a container and out of it. Both ends are a root and a path in it: links of a container
//! never lead out of its root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Container;
use crate::error::{Context, Error, Result};
use crate::layer::compress::decompress;
use crate::layer::{Thing, carry_into, carry_out, carry_tar, node};
use crate::session::Session;
use crate::sys::flow::Outflow;
use crate::sys::fs::{PROC_SUPER_MAGIC, open_dir, open_in_root, resolve_in_root};

/// How to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// `-a`: what comes out of a container keeps its owners.
    pub keeps_owners: bool,
    /// `-L`: a source that is a link means what it points at.
    pub follows: bool,
}

/// Copies out of a container to a path of the host.
pub fn to_host(
    session: &Session,
    container: &Container,
    path: &str,
    to: &str,
    manner: Manner,
) -> Result<()> {
    let (files, host) = (container.files(session)?, host()?);
    let from = Source::find(files.as_fd(), path, manner.follows, &container.record.name)?;
    let here = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = Some(here).filter(|_| !manner.keeps_owners);
    from.put(session, &files.barred, host.as_fd(), &absolute(to)?, owner)
}

/// Copies out of a container as a tar.
pub fn to_tar(
    session: &Session,
    container: &Container,
    path: &str,
    out: &mut dyn Outflow,
    manner: Manner,
) -> Result<()> {
    let files = container.files(session)?;
    let from = Source::find(files.as_fd(), path, manner.follows, &container.record.name)?;
    let scratch = session.scratch()?;
    carry_out(&from.thing(from.new_name(), scratch.dir(), &files.barred), out)
}

/// Copies a path of the host into a container. Files keep the numbers of their owners, as with
/// docker.
pub fn from_host(
    session: &Session,
    container: &Container,
    from: &str,
    path: &str,
    manner: Manner,
) -> Result<()> {
    let host = host()?;
    let from = Source::find(host.as_fd(), &absolute(from)?, manner.follows, "")?;
    let files = container.files(session)?;
    from.put(session, &[], files.as_fd(), path, None)
}

/// Puts what a tar holds, compressed or not, into a directory of a container.
pub fn from_tar(
    session: &Session,
    container: &Container,
    input: OwnedFd,
    path: &str,
) -> Result<()> {
    let files = container.files(session)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    open_in_root(files.as_fd(), path, flags, Mode::empty()).map_err(|_| {
        let place = format!("{}:{path}", container.record.name);
        Error::input(format!("destination \"{place}\" must be a directory"))
    })?;
    let (_, mut tar) = decompress(Box::new(File::from(input)))?;
    carry_tar(&mut *tar, files.as_fd(), path)
}

fn host() -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).context(|| "open /")
}

/// The path from the root on, with what its end says of it.
fn absolute(path: &str) -> Result<String> {
    let here = std::env::current_dir().context(|| "getcwd")?;
    let here = here.to_str().ok_or_else(|| Error::input(format!("{here:?} is not UTF-8")))?;
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("{here}/{path}") })
}

/// Whether the path can only be that of a directory, and whether it means what is in it.
fn says_directory(path: &str) -> (bool, bool) {
    let is_content = path == "." || path.ends_with("/.");
    (is_content || path.ends_with('/') || path.ends_with("/.."), is_content)
}

/// Where something is.
struct Source {
    parent: OwnedFd,
    /// `.` for a root.
    name: OsString,
    stat: Stat,
    /// What it is called; empty for a root.
    base: OsString,
    /// It is a directory, and only what is in it is meant.
    is_content: bool,
}

impl Source {
    fn find(root: BorrowedFd<'_>, path: &str, follows: bool, owner: &str) -> Result<Source> {
        let missing = || match owner {
            "" => Error::not_found(format!("{path}: no such file or directory")),
            name => Error::not_found(format!("Could not find the file {path} in container {name}")),
        };
        let (is_directory, is_content) = says_directory(path);
        let base = Path::new(path).file_name().unwrap_or_default().to_owned();
        let gone = &mut |_: BorrowedFd<'_>, _: &OsStr, _| Err(missing());
        let (parent, name) = match follows || is_directory || base.is_empty() {
            true => resolve_in_root(root, Path::new(path), gone)?,
            // A last component that is a link is meant itself.
            false => {
                let above = Path::new(path).parent().unwrap_or(Path::new("/"));
                let flags = OFlags::DIRECTORY | OFlags::RDONLY;
                let parent = open_in_root(root, above, flags, Mode::empty());
                (parent.map_err(|errno| explain(errno, missing(), path))?, base.clone())
            }
        };
        // Files of the kernel have no size, and tell of the host.
        if rustix::fs::fstatfs(&parent)?.f_type as u64 == PROC_SUPER_MAGIC {
            let text = format!("{path} is in /proc, and no file that can be copied");
            return Err(Error::unsupported(text).hint("read it with lath exec CONTAINER cat"));
        }
        let stat = node::stat(parent.as_fd(), name.as_bytes())?.ok_or_else(missing)?;
        let source = Source { parent, name, stat, base, is_content };
        if is_directory && !source.is_directory() {
            return Err(Error::input(format!("{path}: not a directory")));
        }
        Ok(source)
    }

    fn is_directory(&self) -> bool {
        is_directory(&self.stat)
    }

    /// What it is called in a directory; empty when it is not called anything there.
    fn new_name(&self) -> &[u8] {
        if self.is_content { b"" } else { self.base.as_bytes() }
    }

    fn thing<'a>(
        &'a self,
        new_name: &'a [u8],
        spill: BorrowedFd<'a>,
        barred: &'a [(u64, u64)],
    ) -> Thing<'a> {
        Thing { parent: self.parent.as_fd(), name: self.name.as_bytes(), new_name, spill, barred }
    }

    /// Copies it to a path, by docker's rules of what the end of the path and what is there say.
    fn put(
        &self,
        session: &Session,
        barred: &[(u64, u64)],
        root: BorrowedFd<'_>,
        path: &str,
        owner: Option<(u32, u32)>,
    ) -> Result<()> {
        let (wants_directory, _) = says_directory(path);
        let (parent, name) =
            resolve_in_root(root, Path::new(path), &mut |_, _, is_last| match is_last {
                true => Ok(()),
                false => Err(no_directory(path)),
            })?;
        let there = node::stat(parent.as_fd(), name.as_bytes())?;
        let scratch = session.scratch()?;
        let carry = |into: BorrowedFd<'_>, new_name: &[u8]| {
            carry_into(&self.thing(new_name, scratch.dir(), barred), into, owner)
        };
        match there {
            Some(stat) if is_directory(&stat) => {
                let into = open_dir(parent.as_fd(), &name).context(|| format!("open {path:?}"))?;
                carry(into.as_fd(), self.new_name())
            }
            Some(_) if self.is_directory() => {
                Err(Error::input(format!("cannot copy a directory to the file {path}")))
            }
            Some(_) if wants_directory => Err(Error::input(format!("{path}: not a directory"))),
            None if wants_directory && !self.is_directory() => Err(no_directory(path)),
            _ => carry(parent.as_fd(), name.as_bytes()),
        }
        .context(|| format!("copy to {path:?}"))
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn no_directory(path: &str) -> Error {
    Error::not_found(format!("no such directory: the one for {path} is not there"))
        .hint("make it first: cp makes only the last part of a path")
}

fn explain(errno: Errno, missing: Error, path: &str) -> Error {
    match errno {
        Errno::NOENT | Errno::NOTDIR => missing,
        other => Error::from(other).during(format!("open {path:?}")),
    }
}
