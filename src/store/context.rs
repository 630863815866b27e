//! `context/<key>`: what is known of the files of a build context, so that they need not be read
//! again. A head, then blocks of one size, each with a checksum; what is in them is the build's
//! affair. Only an aid: a lost or damaged file costs time and nothing else, so nothing is synced.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Scratch, Store, checksum};
use crate::error::{Context, Result};

/// Where they are.
pub const FOLDER: &str = "context";

/// Bytes of a block.
pub const BLOCK: usize = 8 << 10;
/// In front of each block: its checksum and its number of bytes in use.
pub const BLOCK_HEAD: usize = 10;
/// In front of all: magic, and how many blocks there were when it was last looked whether their
/// files are there.
pub const HEAD: usize = 16;
/// How the file begins.
pub const MAGIC: &[u8; 8] = b"lathst1\n";

/// The records of a block that is whole.
pub fn read_block(file: &File, at: u64, into: &mut Vec<u8>) -> Option<()> {
    into.resize(BLOCK, 0);
    let offset = at.checked_mul(BLOCK as u64)?.checked_add(HEAD as u64)?;
    file.read_exact_at(into, offset).ok()?;
    let (sum, rest) = into.split_first_chunk::<8>()?;
    let used = usize::from(u16::from_le_bytes(*rest.first_chunk::<2>()?));
    let is_whole = checksum(rest) == *sum && used <= BLOCK - BLOCK_HEAD;
    into.truncate(BLOCK_HEAD + used);
    into.drain(..BLOCK_HEAD);
    is_whole.then_some(())
}

impl Store {
    /// What is known of a context.
    pub fn context(&self, key: &str) -> Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = format!("{FOLDER}/{key}");
        match rustix::fs::openat(self.fd(), &path, flags, Mode::empty()) {
            Ok(file) => {
                self.touch(&path);
                Ok(Some(File::from(file)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(other) => Err(other).context(|| format!("open {path:?} in the store")),
        }
    }

    /// A new file for what is known of a context; `put_context` gives it its name.
    pub fn new_context(&self, scratch: &Scratch) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(scratch.dir(), FOLDER, flags, Mode::from_raw_mode(0o600));
        Ok(File::from(file.context(|| "create a file in the store's tmp")?))
    }

    /// Puts the file made by `new_context` in the place of the one that is there.
    pub fn put_context(&self, scratch: &Scratch, key: &str) -> Result<()> {
        let path = format!("{FOLDER}/{key}");
        let rename = || rustix::fs::renameat(scratch.dir(), FOLDER, self.fd(), &path);
        let renamed = match rename() {
            Err(Errno::NOENT) => {
                self.make_dir(FOLDER)?;
                rename()
            }
            other => other,
        };
        renamed.context(|| format!("rename a file to {path:?} in the store"))
    }
}
