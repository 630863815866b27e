//! JSON texts, image configs and manifests: what is accepted is what RFC 8259 has, less what lath
//! refuses on purpose; it is written and read again as the same; memory is bounded.

#![no_main]

use lath::image::config::ImageConfig;
use lath::image::descriptor::Manifest;
use lath::image::json::Value;
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let (parsed, bytes) = peak(|| Value::parse(text));
    // A value is some 50 bytes and may be written with two; a Vec doubles.
    assert!(bytes <= 200 * text.len() + 4096, "{bytes} bytes for {}", text.len());
    let mut slow = Slow { text, at: 0, values: 0, refused: false };
    let wanted = std::str::from_utf8(text).is_ok() && slow.whole() && !slow.refused;
    assert_eq!(parsed.is_ok(), wanted, "{parsed:?}");
    if let Ok(value) = parsed {
        let once = value.to_text();
        let again = Value::parse(once.as_bytes()).expect("our own text");
        assert_eq!(again, value);
        assert_eq!(Value::parse(value.to_pretty().as_bytes()).expect("our own text"), value);
    }
    if let Ok(config) = ImageConfig::parse(text) {
        let once = config.to_text();
        let again = ImageConfig::parse(once.as_bytes()).expect("our own config");
        assert_eq!(again.to_text(), once);
    }
    let _ = Manifest::parse(text);
});

/// RFC 8259 word for word, with nothing made of it; and what lath leaves out: depth, a key twice.
struct Slow<'a> {
    text: &'a [u8],
    at: usize,
    values: usize,
    refused: bool,
}

impl Slow<'_> {
    fn whole(&mut self) -> bool {
        self.blanks();
        self.value(0) && {
            self.blanks();
            self.at == self.text.len()
        }
    }

    fn next(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn eat(&mut self, word: &[u8]) -> bool {
        let is_here = self.text[self.at..].starts_with(word);
        if is_here {
            self.at += word.len();
        }
        is_here
    }

    fn blanks(&mut self) {
        while self.eat(b" ") || self.eat(b"\t") || self.eat(b"\n") || self.eat(b"\r") {}
    }

    fn value(&mut self, depth: usize) -> bool {
        if depth > 64 {
            self.refused = true;
            return false;
        }
        self.values += 1;
        if self.values > 32_768 {
            self.refused = true;
        }
        self.blanks();
        match self.next() {
            b'{' => self.members(b"{", b"}", depth, true),
            b'[' => self.members(b"[", b"]", depth, false),
            b'"' => self.string().is_some(),
            b't' => self.eat(b"true"),
            b'f' => self.eat(b"false"),
            b'n' => self.eat(b"null"),
            _ => self.number(),
        }
    }

    fn members(&mut self, open: &[u8], close: &[u8], depth: usize, keys: bool) -> bool {
        let mut seen = Vec::new();
        self.eat(open);
        self.blanks();
        if self.eat(close) {
            return true;
        }
        loop {
            self.blanks();
            if keys {
                let Some(key) = self.string() else { return false };
                self.refused |= seen.contains(&key);
                seen.push(key);
                self.blanks();
                if !self.eat(b":") {
                    return false;
                }
            }
            if !self.value(depth + 1) {
                return false;
            }
            self.blanks();
            if self.eat(close) {
                return true;
            }
            if !self.eat(b",") {
                return false;
            }
        }
    }

    /// The string in UTF-16, where lone surrogates are U+FFFD.
    fn string(&mut self) -> Option<String> {
        let mut units: Vec<u16> = Vec::new();
        if !self.eat(b"\"") {
            return None;
        }
        while !self.eat(b"\"") {
            let rest = self.text.get(self.at..).unwrap_or_default();
            match rest.first()? {
                0..0x20 => return None,
                b'\\' => {
                    let plain = match rest.get(1)? {
                        b'"' => '"',
                        b'\\' => '\\',
                        b'/' => '/',
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => {
                            let digits = rest.get(2..6)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            let digits = std::str::from_utf8(digits).ok()?;
                            units.push(u16::from_str_radix(digits, 16).ok()?);
                            self.at += 6;
                            continue;
                        }
                        _ => return None,
                    };
                    units.push(plain as u16);
                    self.at += 2;
                }
                _ => {
                    let text = std::str::from_utf8(rest).ok()?;
                    let c = text.chars().next()?;
                    units.extend(c.encode_utf16(&mut [0; 2]).iter());
                    self.at += c.len_utf8();
                }
            }
        }
        Some(String::from_utf16_lossy(&units))
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.next().is_ascii_digit() {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> bool {
        self.eat(b"-");
        if !self.eat(b"0") && !self.digits() {
            return false;
        }
        if self.eat(b".") && !self.digits() {
            return false;
        }
        if self.eat(b"e") || self.eat(b"E") {
            let _ = self.eat(b"+") || self.eat(b"-");
            return self.digits();
        }
        true
    }
}
