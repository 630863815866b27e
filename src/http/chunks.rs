//! The content of a request in chunks (RFC 9112, 7.1), for what is made while it is sent.

use std::io::{self, Write};

use super::Fill;
use crate::error::Result;
use crate::sys::flow::Outflow;

/// A chunk has so many bytes, the last one less.
const CHUNK_BYTES: usize = 64 << 10;

/// Sends what `fill` writes, and its end.
pub(super) fn send(out: &mut dyn Outflow, fill: &mut Fill<'_>) -> Result<()> {
    let mut chunks = Chunks { out, waiting: Vec::with_capacity(CHUNK_BYTES) };
    fill(&mut chunks)?;
    chunks.send()?;
    chunks.out.write_all(b"0\r\n\r\n")?;
    Ok(chunks.out.flush()?)
}

struct Chunks<'a> {
    out: &'a mut dyn Outflow,
    waiting: Vec<u8>,
}

impl Chunks<'_> {
    fn send(&mut self) -> io::Result<()> {
        // One without bytes would be the end.
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.out.write_all(format!("{:x}\r\n", self.waiting.len()).as_bytes())?;
        self.waiting.extend_from_slice(b"\r\n");
        self.out.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES.saturating_sub(self.waiting.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.waiting.extend_from_slice(taken);
        if self.waiting.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_their_sizes_and_an_end() {
        let sent = |parts: &[&[u8]]| {
            let mut out = Vec::new();
            send(&mut out, &mut |to| Ok(parts.iter().try_for_each(|part| to.write_all(part))?))
                .unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(sent(&[]), "0\r\n\r\n");
        assert_eq!(sent(&[b"ab", b"", b"c"]), "3\r\nabc\r\n0\r\n\r\n");
        let long = sent(&[&[b'x'; CHUNK_BYTES + 1]]);
        assert!(long.starts_with("10000\r\nx") && long.ends_with("x\r\n1\r\nx\r\n0\r\n\r\n"));
    }
}
