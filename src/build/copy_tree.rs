//! Copies files and trees between descriptors: data by reflink where the file system can, hard
//! links, modes and times kept, links never followed. What stands in the way is replaced, unless
//! it is a directory.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::layer::entry::Xattr;
use crate::layer::links::Links;
use crate::layer::node::xattrs;
use crate::layer::walk::{Found, Visit, Walk};
use crate::sys::copy::copy_data;
use crate::sys::fs::{open_dir, open_in_root, set_owner};
use crate::sys::signal;

/// How the copies differ from what is copied.
pub struct Style<'a> {
    /// Owner and group of everything; otherwise the source's own.
    pub owner: Option<(u32, u32)>,
    /// Gives the permission bits of a copy, from those of the source and whether it is a
    /// directory.
    pub mode: &'a dyn Fn(u32, bool) -> u32,
    /// Whether a path below the copied directory is left out, and whether a left-out directory
    /// must be walked all the same.
    pub skip: &'a mut dyn FnMut(&Path, bool) -> Skip,
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Copy it.
    No,
    /// Leave it and everything in it.
    All,
    /// Leave the directory itself, but look into it.
    LookInside,
}

/// Copies trees, with the hard links within each.
pub struct Copier<'a> {
    style: Style<'a>,
    will: &'a mut dyn FnMut(u64) -> Result<()>,
}

/// A directory on the way to what is being copied.
enum Level {
    /// It is there, open; with the source's attributes when this copy has made it.
    Open(OwnedFd, Option<Box<Stat>>),
    /// It is made when something comes into it.
    Lazy(CString, Box<Stat>),
    /// It is passed over.
    Pruned,
}

