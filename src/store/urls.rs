//! What is known of fetched addresses: `urls/<hash>`, a small flat file each. With it a server
//! can be asked whether something has changed since, instead of for all of it again.

use std::os::fd::AsFd;

use super::{Fields, Scratch, Store, seal};
use crate::error::{Context, Result};
use crate::image::digest::Digest;
use crate::sys::fs::{read_small, write_new};

/// So many are kept; then all are forgotten, which costs nothing but downloads.
const MOST: usize = 1000;
/// The longest validator that is kept, in bytes.
const LONGEST: usize = 1024;

/// What was fetched from an address, and how the server knows it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Of the bytes.
    pub digest: Digest,
    /// The server's `ETag`, as it came.
    pub etag: Option<String>,
    /// The server's `Last-Modified`, as it came.
    pub modified: Option<String>,
}

impl Fetched {
    fn to_text(&self) -> String {
        let mut text = format!("digest {}\n", self.digest);
        for (name, value) in [("etag", &self.etag), ("modified", &self.modified)] {
            if let Some(value) = value {
                text.push_str(&format!("{name} {value}\n"));
            }
        }
        seal::seal(&text)
    }

    pub(super) fn parse(text: &str) -> Option<Fetched> {
        let fields = Fields(seal::unseal(text)?);
        let own = |name| fields.get(name).map(str::to_owned);
        let digest = Digest::parse(fields.get("digest")?).ok()?;
        Some(Fetched { digest, etag: own("etag"), modified: own("modified") })
    }
}

/// By hash: an address is long, hostile, and may hold a password.
fn path(address: &str) -> String {
    format!("urls/{}", blake3::hash(address.as_bytes()).to_hex())
}

impl Store {
    /// What was fetched from this address the last time. A file that cannot be read is none.
    pub fn fetched(&self, address: &str) -> Result<Option<Fetched>> {
        let path = path(address);
        self.touch(&path);
        let text = read_small(self.fd(), &path, 2 * LONGEST + 256)?;
        let own = text.and_then(|text| Fetched::parse(&String::from_utf8_lossy(&text)));
        match self.below() {
            Some(below) if own.is_none() => below.fetched(address),
            _ => Ok(own),
        }
    }

    /// Keeps that for the next time. It is not made durable: half of a file is none.
    pub fn remember(&self, scratch: &Scratch, address: &str, fetched: &Fetched) -> Result<()> {
        let says = || "remember what was fetched";
        let given = [&fetched.etag, &fetched.modified];
        if given.into_iter().flatten().any(|value| value.len() > LONGEST) {
            return Ok(());
        }
        self.make_dir("urls")?;
        let mut names = Vec::new();
        self.each_name("urls", &mut |name| {
            names.push(name.to_owned());
            Ok(true)
        })?;
        if names.len() >= MOST {
            let dir = self.dir("urls")?;
            for name in names {
                let _ = rustix::fs::unlinkat(&dir, &name, rustix::fs::AtFlags::empty());
            }
        }
        let made = scratch.workspace()?;
        write_new(made.dir.as_fd(), "url", fetched.to_text().as_bytes())?;
        rustix::fs::renameat(&made.dir, "url", self.fd(), path(address)).context(says)?;
        scratch.discard(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_reads_back_and_half_of_it_is_none() {
        let fetched = Fetched {
            digest: Digest::of(b"a"),
            etag: Some("W/\"a b\"".into()),
            modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
        };
        assert_eq!(Fetched::parse(&fetched.to_text()), Some(fetched.clone()));
        assert_eq!(Fetched::parse(fetched.to_text().get(..40).unwrap()), None);
        assert_eq!(Fetched::parse(""), None);
        assert_ne!(path("http://a/"), path("http://b/"));
    }
}
