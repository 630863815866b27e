//! What ADD fetches over http and https. The key of such a step is made of the file's digest:
//! with `--checksum` it is known before anything is fetched, and a cached step asks nobody;
//! otherwise the server is asked whether the file has changed.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};

use super::held::Held;
use super::source::{Found, Framed, Tree};
use super::walk::Walk;
use crate::error::{Context, Error, Result};
use crate::event::{Event, Progress};
use crate::http::{Client, Request, Response, Url};
use crate::image::digest::{Digest, Hasher};
use crate::image::time::parse_http;
use crate::instruction::{CopyEffect, Source};
use crate::layer::compress::decompress;
use crate::pattern::Ignore;
use crate::store::Fetched;
use crate::sys::flow::Inflow;
use crate::sys::fs::{BUFFER, open_dir, write_all};

/// The name of a file whose address has none; BuildKit's.
const UNNAMED: &str = "__unnamed__";
/// A server's times have whole seconds: a file that has changed so shortly before it was sent may
/// change again without another time (RFC 9110, 8.8.2.2).
const SETTLED_SECONDS: i64 = 60;

/// A file from elsewhere: known by its digest, and here once it was needed.
pub struct Remote {
    /// As the Dockerfile has it.
    address: String,
    url: Url,
    digest: Digest,
    /// Seconds since 1970, when the server tells it.
    modified: Option<i64>,
    /// The Dockerfile has promised the digest.
    is_promised: bool,
    /// Locked while it is fetched: several steps may have the same.
    file: Mutex<Option<Arc<Held>>>,
}

impl Remote {
    /// Adds to a digest what a copy of it takes: its name, its bytes and its time.
    pub fn digest(&self, into: &mut blake3::Hasher) {
        Framed::new(into).frame(self.name().as_bytes());
        into.update(self.digest.bytes());
        into.update(&self.modified.unwrap_or(i64::MIN).to_le_bytes());
    }

    /// The file, once it was fetched.
    pub fn found(&self) -> Result<(Arc<Held>, Found)> {
        let held = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missing = || Error::not_found(format!("{}: it was not fetched", self.url));
        let held = held.ok_or_else(missing)?;
        let found = held.tree.look(Path::new(&self.name()))?.ok_or_else(missing)?;
        Ok((held, found))
    }

    fn name(&self) -> String {
        self.url.file_name().unwrap_or_else(|| UNNAMED.to_owned())
    }
}

/// The bytes at an address, as they come: a context or a Dockerfile. Nothing vouches for those but
/// the connection, so a redirect may not give up TLS.
pub fn stream(address: &str) -> Result<Box<dyn Inflow>> {
    let response = Client::new().send(Request::get(Url::parse(address)?))?;
    if !(200..300).contains(&response.status) {
        return Err(response.refusal());
    }
    if response.lost_tls {
        let text = format!("{} is plain http, where https was asked for", response.url);
        return Err(Error::input(text).hint("name that address itself, if that is what you want"));
    }
    Ok(Box::new(response.body))
}

impl Walk<'_, '_> {
    /// What the addresses of a copy lead to, in their order. Without a cache to ask, what is not
    /// promised is fetched at once. What several steps name is the same for all of them.
    pub(super) fn remotes(
        &mut self,
        copy: &CopyEffect,
        asks_cache: bool,
    ) -> Result<Vec<Arc<Remote>>> {
        let build = self.build;
        let mut remotes = Vec::new();
        for source in &copy.sources {
            let Source::Url(address) = source else { continue };
            let checksum = copy.checksum.as_deref();
            let mut make = || self.remote(address, checksum, asks_cache).map(Arc::new);
            remotes.push(match build.several.contains(address) {
                true => {
                    let key = format!("{address} {}", checksum.unwrap_or_default());
                    build.remotes.get(key, make)?
                }
                false => make()?,
            });
        }
        Ok(remotes)
    }

    fn remote(
        &mut self,
        address: &str,
        checksum: Option<&str>,
        asks_cache: bool,
    ) -> Result<Remote> {
        let mut remote = Remote {
            address: address.to_owned(),
            url: Url::parse(address)?,
            digest: Digest::of(b""),
            modified: None,
            is_promised: false,
            file: Mutex::default(),
        };
        match checksum {
            Some(checksum) => {
                remote.digest = promised(checksum)?;
                remote.is_promised = true;
            }
            None => self.ask(&mut remote, asks_cache)?,
        }
        Ok(remote)
    }

