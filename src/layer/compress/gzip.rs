//! gzip both ways, in fixed memory. Source: RFC 1952.

use std::io::{self, Read, Write};

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use super::{BUFFER, Format};
use crate::error::{Error, Result};
use crate::layer::crc32::Crc32;
use crate::sys::flow::{Inflow, Outflow};

/// Decompresses gzip, all members of it.
pub struct Gunzip<'a> {
    input: Box<dyn Inflow + 'a>,
    buffer: Box<[u8]>,
    /// What of the buffer is not used yet.
    next: usize,
    end: usize,
    state: Box<InflateState>,
    crc: Crc32,
    bytes: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first member.
    Begin,
    Member,
    /// After a member.
    Between,
    End,
}

impl<'a> Gunzip<'a> {
    /// A stream whose next bytes are a gzip header.
    pub fn new(input: Box<dyn Inflow + 'a>) -> Gunzip<'a> {
        Gunzip {
            input,
            buffer: vec![0; BUFFER].into(),
            next: 0,
            end: 0,
            state: InflateState::new_boxed(DataFormat::Raw),
            crc: Crc32::new(),
            bytes: 0,
            place: Place::Begin,
        }
    }

    fn fill(&mut self) -> Result<&[u8]> {
        if self.next == self.end {
            self.next = 0;
            self.end = loop {
                match self.input.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
        }
        Ok(self.buffer.get(self.next..self.end).unwrap_or_default())
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.fill()?.first().ok_or_else(cut_short)?;
        self.next += 1;
        Ok(byte)
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]))
    }

    fn header(&mut self) -> Result<()> {
        let magic = [self.byte()?, self.byte()?, self.byte()?];
        let flags = self.byte()?;
        if magic != [0x1f, 0x8b, 8] || flags & 0xe0 != 0 {
            return Err(damaged("its header is not one of gzip"));
        }
        for _ in 0..6 {
            self.byte()?;
        }
        if flags & 4 != 0 {
            let length = u16::from_le_bytes([self.byte()?, self.byte()?]);
            for _ in 0..length {
                self.byte()?;
            }
        }
        for text in [8, 16] {
            while flags & text != 0 && self.byte()? != 0 {}
        }
        if flags & 2 != 0 {
            self.byte()?;
            self.byte()?;
        }
        self.state.reset(DataFormat::Raw);
        self.bytes = 0;
        self.crc.take();
        self.place = Place::Member;
        Ok(())
    }

    /// What follows a member: another one, or what gzip(1), tar(1) and docker pass over, such as
    /// the zeros up to the end of a tape's block.
    fn between(&mut self) -> Result<()> {
        if self.fill()?.first() == Some(&0x1f) {
            return self.header();
        }
        loop {
            if self.fill()?.is_empty() {
                self.place = Place::End;
                return Ok(());
            }
            self.next = self.end;
        }
    }

    fn member(&mut self, out: &mut [u8]) -> Result<usize> {
        let at_end = self.fill()?.is_empty();
        let input = self.buffer.get(self.next..self.end).unwrap_or_default();
        let done = inflate(&mut self.state, input, out, MZFlush::None);
        self.next += done.bytes_consumed;
        let fresh = out.get(..done.bytes_written).unwrap_or_default();
        self.crc.update(fresh);
        self.bytes = self.bytes.wrapping_add(fresh.len() as u32);
        match done.status {
            Ok(MZStatus::StreamEnd) => {
                if self.word()? != self.crc.take() || self.word()? != self.bytes {
                    return Err(damaged("its checksum is not that of its content"));
                }
                self.place = Place::Between;
            }
            Ok(_) => {}
            // Nothing came out and nothing more comes in.
            Err(miniz_oxide::MZError::Buf) if at_end => return Err(cut_short()),
            Err(miniz_oxide::MZError::Buf) => {}
            Err(_) => return Err(damaged("its content is not deflate")),
        }
        if at_end && done.bytes_written == 0 && self.place == Place::Member {
            return Err(cut_short());
        }
        Ok(done.bytes_written)
    }
}

impl Read for Gunzip<'_> {
    // Once: it is called both as what it is and as any source. 7.5 KB.
    #[inline(never)]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self.place {
                Place::End => return Ok(0),
                Place::Begin => self.header()?,
                Place::Between => self.between()?,
                Place::Member => {
                    let read = self.member(out)?;
                    if read > 0 {
                        return Ok(read);
                    }
                }
            }
        }
    }
}

fn damaged(how: &str) -> Error {
    super::damaged(Format::Gzip, how)
}

fn cut_short() -> Error {
    damaged("it ends too early")
}

