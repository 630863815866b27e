//! References: the names of images, as docker reads and shows them.
//!
//! Source: distribution's reference grammar; `docker.io/library/` is what a short name means.

use std::fmt;

use super::digest::Digest;
use crate::error::{Error, Result};

const MAX_NAME: usize = 255;

/// A normalised name: `docker.io/library/alpine`, tag `latest`, perhaps a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The registry's host and port: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// The repository in the registry: `library/alpine`.
    pub repository: String,
    /// The tag; `latest` when neither tag nor digest were given, nothing with a digest alone.
    pub tag: Option<String>,
    /// The digest after `@`.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as a user types it.
    pub fn parse(text: &str) -> Result<Reference> {
        let bad =
            |why: &str| Err(Error::input(format!("invalid reference format: {text:?} {why}")));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let colon = rest.get(slash..).and_then(|last| last.find(':')).map(|at| slash + at);
        let (name, tag) = match colon.and_then(|at| rest.split_at_checked(at)) {
            Some((name, tag)) => (name, Some(tag.trim_start_matches(':').to_owned())),
            None => (rest, None),
        };
        if let Some(tag) = &tag
            && !is_tag(tag)
        {
            return bad("has a bad tag");
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first.to_owned(), path.to_owned()),
            _ => ("docker.io".to_owned(), name.to_owned()),
        };
        let registry =
            if registry == "index.docker.io" { "docker.io".to_owned() } else { registry };
        let repository = if registry == "docker.io" && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.clone()
        };
        if path.is_empty() {
            return bad("has no name");
        }
        // As distribution has it, of the whole repository alone; a host is no longer in the DNS.
        if repository.len() > MAX_NAME || registry.len() > MAX_NAME {
            return bad("is too long");
        }
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return bad("must be lower-case");
        }
        if !repository.split('/').all(is_component) || !is_host(&registry) {
            return bad("has characters that a name cannot have");
        }
        if digest.is_none() && Digest::parse_hex(name).is_some() {
            return bad("is an image id, not a name");
        }
        let tag = match (&tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            _ => tag,
        };
        Ok(Reference { registry, repository, tag, digest })
    }

    /// The name without tag and digest as docker shows it: `alpine`, `hub/redis`.
    pub fn familiar_name(&self) -> String {
        if self.registry != "docker.io" {
            return format!("{}/{}", self.registry, self.repository);
        }
        self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned()
    }

    /// The name without tag and digest in full.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Whether both are in the same repository of the same registry.
    pub fn is_same_repository(&self, other: &Reference) -> bool {
        (&self.registry, &self.repository) == (&other.registry, &other.repository)
    }

    /// The tag to file it under.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

/// As docker shows it: `alpine:latest`, `hub/redis@sha256:...`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar_name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

/// A first component is a registry when it cannot be a part of a Docker Hub name.
fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.chars().any(|c| c.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let hex = |c: char| c.is_ascii_hexdigit() || c == ':';
                return !address.is_empty()
                    && address.chars().all(hex)
                    && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut joint = 0usize;
    let mut last = b'.';
    for byte in part.bytes() {
        if alnum(byte) {
            joint = 0;
        } else {
            joint += 1;
            let allowed = match byte {
                b'.' => joint == 1,
                b'_' => joint == 1 || (joint == 2 && last == b'_'),
                b'-' => joint == 1 || last == b'-',
                _ => false,
            };
            if !allowed {
                return false;
            }
        }
        last = byte;
    }
    let ends = |byte: Option<u8>| byte.is_some_and(alnum);
    ends(part.bytes().next()) && ends(part.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (text, full, shown) in [
            ("alpine", "docker.io/library/alpine", "alpine:latest"),
            ("hub/redis:1", "docker.io/hub/redis", "hub/redis:1"),
            ("docker.io/alpine", "docker.io/library/alpine", "alpine:latest"),
            ("index.docker.io/library/a", "docker.io/library/a", "a:latest"),
            ("localhost:5000/a/b:x", "localhost:5000/a/b", "localhost:5000/a/b:x"),
            ("localhost/a", "localhost/a", "localhost/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a:latest"),
            ("a__b/c-_d", "", ""),
            ("a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e:latest"),
        ] {
            match Reference::parse(text) {
                Ok(reference) => {
                    assert_eq!(reference.full_name(), full, "{text}");
                    assert_eq!(reference.to_string(), shown, "{text}");
                }
                Err(_) => assert_eq!(full, "", "{text}"),
            }
        }
    }

    #[test]
    fn a_long_name_in_full_is_no_longer_than_it_was() {
        for (name, is_one) in [("x/", true), ("localhost:5000/", true), ("xx/", false), ("", false)]
        {
            let path = "a".repeat(255 - if name.starts_with('x') { 2 } else { 0 });
            let read = Reference::parse(&format!("{name}{path}"));
            assert_eq!(read.is_ok(), is_one, "{name}");
            if let Ok(reference) = read {
                assert!(Reference::parse(&reference.full_name()).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = Digest::of(b"x");
        let reference = Reference::parse(&format!("alpine@{digest}")).unwrap();
        assert_eq!((reference.tag.clone(), reference.digest), (None, Some(digest)));
        let both = Reference::parse(&format!("alpine:3@{digest}")).unwrap();
        assert_eq!(both.tag.as_deref(), Some("3"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(300);
        for bad in [
            "",
            ":",
            "a:",
            "A",
            "a/B",
            "../x",
            "a//b",
            "http://x",
            "-a",
            "a-",
            "a:b:c",
            "a@sha256:1",
            "a b",
            "x.y:99999/a",
            "a.-b",
            "a___b",
            "\u{430}lpine",
            &long,
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for text in ["alpine", "hub/redis:1", "localhost:5000/a/b:x", "a.b/c"] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        }
    }
}
