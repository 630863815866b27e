//! What is only needed when something is really done: a scratch folder and the committer. A build
//! that comes from the cache makes neither, and writes nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Result;
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
pub struct Lazy(Option<Work>);

impl Lazy {
    /// The means.
    pub fn get(&mut self, session: &Session, hosts: &[(String, String)]) -> Result<&Work> {
        if self.0.is_none() {
            let scratch = Arc::new(session.scratch()?);
            let committer = Committer::start(session.store.clone(), scratch.clone())?;
            let mountpoints = session.store.mountpoints(&scratch, sandbox::DIRS, sandbox::FILES)?;
            self.0 =
                Some(Work { mountpoints, scratch, committer, files: NetworkFiles::of_host(hosts) });
        }
        self.0.as_ref().ok_or_else(|| crate::error::Error::usage("no scratch"))
    }

    /// The scratch folder, if one was needed so far.
    pub fn scratch(&self) -> Option<&Scratch> {
        self.0.as_ref().map(|work| work.scratch.as_ref())
    }

    /// Waits until all finished steps are published; whatever else happened, they are not lost.
    pub fn finish(self) -> Result<()> {
        match self.0 {
            Some(work) => work.committer.finish(),
            None => Ok(()),
        }
    }
}
