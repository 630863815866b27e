//! Files in a directory of the user's, each there in full or not at all.

use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sys::flow::Outflow;
use crate::sys::fs::{random_name, read_small};

/// Writes the content of a file.
pub type Fill<'a> = dyn FnMut(&mut dyn Outflow) -> Result<()> + 'a;

/// An open directory.
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens the directory, and makes it with these in it where it is not there.
    pub fn create(path: &str, inside: &[&str]) -> Result<Folder> {
        let says = || format!("write to {path:?}");
        std::fs::create_dir_all(path).context(says)?;
        let folder = Folder::open(path).context(says)?;
        for name in inside {
            match rustix::fs::mkdirat(&folder.0, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(other) => return Err(other).context(says),
            }
        }
        Ok(folder)
    }

    /// Opens a directory that is there.
    pub fn open(path: &str) -> Result<Folder> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Folder(rustix::fs::open(Path::new(path), flags, Mode::empty())?))
    }

    /// The directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The directory, for whoever only reads.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Writes a file beside its place, and then puts it there.
    pub fn file(&self, path: &str, fill: &mut Fill<'_>) -> Result<()> {
        let beside = format!("{path}.{}.tmp", random_name()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let says = || format!("write {path:?}");
        let file = rustix::fs::openat(&self.0, &beside, flags, Mode::from_raw_mode(0o644))
            .context(says)?;
        let file: Box<dyn Outflow> = Box::new(std::fs::File::from(file));
        let mut file = BufWriter::with_capacity(64 << 10, file);
        let done = fill(&mut file)
            .and_then(|()| Ok(file.flush()?))
            .and_then(|()| Ok(rustix::fs::renameat(&self.0, &beside, &self.0, path)?));
        if done.is_err() {
            // The error that led here is the one to be told.
            let _ = rustix::fs::unlinkat(&self.0, &beside, AtFlags::empty());
        }
        done.context(says)
    }

    /// Reads a small file; nothing when it is not there.
    pub fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        read_small(self.fd(), path, limit)
    }

    /// Waits until all that was written is on the medium.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.0).context(|| "sync")
    }
}