/// No name, no time, "unknown" as the system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compresses as gzip: same bytes and level, same output.
pub struct Gzip<'a> {
    out: &'a mut dyn Outflow,
    compressor: Box<CompressorOxide>,
    buffer: Box<[u8]>,
    crc: Crc32,
    bytes: u32,
}

impl<'a> Gzip<'a> {
    /// Writes the header. `level` goes from 0 (stored) to 9 (smallest).
    pub fn new(out: &'a mut dyn Outflow, level: u8) -> Result<Gzip<'a>> {
        out.write_all(&HEADER)?;
        let flags = create_comp_flags_from_zip_params(level.min(9).into(), -15, 0);
        Ok(Gzip {
            out,
            compressor: Box::new(CompressorOxide::new(flags)),
            buffer: vec![0; BUFFER].into(),
            crc: Crc32::new(),
            bytes: 0,
        })
    }

    fn deflate(&mut self, mut bytes: &[u8], flush: MZFlush) -> io::Result<()> {
        loop {
            let done = deflate(&mut self.compressor, bytes, &mut self.buffer, flush);
            self.out.write_all(self.buffer.get(..done.bytes_written).unwrap_or_default())?;
            bytes = bytes.get(done.bytes_consumed..).unwrap_or_default();
            match done.status {
                Ok(MZStatus::StreamEnd) => return Ok(()),
                Ok(_) if flush == MZFlush::None && bytes.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(miniz_oxide::MZError::Buf) if bytes.is_empty() => return Ok(()),
                Err(_) => return Err(damaged("deflate failed").into()),
            }
        }
    }

    /// Writes what is left and the trailer.
    pub fn finish(mut self) -> Result<()> {
        self.deflate(&[], MZFlush::Finish)?;
        let crc = self.crc.take();
        self.out.write_all(&crc.to_le_bytes())?;
        self.out.write_all(&self.bytes.to_le_bytes())?;
        Ok(self.out.flush()?)
    }
}

impl Write for Gzip<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.deflate(bytes, MZFlush::None)?;
            self.crc.update(bytes);
            self.bytes = self.bytes.wrapping_add(bytes.len() as u32);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pipe, read, text};
    use super::*;

    fn gzip(bytes: &[u8], level: u8) -> Vec<u8> {
        let mut out = Vec::new();
        let mut gzip = Gzip::new(&mut out, level).unwrap();
        bytes.chunks(10_000).for_each(|part| gzip.write_all(part).unwrap());
        gzip.finish().unwrap();
        out
    }

    #[test]
    fn gzip_reads_what_was_written_and_the_other_way_round() {
        for length in [0, 1, 65_536, 300_000] {
            let plain = text(length);
            for level in [0, 1, 6, 9] {
                let packed = gzip(&plain, level);
                assert_eq!(pipe("gzip", &["-d"], &packed), plain, "{length} {level}");
                assert_eq!(read(&packed).unwrap(), plain, "{length} {level}");
                assert_eq!(gzip(&plain, level), packed);
            }
            assert_eq!(read(&pipe("gzip", &[], &plain)).unwrap(), plain);
        }
    }

    #[test]
    fn members_are_read_and_what_follows_them_is_not() {
        let one = gzip(b"one", 6);
        let two = gzip(b"two", 6);
        let cases: [(Vec<u8>, Option<&str>); 7] = [
            ([one.clone(), two.clone()].concat(), Some("onetwo")),
            ([one.clone(), vec![0; 700]].concat(), Some("one")),
            ([one.clone(), b"x".to_vec()].concat(), Some("one")),
            ([one.clone(), vec![0, 1]].concat(), Some("one")),
            ([one.clone(), vec![0x1f, 0x8b]].concat(), None),
            (one[..one.len() - 1].to_vec(), None),
            (one[..13].to_vec(), None),
        ];
        for (packed, expected) in cases {
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(read(&packed).ok(), expected, "{packed:02x?}");
        }
        for at in [10, one.len() - 8, one.len() - 4] {
            let mut bent = one.clone();
            bent[at] ^= 0x10;
            assert!(read(&bent).is_err(), "{at}");
        }
    }

    #[test]
    fn all_fields_of_the_header_are_skipped() {
        let plain = gzip(b"x", 6);
        let mut full = vec![0x1f, 0x8b, 8, 0x1e, 1, 2, 3, 4, 0, 3];
        full.extend_from_slice(b"\x03\x00abcname\0comment\0\xaa\xbb");
        full.extend_from_slice(&plain[10..]);
        assert_eq!(read(&full).unwrap(), b"x");
    }
}
