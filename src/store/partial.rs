//! What broken downloads have so far: `partial/<sha256>-<start>` holds the bytes of a blob from
//! `start` on. It is neither durable nor trusted: whoever completes it checks the digest.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};

use super::Store;
use crate::error::{Context, Result};
use crate::image::digest::Digest;
use crate::sys::fs::write_all;

/// A file of such bytes; nobody else writes it while this is held.
pub struct Partial {
    file: File,
    path: String,
    /// Where in the blob its first byte belongs.
    pub start: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl Store {
    /// What is there of a blob, and nobody is at work on.
    pub fn partials(&self, digest: &Digest) -> Result<Vec<Partial>> {
        let mut found = Vec::new();
        if rustix::fs::statat(self.fd(), "partial", AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Ok(found);
        }
        let hex = digest.hex();
        let mut starts: Vec<u64> = Vec::new();
        self.each_name("partial", &mut |name| {
            let number = name.strip_prefix(&hex).and_then(|rest| rest.strip_prefix('-'));
            starts.extend(number.and_then(|number| number.parse::<u64>().ok()));
            Ok(true)
        })?;
        for start in starts {
            found.extend(self.open_partial(digest, start, OFlags::empty())?);
        }
        Ok(found)
    }

    /// Removes what is there of a blob: it is whole.
    pub fn drop_partials(&self, digest: &Digest) -> Result<()> {
        self.partials(digest)?.into_iter().for_each(|partial| self.drop_partial(partial));
        Ok(())
    }

    /// Begins to keep a blob's bytes from `start` on. `None`: somebody else does so already.
    pub fn new_partial(&self, digest: &Digest, start: u64) -> Result<Option<Partial>> {
        self.make_dir("partial")?;
        self.open_partial(digest, start, OFlags::CREATE)
    }

    fn open_partial(&self, digest: &Digest, start: u64, more: OFlags) -> Result<Option<Partial>> {
        let path = format!("partial/{}-{start}", digest.hex());
        let says = || format!("open {path} in the store");
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
        let file = rustix::fs::openat(self.fd(), &path, flags, Mode::from_raw_mode(0o600));
        let file = file.context(says)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(&file).context(says)?;
        // Another process has completed it in between.
        if stat.st_nlink == 0 {
            return Ok(None);
        }
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Some(Partial { file: File::from(file), path, start, length }))
    }

    /// Removes it: the blob is whole, or this is not of it.
    pub fn drop_partial(&self, partial: Partial) {
        // What cannot be removed is in nobody's way.
        if let Err(errno) = rustix::fs::unlinkat(self.fd(), &partial.path, AtFlags::empty()) {
            log::warn!("left {} behind: {errno}", partial.path);
        }
    }
}

impl Partial {
    /// Where in the blob the first byte behind it belongs.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Reads the blob's bytes at `position`, which this has.
    pub fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<usize> {
        let at = position.saturating_sub(self.start);
        rustix::io::pread(&self.file, buffer, at).context(|| format!("read {}", self.path))
    }

    /// Adds bytes at its end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        write_all(self.file.as_fd(), bytes).context(|| format!("write {}", self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}
