//! The body of a response: by its length, in chunks, or until the connection ends (RFC 9112, 6
//! and 7). One that ends early is an error, never a short file.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::connection::Input;
use super::head::{Headers, line};
use super::idle::Idle;
use crate::error::{Error, Result};

/// All lines between the chunks that are no data: sizes' extensions and trailers, each.
const MAX_LINE_BYTES: usize = 8 << 10;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// So many bytes of this chunk are still to come; the first one has not begun yet.
    Chunks { left: u64, is_first: bool },
    /// The connection's end is the body's.
    UntilClose,
    /// All is read.
    Done,
}

/// A body, read as it comes.
pub struct Body {
    /// Nothing when it went home.
    input: Option<Input>,
    /// Where the connection goes when all is read, and its place there.
    home: Option<(Arc<Idle>, String)>,
    framing: Framing,
    length: Option<u64>,
    read: u64,
}

impl Body {
    /// The body that follows a head; `is_empty` for a status or method that has none. `home`: where
    /// the connection goes afterwards, if it may be used again.
    pub(super) fn new(
        input: Input,
        headers: &Headers,
        is_empty: bool,
        home: Option<(Arc<Idle>, String)>,
    ) -> Result<Body> {
        let (framing, length) = match is_empty {
            true => (Framing::Done, None),
            false => framing(headers)?,
        };
        let mut body = Body { input: Some(input), home, framing, length, read: 0 };
        body.go_home();
        Ok(body)
    }

    /// Its length in bytes, when the server has told it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Framing::Chunks { left: 0, is_first } = self.framing {
            self.framing = self.next_chunk(is_first)?;
            self.go_home();
        }
        let left = match self.framing {
            Framing::Done => return Ok(0),
            Framing::UntilClose => u64::MAX,
            Framing::Length(left) | Framing::Chunks { left, .. } => left,
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(input) = &mut self.input else { return Ok(0) };
        let count = input.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.read += count as u64;
        let left = left - count as u64;
        self.framing = match (self.framing, count, left) {
            (Framing::UntilClose, 0, _) => {
                self.home = None;
                Framing::Done
            }
            (_, 0, _) => return Err(self.short()),
            (Framing::Length(_), _, 0) => Framing::Done,
            (Framing::Length(_), ..) => Framing::Length(left),
            (Framing::Chunks { .. }, ..) => Framing::Chunks { left, is_first: false },
            (other, ..) => other,
        };
        self.go_home();
        Ok(count)
    }

    fn next_chunk(&mut self, is_first: bool) -> Result<Framing> {
        let mut limit = MAX_LINE_BYTES;
        let Some(input) = &mut self.input else { return Ok(Framing::Done) };
        let mut read = || line(input as &mut dyn BufRead, &mut limit);
        let malformed = || Error::input("the server has sent a malformed chunk");
        // The end of the chunk before.
        if !is_first && !read()?.is_empty() {
            return Err(malformed());
        }
        let size = read()?;
        let size = size.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        let size = std::str::from_utf8(size).unwrap_or_default();
        if size.is_empty() || !size.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let left = u64::from_str_radix(size, 16).map_err(|_| malformed())?;
        if left > 0 {
            return Ok(Framing::Chunks { left, is_first: false });
        }
        // Trailers are for nobody here.
        while !read()?.is_empty() {}
        Ok(Framing::Done)
    }

    /// Gives the connection away when it has nothing more to say.
    fn go_home(&mut self) {
        if self.framing == Framing::Done
            && let Some((idle, place)) = self.home.take()
            && let Some(input) = self.input.take()
        {
            idle.put(place, input);
        }
    }

    fn short(&self) -> Error {
        let text = match self.length {
            Some(length) => format!("the connection ended after {} of {length} bytes", self.read),
            None => format!("the connection ended in the middle, after {} bytes", self.read),
        };
        Error::input(text).hint("try again; the server or the network has dropped it")
    }
}

/// An answer that nobody reads is most often here already: then the connection is as good as new.
impl Drop for Body {
    fn drop(&mut self) {
        if let (Framing::Length(left), Some(input)) = (self.framing, &mut self.input)
            && let Ok(left) = usize::try_from(left)
            && left <= input.buffer().len()
        {
            input.consume(left);
            self.framing = Framing::Done;
            self.go_home();
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}

fn framing(headers: &Headers) -> Result<(Framing, Option<u64>)> {
    let lengths = headers.all("content-length").flat_map(|value| value.split(','));
    let mut lengths: Vec<&str> = lengths.map(str::trim).collect();
    lengths.dedup();
    let mut codings = headers.all("transfer-encoding");
    match (codings.next(), codings.next(), lengths.as_slice()) {
        (None, _, []) => Ok((Framing::UntilClose, None)),
        (None, _, [length]) if length.bytes().all(|digit| digit.is_ascii_digit()) => {
            let length = length.parse().map_err(|_| unclear())?;
            let framing = if length == 0 { Framing::Done } else { Framing::Length(length) };
            Ok((framing, Some(length)))
        }
        (Some(coding), None, []) if coding.eq_ignore_ascii_case("chunked") => {
            Ok((Framing::Chunks { left: 0, is_first: true }, None))
        }
        _ => Err(unclear()),
    }
}

/// Two servers on the way could see two different ends in it.
fn unclear() -> Error {
    Error::input("the answer of the server cannot be used: it is not clear how long it is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::connection::tests::input;
    use crate::http::head;

    fn body(text: &str) -> Result<String> {
        let mut input = input(text);
        let head = head::read(&mut input)?;
        let mut body = Body::new(input, &head.headers, false, None)?;
        let mut text = String::new();
        body.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_body_ends_where_it_was_said() {
        for (text, wanted) in [
            ("Content-Length: 3\r\n\r\nabcdef", "abc"),
            ("Content-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabcdef", "abc"),
            ("Content-Length: 0\r\n\r\nabc", ""),
            ("\r\nabc", "abc"),
            (
                "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\nz",
                "abcde",
            ),
            ("Transfer-Encoding: chunked\r\n\r\n00000\r\n\r\n", ""),
        ] {
            assert_eq!(body(&format!("HTTP/1.1 200 OK\r\n{text}")).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn a_body_that_is_short_or_unclear_is_an_error() {
        for (text, wanted) in [
            ("Content-Length: 4\r\n\r\nabc", "ended after 3 of 4 bytes"),
            ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "not clear how long"),
            ("Content-Length: -3\r\n\r\nabc", "not clear how long"),
            ("Content-Length: 99999999999999999999\r\n\r\nabc", "not clear how long"),
            (
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "not clear how long",
            ),
            ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not clear how long"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nab", "in the middle, after 2 bytes"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "closed before"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "malformed chunk"),
            ("Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", "malformed chunk"),
            ("Transfer-Encoding: chunked\r\n\r\n\r\n", "malformed chunk"),
            ("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "malformed chunk"),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\n", "closed before"),
        ] {
            let error = body(&format!("HTTP/1.1 200 OK\r\n{text}")).unwrap_err();
            assert!(error.text().contains(wanted), "{text}: {error}");
        }
        let endless = format!("Transfer-Encoding: chunked\r\n\r\n3;{}\r\n", "x".repeat(9000));
        assert!(body(&format!("HTTP/1.1 200 OK\r\n{endless}")).is_err());
    }
}