    /// Fetches a file that is not here yet, and whose digest is known.
    pub(super) fn fetch(&mut self, remote: &Remote) -> Result<()> {
        let mut file = remote.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_some() {
            return Ok(());
        }
        let response = Client::new().send(Request::get(remote.url.clone()))?;
        let (held, fetched) = self.keep(remote, response)?;
        let (wanted, found) = (remote.digest, fetched.digest);
        if found != wanted {
            let text = format!("{}: digest mismatch {found}: {wanted}", remote.url);
            return Err(Error::input(text).hint(match remote.is_promised {
                true => "the first is what the server gives, the second what --checksum wants",
                false => "the file has changed during the build: build again",
            }));
        }
        *file = Some(held);
        Ok(())
    }

    /// Asks a server for a file, but not for one that it has given before.
    fn ask(&mut self, remote: &mut Remote, asks_cache: bool) -> Result<()> {
        let known = match asks_cache {
            true => self.build.session.store.fetched(&remote.address)?,
            false => None,
        };
        let mut request = Request::get(remote.url.clone());
        if let Some(known) = &known {
            request = match (&known.etag, &known.modified) {
                (Some(etag), _) => request.header("If-None-Match", etag.as_str()),
                (None, Some(modified)) => request.header("If-Modified-Since", modified.as_str()),
                (None, None) => request,
            };
        }
        let response = Client::new().send(request)?;
        if let Some(known) = known.filter(|known| is_unchanged(known, &response)) {
            remote.digest = known.digest;
            remote.modified = known.modified.as_deref().and_then(parse_http);
            return Ok(());
        }
        let (held, fetched) = self.keep(remote, response)?;
        remote.digest = fetched.digest;
        remote.modified = fetched.modified.as_deref().and_then(parse_http);
        remote.file = Mutex::new(Some(held));
        Ok(())
    }

    /// Takes a response into the scratch.
    fn keep(&mut self, remote: &Remote, response: Response) -> Result<(Arc<Held>, Fetched)> {
        if !(200..300).contains(&response.status) {
            return Err(response.refusal());
        }
        let header = |name: &str| response.headers.get(name).map(str::to_owned);
        let (etag, modified) = (header("etag"), header("last-modified"));
        let now = header("date").as_deref().and_then(parse_http);
        let time = modified.as_deref().and_then(parse_http);
        let is_coded = header("content-encoding").is_some_and(|c| c.eq_ignore_ascii_case("gzip"));
        if response.lost_tls && !remote.is_promised {
            let text = format!("{} came over plain http, where https was asked for", response.url);
            self.listener().event(&Event::Warning { text: &text });
        }
        let scratch = self.work()?.scratch.clone();
        let workspace = scratch.workspace()?;
        let dir = open_dir(workspace.dir.as_fd(), ".")?;
        let tree = Tree::new(dir, Ignore::default(), false);
        let held = Arc::new(Held::new(tree, scratch.clone(), workspace));
        let total = response.body.length().filter(|_| !is_coded);
        let body: Box<dyn Inflow> = Box::new(response.body);
        let body = if is_coded { decompress(body)?.1 } else { body };
        let digest = self
            .download(body, total, held.tree.root(), &remote.name(), time)
            .context(|| &remote.url)?;
        let fetched = Fetched { digest, etag, modified };
        // Without --checksum that is what makes the next build fast.
        let is_settled = now.zip(time).is_some_and(|(now, then)| now - then >= SETTLED_SECONDS);
        if !remote.is_promised && (fetched.etag.is_some() || is_settled) {
            self.build.session.store.remember(&scratch, &remote.address, &fetched)?;
        }
        Ok((held, fetched))
    }

    fn download(
        &mut self,
        mut body: Box<dyn Inflow>,
        total_bytes: Option<u64>,
        dir: std::os::fd::BorrowedFd<'_>,
        name: &str,
        modified: Option<i64>,
    ) -> Result<Digest> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
        let store = &self.build.session.store;
        let mut progress = Progress::new(self.listener(), "download", total_bytes);
        let mut hasher = Hasher::new();
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let count = body.read(&mut buffer)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            store.room(count as u64)?;
            write_all(file.as_fd(), bytes)?;
            progress.add(count as u64);
        }
        let time = Timespec { tv_sec: modified.unwrap_or(0), tv_nsec: 0 };
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        Ok(hasher.finish())
    }
}

/// The server says so, or has sent it with the very tag that it had: some do not compare.
fn is_unchanged(known: &Fetched, response: &Response) -> bool {
    let plain = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let tags = known.etag.as_deref().map(plain).zip(response.headers.get("etag").map(plain));
    match (response.status, tags) {
        (304, Some((known, said))) => known == said,
        (304, None) => true,
        (200, Some((known, said))) => known == said,
        _ => false,
    }
}

/// `--checksum`. BuildKit reads other algorithms too, but never finds one to be right.
fn promised(checksum: &str) -> Result<Digest> {
    Digest::parse(checksum).map_err(|error| {
        error
            .during(format!("--checksum={checksum}"))
            .hint("write --checksum=sha256:<64 hex digits>")
    })
}
