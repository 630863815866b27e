//! What gives back the very same tar bytes from the tree that was unpacked from them.
//!
//! A gzip stream: a line with the format's name, then records. Numbers are LEB128.
//!
//! ```text
//! 0 LENGTH BYTES                    these bytes of the tar: headers, padding, what follows the end
//! 1 LENGTH PATH OCCURRENCE SIZE     the content of the regular file PATH of the tree, SIZE bytes
//! ```
//!
//! A file that a later entry of the same tar replaced is not in the tree. It was moved to the
//! directory of kept files, where its name is made of its path and its occurrence: the number of
//! files of this path that had been moved before it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::layer::compress::{Gunzip, Gzip};
use crate::layer::entry::show;
use crate::layer::node;
use crate::sys::flow::{Inflow, Outflow, read_most};

const MAGIC: &[u8] = b"lath recipe 1\n";
const RAW: u8 = 0;
const FILE: u8 = 1;
/// Raw bytes that are gathered before they are a record.
const GATHER: usize = 64 << 10;
/// Longer paths are not written, since a pax header that is longer is refused.
const MAX_PATH: u64 = 1 << 20;

/// Writes a recipe.
pub struct Recipe<'a> {
    out: Gzip<'a>,
    raw: Vec<u8>,
}

impl<'a> Recipe<'a> {
    /// A recipe that begins at the next byte of `out`.
    pub fn new(out: &'a mut dyn Outflow) -> Result<Recipe<'a>> {
        let mut out = Gzip::new(out, 6)?;
        out.write_all(MAGIC)?;
        Ok(Recipe { out, raw: Vec::new() })
    }

    /// Says that these bytes come next in the tar.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= GATHER { self.write_raw() } else { Ok(()) }
    }

    /// Says that the content of a file comes next in the tar.
    pub fn file(&mut self, path: &[u8], occurrence: u64, size: u64) -> Result<()> {
        self.write_raw()?;
        let mut record = vec![FILE];
        append(&mut record, path.len() as u64);
        record.extend_from_slice(path);
        append(&mut record, occurrence);
        append(&mut record, size);
        Ok(self.out.write_all(&record)?)
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<()> {
        self.write_raw()?;
        self.out.finish()
    }

    fn write_raw(&mut self) -> Result<()> {
        if !self.raw.is_empty() {
            let mut start = vec![RAW];
            append(&mut start, self.raw.len() as u64);
            self.out.write_all(&start)?;
            self.out.write_all(&self.raw)?;
            self.raw.clear();
        }
        Ok(())
    }
}

/// The name of a kept file.
pub fn kept_name(path: &[u8], occurrence: u64) -> String {
    format!("{}.{occurrence}", Digest::of(path).hex())
}

/// Writes the tar again: `diff` is the tree that came out of it, `kept` the files that later
/// entries replaced.
pub fn replay(
    recipe: &mut dyn Inflow,
    diff: BorrowedFd<'_>,
    kept: Option<BorrowedFd<'_>>,
    out: &mut dyn Outflow,
) -> Result<()> {
    let mut recipe = Gunzip::new(Box::new(recipe));
    let mut magic = [0; MAGIC.len()];
    recipe.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(damaged());
    }
    let mut buffer = vec![0; GATHER];
    let mut tag = [0];
    while recipe.read(&mut tag)? == 1 {
        match tag {
            [RAW] => {
                let size = number(&mut recipe)?;
                copy(&mut recipe, size, &mut buffer, out)?;
            }
            [FILE] => {
                let length = number(&mut recipe)?;
                if length > MAX_PATH {
                    return Err(damaged());
                }
                let mut path = Vec::new();
                read_most(&mut recipe, length, &mut path)?;
                let occurrence = number(&mut recipe)?;
                let size = number(&mut recipe)?;
                let mut file = open(diff, kept, &path, occurrence).context(|| show(&path))?;
                if file.metadata()?.len() != size {
                    let text = format!("{} has not the size that it had", show(&path));
                    return Err(Error::corrupt(text));
                }
                copy(&mut file, size, &mut buffer, out)?;
            }
            _ => return Err(damaged()),
        }
    }
    Ok(out.flush()?)
}

fn open(
    diff: BorrowedFd<'_>,
    kept: Option<BorrowedFd<'_>>,
    path: &[u8],
    occurrence: u64,
) -> Result<File> {
    if let Some(kept) = kept {
        let name = kept_name(path, occurrence);
        match node::exists(kept, name.as_bytes()) {
            Ok(true) => return Ok(File::from(node::open_file(kept, name.as_bytes())?)),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
    let mut parts = path.split(|byte| *byte == b'/');
    let name = parts.next_back().unwrap_or_default();
    let mut directory = None;
    for part in parts {
        let parent = directory.as_ref().map_or(diff, AsFd::as_fd);
        directory = Some(node::open_directory(parent, part).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => Error::corrupt("a directory of its path is none"),
            errno => errno.into(),
        })?);
    }
    let parent = directory.as_ref().map_or(diff, AsFd::as_fd);
    Ok(File::from(node::open_file(parent, name)?))
}

fn copy(from: &mut dyn Inflow, size: u64, buffer: &mut [u8], out: &mut dyn Outflow) -> Result<()> {
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let read = match from.read(part) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Err(damaged());
        }
        out.write_all(part.get(..read).unwrap_or_default())?;
        left -= read as u64;
    }
    Ok(())
}

fn append(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(from: &mut dyn Inflow) -> Result<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        let [byte] = byte;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged())
}

fn damaged() -> Error {
    Error::corrupt("the record of how the layer's tar looked is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tests::Scratch;

    #[test]
    fn numbers_of_all_lengths_come_back() {
        for expected in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            append(&mut out, expected);
            assert_eq!(number(&mut out.as_slice()).unwrap(), expected);
        }
        assert!(number(&mut [0x80; 11].as_slice()).is_err());
        assert!(number(&mut [0x80].as_slice()).is_err());
    }

    #[test]
    fn files_are_taken_from_the_tree_or_from_what_was_kept() {
        let scratch = Scratch::new();
        scratch.write("diff/d/f", b"new");
        scratch.write(&format!("kept/{}", kept_name(b"d/f", 0)), b"older");
        let mut out = Vec::new();
        let mut recipe = Recipe::new(&mut out).unwrap();
        recipe.raw(b"<").unwrap();
        recipe.file(b"d/f", 0, 5).unwrap();
        recipe.raw(b"|").unwrap();
        recipe.file(b"d/f", 1, 3).unwrap();
        recipe.raw(&vec![b'>'; GATHER + 1]).unwrap();
        recipe.finish().unwrap();
        let diff = node::open_directory(scratch.fd(), b"diff").unwrap();
        let kept = node::open_directory(scratch.fd(), b"kept").unwrap();
        let mut tar = Vec::new();
        replay(&mut out.as_slice(), diff.as_fd(), Some(kept.as_fd()), &mut tar).unwrap();
        assert_eq!(tar, [b"<older|new".as_slice(), &vec![b'>'; GATHER + 1]].concat());
        scratch.write("diff/d/f", b"newer");
        let error = replay(&mut out.as_slice(), diff.as_fd(), Some(kept.as_fd()), &mut tar);
        assert!(error.unwrap_err().text().contains("has not the size"));
    }
}
