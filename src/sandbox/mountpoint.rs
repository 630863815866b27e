//! The places in a root where something is mounted: made when they are not there, and taken
//! away again afterwards, so that they never get into a layer.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::Spec;
use crate::error::{Context, Error, Result};
use crate::sys::fs::{open_dir, open_in_root};

/// Links that are followed to find where a mount point is; the kernel's own limit (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

struct Made {
    parent: OwnedFd,
    name: OsString,
    is_dir: bool,
    before: Stat,
    after: Stat,
}

/// Mount points that were not there before.
pub struct Mountpoints {
    made: Vec<Made>,
}

impl Mountpoints {
    /// Makes the missing mount points of a spec; with an error come those already made.
    pub fn make(spec: &Spec<'_>) -> std::result::Result<Mountpoints, (Error, Mountpoints)> {
        let mut points = Mountpoints { made: Vec::new() };
        match points.make_all(spec) {
            Ok(()) => Ok(points),
            Err(error) => Err((error, points)),
        }
    }

    fn make_all(&mut self, spec: &Spec<'_>) -> Result<()> {
        for dir in ["proc", "sys", "dev"] {
            self.ensure(spec.tree, Path::new(dir), true)?;
        }
        for file in ["etc/resolv.conf", "etc/hosts", "etc/hostname"] {
            self.ensure(spec.tree, Path::new(file), false)?;
        }
        for bind in spec.binds {
            // In the /dev that lath makes it is made by whoever mounts it.
            if !Path::new(&bind.target).starts_with("/dev") {
                self.ensure(spec.tree, Path::new(&bind.target), bind.is_dir)
                    .context(|| format!("mount point {:?}", bind.target))?;
            }
        }
        Ok(())
    }

    /// Makes sure that a path leads to something that can be mounted over. Every component is
    /// opened by itself; links are followed inside the root.
    fn ensure(&mut self, root: BorrowedFd<'_>, path: &Path, is_dir: bool) -> Result<()> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match open_in_root(root, path, flags, Mode::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(other) => return Err(other).context(|| format!("open {path:?} in the image")),
        }
        let mut rest: Vec<OsString> = names(path);
        rest.reverse();
        let mut dirs: Vec<OwnedFd> = vec![reopen(root)?];
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let Some(here) = dirs.last() else { return Err(Errno::NOENT.into()) };
            if name == ".." {
                if dirs.len() > 1 {
                    dirs.pop();
                }
                continue;
            }
            let found = rustix::fs::statat(here, &name, AtFlags::SYMLINK_NOFOLLOW);
            match found {
                Ok(stat) if is_link(&stat) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP).context(|| format!("open {path:?} in the image"));
                    }
                    let target = rustix::fs::readlinkat(here, &name, Vec::new())?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        dirs.truncate(1);
                    }
                    rest.extend(names(&target).into_iter().rev());
                    continue;
                }
                Ok(_) => {}
                Err(Errno::NOENT) => {
                    let as_dir = is_dir || !rest.is_empty();
                    let made = make(here.as_fd(), name.clone(), as_dir)
                        .context(|| format!("make the mount point {path:?}"))?;
                    self.made.push(made);
                }
                Err(other) => return Err(other).context(|| format!("open {path:?} in the image")),
            }
            if !rest.is_empty() {
                let next = open_dir(here.as_fd(), &name)
                    .context(|| format!("open {path:?} in the image"))?;
                dirs.push(next);
            }
        }
        Ok(())
    }

    /// Takes away what was made and is still as it was made, innermost first; a parent's time is
    /// put back unless the step has changed that directory too.
    pub fn remove(self) -> Result<()> {
        for made in self.made.into_iter().rev() {
            let parent = rustix::fs::fstat(&made.parent)?;
            let untouched = (parent.st_mtime, parent.st_mtime_nsec)
                == (made.after.st_mtime, made.after.st_mtime_nsec);
            let flags = if made.is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let is_empty = made.is_dir
                || rustix::fs::statat(&made.parent, &made.name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| stat.st_size == 0);
            if !is_empty {
                continue;
            }
            match rustix::fs::unlinkat(&made.parent, &made.name, flags) {
                Ok(()) => {}
                // Gone, or filled by the step: then it is the image's.
                Err(
                    Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR,
                ) => {
                    continue;
                }
                Err(other) => {
                    return Err(other)
                        .context(|| format!("remove the mount point {:?}", made.name));
                }
            }
            if untouched {
                put_back(made.parent.as_fd(), &made.before)?;
            }
        }
        Ok(())
    }
}

fn names(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    parts.collect()
}

fn reopen(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    open_in_root(root, ".", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
        .context(|| "open the root")
}

fn is_link(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink
}

fn make(parent: BorrowedFd<'_>, name: OsString, is_dir: bool) -> Result<Made> {
    let before = rustix::fs::fstat(parent)?;
    if is_dir {
        rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(0o644))?;
    }
    let after = rustix::fs::fstat(parent)?;
    let parent = open_dir(parent, ".")?;
    Ok(Made { parent, name, is_dir, before, after })
}

fn put_back(dir: BorrowedFd<'_>, stat: &Stat) -> rustix::io::Result<()> {
    let time = |seconds: i64, nanoseconds: i64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(stat.st_atime, i64::try_from(stat.st_atime_nsec).unwrap_or(0)),
        last_modification: time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
    };
    rustix::fs::futimens(dir, &times)
}
