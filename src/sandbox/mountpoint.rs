//! The places in a root where something is mounted: made when they are not there, and taken
//! away again afterwards, so that they never get into a layer.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Spec;
use crate::error::{Context, Error, Result};
use crate::sys::fs::{open_dir, open_in_root, put_times_back, resolve_in_root};

/// Directories that something is mounted on in every sandbox.
pub const DIRS: &[&str] = &["proc", "sys", "dev"];
/// Files that something is mounted on in every sandbox.
pub const FILES: &[&str] = &["etc/resolv.conf", "etc/hosts", "etc/hostname"];

struct Made {
    parent: OwnedFd,
    name: OsString,
    is_dir: bool,
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
        for dir in DIRS {
            self.ensure(spec.tree, Path::new(dir), true)?;
        }
        for file in FILES {
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

    /// Makes sure that a path leads to something that can be mounted over.
    fn ensure(&mut self, root: BorrowedFd<'_>, path: &Path, is_dir: bool) -> Result<()> {
        match open_in_root(root, path, OFlags::PATH, Mode::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(other) => return Err(other).context(|| format!("open {path:?} in the image")),
        }
        let made = &mut self.made;
        resolve_in_root(root, path, &mut |parent, name, is_last| {
            let one = make(parent, name.to_owned(), is_dir || !is_last)
                .context(|| format!("make the mount point {path:?}"))?;
            made.push(one);
            Ok(())
        })
        .map(|_| ())
    }

    /// Takes away what was made and is still as it was made, innermost first; a parent keeps the
    /// time that it has.
    pub fn remove(self) -> Result<()> {
        for made in self.made.into_iter().rev() {
            let parent = rustix::fs::fstat(&made.parent)?;
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
            put_times_back(made.parent.as_fd(), &parent)?;
        }
        Ok(())
    }
}

fn make(parent: BorrowedFd<'_>, name: OsString, is_dir: bool) -> Result<Made> {
    let before = rustix::fs::fstat(parent)?;
    if is_dir {
        rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(0o644))?;
    }
    // At once, so that a later time is the step's doing.
    let parent = open_dir(parent, ".")?;
    put_times_back(parent.as_fd(), &before)?;
    Ok(Made { parent, name, is_dir })
}
