//! Reads Zstandard: all frames, skippable ones too. Source: RFC 8878.
//!
//! `ruzstd` decodes the blocks. What makes a file whole is held against it here: the checksum,
//! the promised size, and that nothing else follows the last frame.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::xxh64::Xxh64;
use super::{BUFFER, Format, MAX_WINDOW_MIB, damaged, too_large};
use crate::error::{Error, Kind, Result};
use crate::sys::flow::Inflow;

/// Decompresses zstd.
pub struct Unzstd<'a> {
    input: Input<'a>,
    decoder: FrameDecoder,
    sum: Xxh64,
    /// What this frame has given so far.
    bytes: u64,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// Before the first frame or after one.
    Between,
    Frame,
    End,
    Failed,
}

/// Remembers why a read failed, since the decoder's own errors bury it.
struct Input<'a> {
    input: BufReader<Box<dyn Inflow + 'a>>,
    failed: Option<io::Error>,
    is_at_end: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.input.read(out) {
            Ok(read) => {
                self.is_at_end = read == 0 && !out.is_empty();
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

impl<'a> Unzstd<'a> {
    /// A stream whose next bytes are the header of a frame.
    pub fn new(input: Box<dyn Inflow + 'a>) -> Unzstd<'a> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(u64::from(MAX_WINDOW_MIB) << 20);
        let input = BufReader::with_capacity(BUFFER, input);
        Unzstd {
            input: Input { input, failed: None, is_at_end: false },
            decoder,
            sum: Xxh64::new(),
            bytes: 0,
            place: Place::Between,
        }
    }

    /// The next frame, if there is one.
    fn header(&mut self) -> Result<()> {
        let is_end = loop {
            match self.input.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                filled => break filled?.is_empty(),
            }
        };
        if is_end {
            self.place = Place::End;
            return Ok(());
        }
        match self.decoder.reset(&mut self.input) {
            Ok(()) => {
                self.sum = Xxh64::new();
                self.bytes = 0;
                self.place = Place::Frame;
                Ok(())
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let mut rest = self.input.by_ref().take(length.into());
                match io::copy(&mut rest, &mut io::sink()) {
                    Ok(skipped) if skipped == u64::from(length) => Ok(()),
                    _ => Err(self.error()),
                }
            }
            Err(
                FrameDecoderError::WindowSizeTooBig { .. } | FrameDecoderError::FrameHeaderError(_),
            ) => Err(too_large(Format::Zstd)),
            Err(FrameDecoderError::DictNotProvided { .. }) => {
                Err(Error::unsupported("the zstd data needs a dictionary, which lath has not")
                    .hint("compress it without one"))
            }
            Err(_) => Err(self.error()),
        }
    }

    fn frame(&mut self, out: &mut [u8]) -> Result<usize> {
        while self.decoder.can_collect() == 0 {
            if self.decoder.is_finished() {
                self.place = Place::Between;
                return self.check().map(|()| 0);
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            if self.decoder.decode_blocks(&mut self.input, one).is_err() {
                return Err(self.error());
            }
        }
        let read = self.decoder.read(out)?;
        self.sum.update(out.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }

    /// Holds a frame that has ended against what it said of itself.
    fn check(&self) -> Result<()> {
        let sum = self.decoder.get_checksum_from_data();
        if sum.is_some_and(|sum| sum != self.sum.finish() as u32) {
            return Err(damaged(Format::Zstd, "its checksum is not that of its content"));
        }
        // Zero also stands for a size that was not told.
        let size = self.decoder.content_size();
        if size != 0 && size != self.bytes {
            return Err(damaged(Format::Zstd, "it is not as long as it says"));
        }
        Ok(())
    }

    /// Why it went wrong. Nothing of a frame comes out before its window is full: where blocks
    /// were decoded and none came out, the kind is `Input`, and not that of a bad start.
    fn error(&mut self) -> Error {
        let error = match self.input.failed.take() {
            Some(error) => return error.into(),
            None if self.input.is_at_end => damaged(Format::Zstd, "it ends too early"),
            None => damaged(Format::Zstd, "its content is not what it should be"),
        };
        let is_held_back = self.bytes == 0 && self.decoder.blocks_decoded() > 0;
        if is_held_back { error.of_kind(Kind::Input) } else { error }
    }
}

impl Read for Unzstd<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let done = match self.place {
                Place::End => return Ok(0),
                Place::Failed => Err(damaged(Format::Zstd, "it was read after an error")),
                Place::Between => self.header().map(|()| 0),
                Place::Frame => self.frame(out),
            };
            match done {
                Ok(0) => {}
                Ok(read) => return Ok(read),
                Err(error) => {
                    self.place = Place::Failed;
                    return Err(error.into());
                }
            }
        }
    }
}
