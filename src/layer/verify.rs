//! Readers and writers that count and hash what goes through them.

use std::io::{self, Read, Write};

use crate::error::{Error, Result};
use crate::image::digest::{Digest, Hasher};
use crate::sys::flow::{Inflow, Outflow};

/// Hashes what is read through it.
pub struct HashingReader<'a> {
    input: &'a mut dyn Inflow,
    hasher: Hasher,
    bytes: u64,
}

impl<'a> HashingReader<'a> {
    /// Nothing read yet.
    pub fn new(input: &'a mut dyn Inflow) -> HashingReader<'a> {
        HashingReader { input, hasher: Hasher::new(), bytes: 0 }
    }

    /// The digest and the number of the bytes read.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.bytes)
    }

    /// Reads what is left, and says whether all of it is what was promised: the size first.
    pub fn verify(mut self, digest: &Digest, size: Option<u64>) -> Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        let (found, bytes) = self.finish();
        if let Some(size) = size
            && size != bytes
        {
            return Err(Error::corrupt(format!("{digest} has {bytes} bytes and not {size}")));
        }
        if found != *digest {
            return Err(Error::corrupt(format!("what should be {digest} is {found}")));
        }
        Ok(())
    }
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Hashes what is written through it.
pub struct HashingWriter<'a> {
    output: &'a mut dyn Outflow,
    hasher: Hasher,
    bytes: u64,
}

impl<'a> HashingWriter<'a> {
    /// Nothing written yet.
    pub fn new(output: &'a mut dyn Outflow) -> HashingWriter<'a> {
        HashingWriter { output, hasher: Hasher::new(), bytes: 0 }
    }

    /// The digest and the number of the bytes written.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.bytes)
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_judged_before_the_digest() {
        let digest = Digest::of(b"abc");
        let verify = |text: &str, size| {
            let mut text = text.as_bytes();
            HashingReader::new(&mut text).verify(&digest, size).map_err(|error| error.to_string())
        };
        assert_eq!(verify("abc", Some(3)), Ok(()));
        assert_eq!(verify("abc", None), Ok(()));
        assert!(verify("abc", Some(2)).unwrap_err().contains("3 bytes and not 2"));
        assert!(verify("abd", Some(3)).unwrap_err().contains("what should be"));
    }

    #[test]
    fn writer_and_reader_agree() {
        let mut out = Vec::new();
        let mut writer = HashingWriter::new(&mut out);
        writer.write_all(b"abc").unwrap();
        assert_eq!(writer.finish(), (Digest::of(b"abc"), 3));
    }
}
