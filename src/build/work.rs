//! What is only needed when something is really done: a scratch folder and the committer. A build
//! that comes from the cache makes neither, and writes nothing.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::sandbox::{self, NetworkFiles};
use crate::session::Session;
use crate::snapshot::Committer;
use crate::store::Scratch;

/// The means of a build.
pub struct Work {
    /// Unfinished things.
    pub scratch: Arc<Scratch>,
    /// Publishes finished steps.
    pub committer: Committer,
    /// Shows through where an image has no place to mount something.
    pub mountpoints: OwnedFd,
    /// What steps see of the network's files.
    pub files: NetworkFiles,
}

/// Means that are made when they are first needed.
#[derive(Default)]
pub struct Lazy(Mutex<Option<Arc<Work>>>);

impl Lazy {
    /// The means.
    pub fn get(&self, session: &Session, hosts: &[(String, String)]) -> Result<Arc<Work>> {
        let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(work) = &*work {
            return Ok(work.clone());
        }
        let scratch = Arc::new(session.scratch()?);
        let committer = Committer::start(session.store.clone(), scratch.clone())?;
        let mountpoints = session.store.mountpoints(&scratch, sandbox::DIRS, sandbox::FILES)?;
        let files = NetworkFiles::of_host(hosts);
        let made = Arc::new(Work { mountpoints, scratch, committer, files });
        *work = Some(made.clone());
        Ok(made)
    }

    /// The scratch folder, if one was needed so far.
    pub fn scratch(&self) -> Option<Arc<Scratch>> {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work.as_ref().map(|work| work.scratch.clone())
    }

    /// Waits until all finished steps are published; whatever else happened, they are not lost.
    pub fn finish(self) -> Result<()> {
        let Some(work) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner) else {
            return Ok(());
        };
        let busy = || Error::new(Kind::System, "a step is still at work");
        Arc::into_inner(work).ok_or_else(busy)?.committer.finish()
    }
}
