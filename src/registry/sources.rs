//! Where a repository can be had: its mirrors first, its registry last. What a mirror gives is
//! held against digests like all else; one that is down, slow or wrong is left alone for the rest
//! of the pull.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::remote::{Access, Remote};
use crate::error::{Error, Kind, Result};
use crate::http::Response;
use crate::image::reference::Reference;

/// Makes something of an answer and all of its bytes, or says what is wrong with it.
pub type Reader<'a, T> = dyn FnMut(&Remote, Response, Vec<u8>) -> Result<T> + 'a;

/// All places of one repository.
pub struct Sources {
    mirrors: Vec<Mirrored>,
    reference: Reference,
    access: Access,
    /// Asked only when a mirror has not been enough.
    registry: Mutex<Option<Arc<Remote>>>,
}

struct Mirrored {
    remote: Arc<Remote>,
    knows_tags: bool,
    is_off: AtomicBool,
}

/// A place, and which of them it is.
pub struct Source {
    /// The repository there.
    pub remote: Arc<Remote>,
    index: usize,
}

impl Sources {
    /// Those of a name.
    pub fn of(reference: &Reference, access: &Access) -> Result<Sources> {
        let own = access.mirrors.iter().filter(|mirror| mirror.registry == reference.registry);
        let open = |mirror| {
            let remote = Arc::new(Remote::of_mirror(mirror, &reference.repository, access.passed)?);
            Ok(Mirrored { remote, knows_tags: mirror.knows_tags, is_off: AtomicBool::new(false) })
        };
        Ok(Sources {
            mirrors: own.map(open).collect::<Result<_>>()?,
            reference: reference.clone(),
            access: access.clone(),
            registry: Mutex::new(None),
        })
    }

    /// The first place from this one on that may be asked.
    pub fn from(&self, first: usize) -> Result<Source> {
        self.find(first, true)
    }

    fn find(&self, first: usize, is_by_digest: bool) -> Result<Source> {
        for (index, mirror) in self.mirrors.iter().enumerate().skip(first) {
            if !mirror.is_off.load(Ordering::Relaxed) && (mirror.knows_tags || is_by_digest) {
                return Ok(Source { remote: mirror.remote.clone(), index });
            }
        }
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let remote = match &*registry {
            Some(remote) => remote.clone(),
            None => {
                let remote = Arc::new(Remote::open(&self.reference, &self.access, "pull")?);
                registry.insert(remote).clone()
            }
        };
        Ok(Source { remote, index: self.mirrors.len() })
    }

    /// Whether there is a place after this one.
    pub fn is_last(&self, source: &Source) -> bool {
        source.index >= self.mirrors.len()
    }

    /// The place after one that was of no use. `is_broken`: for nothing else either.
    pub fn after(&self, source: &Source, why: &Error, is_broken: bool) -> usize {
        log::warn!("the mirror {} is passed over: {why}", source.remote.registry());
        if is_broken && let Some(mirror) = self.mirrors.get(source.index) {
            mirror.is_off.store(true, Ordering::Relaxed);
        }
        source.index + 1
    }

    /// What has come from mirrors was wrong: no more is taken from the one that is asked first.
    /// Whether another attempt is of use; the first one always is, since what is wrong may have
    /// been on its way when its mirror was blamed for something else.
    pub fn blame(&self, is_first: bool) -> bool {
        let mut on = self.mirrors.iter().filter(|mirror| !mirror.is_off.load(Ordering::Relaxed));
        let blamed = on.next().map(|mirror| mirror.is_off.store(true, Ordering::Relaxed));
        is_first || blamed.is_some()
    }

    /// Asks for something small in each place until one has what is right.
    pub fn small<T>(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        limit: u64,
        is_by_digest: bool,
        read: &mut Reader<'_, T>,
    ) -> Result<T> {
        let mut first = 0;
        loop {
            let source = self.find(first, is_by_digest)?;
            let remote = &source.remote;
            let answer = remote.small(path, headers, limit);
            let done = answer.and_then(|(answer, bytes)| read(remote, answer, bytes));
            match done {
                Err(error)
                    if self.is_last(&source) || matches!(error.kind(), Kind::Interrupted(_)) =>
                {
                    return Err(error);
                }
                // What it has not another may have, and it may have other things.
                Err(error) => {
                    let is_broken = error.kind() != Kind::NotFound;
                    first = self.after(&source, &error, is_broken);
                }
                done => return done,
            }
        }
    }
}
