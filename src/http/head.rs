//! The head of a response: status line and headers (RFC 9112), within bounds.

use std::io::{BufRead, Read};

use crate::error::{Error, Result};

/// All bytes of the heads of one response, those of interim ones too.
const MAX_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 200;

/// The headers of a response, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first one of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// All of this name, in any case of its letters.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        let mut words = self.all("connection").flat_map(|value| value.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case("close"))
    }
}

/// A response without its body.
#[derive(Debug)]
pub struct Head {
    /// Three digits.
    pub status: u16,
    /// The connection may be used again when the body is read.
    pub is_lasting: bool,
    /// What else was said.
    pub headers: Headers,
}

/// Reads the head of the final response; interim ones (1xx) are passed over.
pub fn read(input: &mut dyn BufRead) -> Result<Head> {
    let mut left = MAX_BYTES;
    loop {
        let head = read_one(input, &mut left)?;
        if !(100..200).contains(&head.status) {
            return Ok(head);
        }
        // Nobody has asked for another protocol.
        if head.status == 101 {
            return Err(bad("the server changes the protocol"));
        }
    }
}

fn read_one(input: &mut dyn BufRead, left: &mut usize) -> Result<Head> {
    let first = line(input, left)?;
    let status = status(&first).ok_or_else(|| {
        bad("it is no HTTP").hint("is it the right port, and http:// or https:// as it should be?")
    })?;
    let mut headers = Vec::new();
    loop {
        let text = line(input, left)?;
        if text.is_empty() {
            let headers = Headers(headers);
            let is_lasting = first.starts_with(b"HTTP/1.1 ") && !headers.closes();
            return Ok(Head { status, is_lasting, headers });
        }
        if headers.len() == MAX_HEADERS {
            return Err(bad("it has more than 200 headers"));
        }
        headers.push(header(&text).ok_or_else(|| bad("a header is malformed"))?);
    }
}

fn bad(what: &str) -> Error {
    Error::input(format!("the answer of the server cannot be used: {what}"))
}

/// A line without its end, which is CRLF, or LF alone (RFC 9112, 2.2).
pub(super) fn line(input: &mut dyn BufRead, left: &mut usize) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    let read = input.take(*left as u64).read_until(b'\n', &mut line)?;
    *left = left.saturating_sub(read);
    if line.pop() != Some(b'\n') {
        return Err(match *left {
            0 => bad("its head is longer than 64 KiB"),
            _ => Error::input("the connection was closed before the answer was complete"),
        });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', a, b, c, rest @ ..] = rest else { return None };
    if !(rest.is_empty() || rest.starts_with(b" ")) || !matches!(a, b'1'..=b'9') {
        return None;
    }
    std::str::from_utf8(&[*a, *b, *c]).ok()?.parse().ok()
}

/// A line that begins with a blank would go on the one before it: nobody does that any more but
/// to deceive (RFC 9112, 5.2), and it has no name here.
fn header(line: &[u8]) -> Option<(String, String)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return None;
    }
    let value = value.get(1..)?.trim_ascii();
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(name), text(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Head> {
        read(&mut text.as_bytes())
    }

    #[test]
    fn a_head_is_read_after_interim_ones() {
        let head = parsed(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nLink: x\r\n\r\n\
             HTTP/1.0 200 OK\r\nETag: \"a\"\r\nX:\r\nx:  b \nSet: 1:2\r\n\r\nbody",
        )
        .unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.headers.get("etag"), Some("\"a\""));
        assert_eq!(head.headers.all("X").collect::<Vec<_>>(), ["", "b"]);
        assert_eq!(head.headers.get("set"), Some("1:2"));
        assert_eq!(head.headers.get("link"), None);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "",
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 -20 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "\u{15}\u{3}\u{1}",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\u{0}\r\n\r\n",
        ] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let many = "A: b\r\n".repeat(300);
        let error = parsed(&format!("HTTP/1.1 200 OK\r\n{many}")).unwrap_err();
        assert!(error.text().contains("more than 200 headers"), "{error}");
        let long = "x".repeat(70_000);
        let error = parsed(&format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n")).unwrap_err();
        assert!(error.text().contains("longer than 64 KiB"), "{error}");
        let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        let error = parsed(&flood).unwrap_err();
        assert!(error.text().contains("longer than 64 KiB"), "{error}");
    }
}
