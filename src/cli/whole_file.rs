//! A file that is there in full or not at all: written beside its place, then renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;

#[cfg(feature = "outputs")]
use crate::error::Error;
use crate::error::{Context, Result};
#[cfg(feature = "outputs")]
use crate::image::digest::{Digest, Hasher};
use crate::sys::flow::Outflow;
use crate::sys::fs::random_name;

/// A file being written. Dropped before `finish`, nothing is left of it.
pub struct WholeFile {
    path: String,
    /// Where it lies until it is complete. Nothing for what is no plain file, such as a pipe:
    /// that is written as it is.
    beside: Option<String>,
    file: File,
    writer: BufWriter<Box<dyn Outflow>>,
}

impl WholeFile {
    /// Begins the file; `mode` are its permissions, less the umask.
    pub fn create(path: &str, mode: u32) -> Result<WholeFile> {
        let is_special = std::fs::metadata(path).is_ok_and(|data| !data.is_file());
        let beside = match is_special {
            true => None,
            false => Some(format!("{path}.{}", random_name()?)),
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(!is_special).mode(mode);
        let file = options
            .open(beside.as_deref().unwrap_or(path))
            .context(|| format!("write to {path:?}"))?;
        let same: Box<dyn Outflow> = Box::new(file.try_clone()?);
        let writer = BufWriter::with_capacity(64 << 10, same);
        Ok(WholeFile { path: path.to_owned(), beside, file, writer })
    }

    /// Where it lies until it is complete, from the root on, and the open file, for who writes it
    /// in another order. Nothing for what is no plain file.
    #[cfg(feature = "outputs")]
    pub fn place(&self) -> Option<(std::path::PathBuf, &File)> {
        Some((std::path::absolute(self.beside.as_ref()?).ok()?, &self.file))
    }

    /// The digest and the length of what has been written.
    #[cfg(feature = "outputs")]
    pub fn sum(&mut self) -> Result<(Digest, u64)> {
        let reading = || format!("read {:?} again", self.path);
        self.writer.flush().context(|| format!("write to {:?}", self.path))?;
        let (path, _) = self.place().ok_or_else(|| {
            Error::usage(format!("{:?} is no plain file and has no digest file", self.path))
        })?;
        let mut file = File::open(path).context(reading)?;
        let (mut hasher, mut length) = (Hasher::new(), 0);
        let mut buffer = vec![0; 64 << 10];
        loop {
            crate::sys::signal::check()?;
            let count = std::io::Read::read(&mut file, &mut buffer).context(reading)?;
            if count == 0 {
                return Ok((hasher.finish(), length));
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
            length += count as u64;
        }
    }

    /// Puts it in its place.
    pub fn finish(mut self) -> Result<()> {
        self.writer.flush().context(|| format!("write to {:?}", self.path))?;
        let Some(beside) = &self.beside else { return Ok(()) };
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(beside, &self.path))
            .context(|| format!("write to {:?}", self.path))?;
        self.beside = None;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // The error that led here is the one to be told.
            let _ = std::fs::remove_file(beside);
        }
    }
}

/// Takes the file away that an earlier call has left.
pub fn remove(path: &str) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(cause).context(|| format!("remove {path:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_in_full_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("whole-{}", random_name().unwrap()));
        std::fs::create_dir(&dir).unwrap();
        let count = || std::fs::read_dir(&dir).unwrap().count();
        let path = dir.join("f").to_str().unwrap().to_owned();
        for text in ["old", "new"] {
            let mut file = WholeFile::create(&path, 0o600).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), count()), (text, 1));
        }
        let mut broken = WholeFile::create(&path, 0o600).unwrap();
        broken.write_all(b"half").unwrap();
        drop(broken);
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), count()), ("new", 1));
        assert!(WholeFile::create(&format!("{path}/x"), 0o600).is_err());
        remove(&path).unwrap();
        remove(&path).unwrap();
        std::fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn a_device_is_not_replaced() {
        let mut null = WholeFile::create("/dev/null", 0o600).unwrap();
        null.write_all(b"x").unwrap();
        null.finish().unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
