//! Digests and the ids made of them.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A sha256 digest, `sha256:` and 64 hex digits when written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The digest of an image's config: what docker calls the image id.
pub type ImageId = Digest;
/// The digest of a layer's uncompressed tar.
pub type DiffId = Digest;
/// Names a stack of layers (OCI image-spec, config.md, "Layer ChainID").
pub type ChainId = Digest;

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Reads `sha256:<64 hex>`; other algorithms are refused by name.
    pub fn parse(text: &str) -> Result<Digest> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(Error::input(format!("{text:?} is not a digest")));
        };
        if algorithm != "sha256" {
            return Err(Error::unsupported(format!("digest algorithm {algorithm:?}")));
        }
        Digest::parse_hex(hex).ok_or_else(|| Error::input(format!("{text:?} is not a digest")))
    }

    /// Reads 64 lower-case hex digits.
    pub fn parse_hex(hex: &str) -> Option<Digest> {
        let mut bytes = [0u8; 32];
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Digest(bytes))
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let digits = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        let mut hex = Vec::with_capacity(64);
        hex.extend(digits);
        String::from_utf8(hex).unwrap_or_default()
    }

    /// The first 12 hex digits, as docker shows ids.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// The chain id of a layer on top of `below`.
    pub fn chain(below: Option<&ChainId>, diff: &DiffId) -> ChainId {
        match below {
            None => *diff,
            Some(below) => Digest::of(format!("{below} {diff}").as_bytes()),
        }
    }

    /// The digest with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The raw bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a digest of bytes that come in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Takes some bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for bad in [
            "",
            "sha256:",
            "sha256:00",
            &EMPTY.to_uppercase(),
            "md5:00",
            EMPTY.trim_start_matches("sha256:"),
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_chain_of_one_layer_is_its_diff_id() {
        let diff = Digest::of(b"a");
        assert_eq!(Digest::chain(None, &diff), diff);
        // Of two layers: sha256 of "A B", by the image-spec.
        let both = Digest::chain(Some(&diff), &Digest::of(b"b"));
        assert_eq!(both, Digest::of(format!("{} {}", diff, Digest::of(b"b")).as_bytes()));
    }
}
