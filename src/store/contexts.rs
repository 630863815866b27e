//! `context/<key>`: what is known of the files of a build context, so that they need not be read
//! again. Only an aid: a lost or damaged file costs time and nothing else, so nothing is synced.

use std::fs::File;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Scratch, Store};
use crate::error::{Context, Result};

const FOLDER: &str = "context";

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