impl<'a> Copier<'a> {
    /// A copier; `will` hears of each entry and of the bytes that will be copied next, and can
    /// refuse them.
    pub fn new(style: Style<'a>, will: &'a mut dyn FnMut(u64) -> Result<()>) -> Copier<'a> {
        Copier { style, will }
    }

    /// Copies what is in the open directory `from` into the open directory `to`.
    pub fn contents(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
        let mut links = Links::new(to);
        let root = open_dir(to, ".").context(|| "open the destination")?;
        let mut levels = vec![Level::Open(root, None)];
        let mut walk = Walk::new(from, None)?;
        loop {
            signal::check()?;
            let is_pruned = match walk.next_visit()? {
                None => return Ok(()),
                Some(Visit::Leave { .. }) => {
                    if let Some(Level::Open(dir, Some(stat))) = levels.pop() {
                        rustix::fs::futimens(&dir, &times(&stat)).context(|| "set times")?;
                    }
                    false
                }
                Some(Visit::Enter(found)) => {
                    let path = Path::new(OsStr::from_bytes(found.path));
                    let skip = (self.style.skip)(path, found.directory.is_some());
                    self.enter(&found, skip, from, to, &mut levels, &mut links)
                        .context(|| format!("{path:?}"))?
                }
            };
            if is_pruned {
                walk.prune();
            }
        }
    }

    /// Copies one entry of a walk; whether it is a directory to be passed over.
    fn enter(
        &mut self,
        found: &Found<'_>,
        skip: Skip,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        levels: &mut Vec<Level>,
        links: &mut Links<'_>,
    ) -> Result<bool> {
        let name = CString::new(found.name).map_err(|_| Errno::INVAL)?;
        match (found.directory, skip) {
            (Some(_), Skip::All) => {
                levels.push(Level::Pruned);
                return Ok(true);
            }
            (Some(_), Skip::LookInside) => {
                levels.push(Level::Lazy(name, Box::new(found.stat)));
                return Ok(false);
            }
            (None, Skip::All | Skip::LookInside) => return Ok(false),
            (_, Skip::No) => {}
        }
        (self.will)(0)?;
        self.open_all(found.path, from, levels)?;
        let Some(Level::Open(at, _)) = levels.last() else { return Err(Errno::NOTDIR.into()) };
        if let Some(directory) = found.directory {
            let (dir, made) = self.make_dir(at.as_fd(), &name, &found.stat, directory)?;
            levels.push(Level::Open(dir, made.then(|| Box::new(found.stat))));
            return Ok(false);
        }
        let at = at.as_fd();
        if let Some(first) = links.first(&found.stat, found.path)? {
            clear(at, &name)?;
            if link(to, Path::new(OsStr::from_bytes(&first)), at, &name).is_ok() {
                return Ok(false);
            }
        }
        self.entry(found.parent, &name, at, &name)?;
        Ok(false)
    }

    /// Makes the directories that were waiting for something to come into them.
    fn open_all(&mut self, path: &[u8], from: BorrowedFd<'_>, levels: &mut [Level]) -> Result<()> {
        let mut names = path.split(|byte| *byte == b'/');
        let mut source = PathBuf::new();
        let mut at: Option<OwnedFd> = None;
        for level in levels {
            if let (Level::Lazy(name, stat), Some(at)) = (&*level, &at) {
                let inside = open_beneath(from, &source)?;
                let (dir, made) = self.make_dir(at.as_fd(), name, stat, inside.as_fd())?;
                *level = Level::Open(dir, made.then(|| stat.clone()));
            }
            match level {
                Level::Open(dir, _) => at = Some(dir.try_clone().map_err(Error::from)?),
                Level::Lazy(..) | Level::Pruned => return Err(Errno::NOTDIR.into()),
            }
            source.push(OsStr::from_bytes(names.next().unwrap_or_default()));
        }
        Ok(())
    }

    /// Copies the one entry `name` of `from`, that is no directory, to `new_name` in `to`.
    pub fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        name: &CStr,
        to: BorrowedFd<'_>,
        new_name: &CStr,
    ) -> Result<()> {
        let stat = stat_at(from, name).context(|| format!("stat {name:?}"))?;
        let says = |what: &str| format!("{what} {name:?}");
        clear(to, new_name)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(from, name, &stat, to, new_name),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(from, name, Vec::new()).context(|| says("read"))?;
                rustix::fs::symlinkat(target, to, new_name).context(|| says("link"))?;
                self.attributes_at(to, new_name, &stat, false)
            }
            // A socket without its server is nothing.
            FileType::Socket => Ok(()),
            kind => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(to, new_name, kind, mode, stat.st_rdev)
                    .context(|| says("make"))?;
                self.attributes_at(to, new_name, &stat, true)
            }
        }
    }

    fn make_dir(
        &self,
        at: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        from: BorrowedFd<'_>,
    ) -> Result<(OwnedFd, bool)> {
        let made = match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(other) => return Err(other).context(|| format!("mkdir {name:?}")),
        };
        let dir = match open_dir(at, OsStr::from_bytes(name.to_bytes())) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(Error::input(format!(
                    "cannot copy to non-directory: {name:?} is there and is no directory"
                )));
            }
            other => other.context(|| format!("open {name:?}"))?,
        };
        if made {
            self.give(dir.as_fd(), stat, true)?;
            copy_attributes(from, dir.as_fd())?;
        }
        Ok((dir, made))
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        at: BorrowedFd<'_>,
        new_name: &CStr,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = rustix::fs::openat(from, name, flags, Mode::empty())
            .context(|| format!("open {name:?}"))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(at, new_name, flags, Mode::from_raw_mode(0o600))
            .context(|| format!("create {new_name:?}"))?;
        copy_data(source.as_fd(), copy.as_fd(), self.will)?;
        // After the owner, since changing that takes capabilities away.
        self.give(copy.as_fd(), stat, false)?;
        copy_attributes(source.as_fd(), copy.as_fd())?;
        rustix::fs::futimens(&copy, &times(stat)).context(|| format!("set times of {new_name:?}"))
    }

    /// Owner and mode of an open copy. The owner first: changing it clears set-id bits.
    fn give(&self, copy: BorrowedFd<'_>, stat: &Stat, is_dir: bool) -> Result<()> {
        let (uid, gid) = self.style.owner.unwrap_or((stat.st_uid, stat.st_gid));
        set_owner(copy, uid, gid).context(|| "chown")?;
        let mode = (self.style.mode)(stat.st_mode & 0o7777, is_dir);
        rustix::fs::fchmod(copy, Mode::from_raw_mode(mode)).context(|| "chmod")
    }

    fn attributes_at(
        &self,
        at: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        has_mode: bool,
    ) -> Result<()> {
        let (uid, gid) = self.style.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context(|| format!("chown {name:?}"))?;
        if has_mode {
            let mode = Mode::from_raw_mode((self.style.mode)(stat.st_mode & 0o7777, false));
            rustix::fs::chmodat(at, name, mode, AtFlags::empty())
                .context(|| format!("chmod {name:?}"))?;
        }
        rustix::fs::utimensat(at, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
            .context(|| format!("set times of {name:?}"))
    }
}

/// Gives a file that was copied already one more name.
fn link(root: BorrowedFd<'_>, first: &Path, at: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let dir = open_beneath(root, first.parent().unwrap_or(Path::new("")))?;
    let first = first.file_name().unwrap_or_default();
    Ok(rustix::fs::linkat(&dir, first, at, name, AtFlags::empty())?)
}

/// Opens a directory by its path from the root of the copy.
fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    Ok(open_in_root(root, path, flags, Mode::empty())?)
}

fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Stat> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Makes way for a file.
fn clear(at: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            Err(Error::input(format!("cannot replace the directory {name:?} with a file")))
        }
        Err(other) => Err(other).context(|| format!("replace {name:?}")),
    }
}

/// A source's times; access is set to the same, so that it tells nothing of this machine.
fn times(stat: &Stat) -> Timestamps {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: nanoseconds };
    Timestamps { last_access: time, last_modification: time }
}

/// Copies the extended attributes that an image can hold.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for Xattr { name, value } in xattrs(from).context(|| "read attributes")? {
        match rustix::fs::fsetxattr(to, name.as_slice(), &value, rustix::fs::XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(other) => return Err(other).context(|| "write attributes"),
        }
    }
    Ok(())
}
