//! How a layer or an archive is compressed, told by its first bytes, and its bytes decompressed.
//!
//! Streams; memory is the window of the format and no more. gzip is always there and the only one
//! that is written; the readers of the others are features of the binary.

use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::sys::flow::{Inflow, read_most};

#[cfg(feature = "net")]
mod blocks;
mod gzip;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod xxh64;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(feature = "net")]
pub use blocks::{Blocks, Helpers};
pub use gzip::{Gunzip, Gzip};

const BUFFER: usize = 64 << 10;

/// The largest window or dictionary that is read, in MiB: what a stranger's archive may make
/// lath allocate. It is what `zstd -d` allows, and twice what `xz -9` asks for.
#[cfg(any(feature = "xz", feature = "zstd"))]
const MAX_WINDOW_MIB: u32 = 128;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not at all, as far as the first bytes tell.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// The xz file format.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Format {
    /// Bytes that `detect` wants to see, if there are so many.
    pub const MAGIC_BYTES: usize = 6;

    /// Tells the format by the first bytes.
    pub fn detect(start: &[u8]) -> Format {
        match start {
            [0x1f, 0x8b, 8, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Format::Bzip2,
            _ => Format::Plain,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Xz => "xz",
            Format::Bzip2 => "bzip2",
        }
    }
}

/// Finds out how `input` is compressed, and reads it decompressed. An error of kind
/// `Unsupported`, here or from the reader, says that this lath cannot or will not read it;
/// damage is `Corrupt`, or `Input` when it is not at the start although nothing was read yet.
pub fn decompress<'a>(mut input: Box<dyn Inflow + 'a>) -> Result<(Format, Box<dyn Inflow + 'a>)> {
    let mut start = Vec::with_capacity(Format::MAGIC_BYTES);
    read_most(&mut input, Format::MAGIC_BYTES as u64, &mut start)?;
    let format = Format::detect(&start);
    let whole: Box<dyn Inflow + 'a> = Box::new(io::Cursor::new(start).chain(input));
    let plain: Box<dyn Inflow + 'a> = match format {
        Format::Plain => whole,
        Format::Gzip => Box::new(Gunzip::new(whole)),
        #[cfg(feature = "zstd")]
        Format::Zstd => Box::new(zstd::Unzstd::new(whole)),
        #[cfg(feature = "xz")]
        Format::Xz => {
            let input = io::BufReader::with_capacity(BUFFER, whole);
            // The limit counts what the decoder needs beside the dictionary, 104 KiB.
            let limit = (MAX_WINDOW_MIB << 10) + 128;
            let reader = lzma_rust2::XzReader::new_mem_limit(input, true, limit);
            Box::new(Foreign::new(format, Box::new(reader)))
        }
        #[cfg(feature = "bzip2")]
        Format::Bzip2 => {
            let input = io::BufReader::with_capacity(BUFFER, whole);
            let reader = bzip2::bufread::MultiBzDecoder::new(input);
            Box::new(Foreign::new(format, Box::new(reader)))
        }
        #[allow(unreachable_patterns, reason = "with all features nothing is left")]
        _ => {
            let name = format.name();
            return Err(Error::unsupported(format!("this lath was built without {name}"))
                .hint("take a lath that has this feature, or compress with gzip"));
        }
    };
    Ok((format, plain))
}

/// A decompressor of another crate: its errors become lath's, and after one nothing is read.
#[cfg(any(feature = "xz", feature = "bzip2"))]
struct Foreign<'a> {
    format: Format,
    /// Nothing after an error.
    reader: Option<Box<dyn Inflow + 'a>>,
}

#[cfg(any(feature = "xz", feature = "bzip2"))]
impl<'a> Foreign<'a> {
    fn new(format: Format, reader: Box<dyn Inflow + 'a>) -> Self {
        Foreign { format, reader: Some(reader) }
    }

    fn error(&self, error: io::Error) -> io::Error {
        let is_of_input = error.raw_os_error().is_some()
            || error.get_ref().is_some_and(|inner| inner.is::<Error>());
        if is_of_input {
            return error;
        }
        match error.kind() {
            io::ErrorKind::OutOfMemory => too_large(self.format),
            io::ErrorKind::Unsupported => {
                let name = self.format.name();
                Error::unsupported(format!("the {name} data uses what lath does not know"))
            }
            io::ErrorKind::UnexpectedEof => damaged(self.format, "it ends too early"),
            _ => damaged(self.format, "its content is not what it should be"),
        }
        .into()
    }
}

#[cfg(any(feature = "xz", feature = "bzip2"))]
impl Read for Foreign<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let Some(reader) = &mut self.reader else {
            return Err(damaged(self.format, "it was read after an error").into());
        };
        match reader.read(out) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.reader = None;
                Err(self.error(error))
            }
            read => read,
        }
    }
}

/// That the window is larger than what a stranger may have.
#[cfg(any(feature = "xz", feature = "bzip2", feature = "zstd"))]
fn too_large(format: Format) -> Error {
    let name = format.name();
    Error::unsupported(format!("the {name} data needs a window of more than 128 MiB"))
        .hint("compress it with a smaller one: zstd --long=27, xz -9")
}

fn damaged(format: Format, how: &str) -> Error {
    Error::corrupt(format!("the {} data is damaged: {how}", format.name()))
}
