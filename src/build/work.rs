//! What is only needed when something is really done: a scratch folder and the committer. A build
//! that comes from the cache makes neither, and writes nothing.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::sandbox::{self, NetworkFiles};
use crate::session::Session;
use crate::snapshot::Committer;
use crate::store::{Look, Scratch, Store};

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

/// While this is there nobody removes what a build works with.
pub struct Kept(
    #[expect(dead_code, reason = "it is what keeps others from removing")] Option<Arc<Look>>,
    #[expect(dead_code, reason = "the same, by its lease")] Option<Arc<Scratch>>,
);

/// Means that are made when they are first needed.
#[derive(Default)]
pub struct Lazy(Mutex<State>);

#[derive(Default)]
struct State {
    work: Option<Arc<Work>>,
    /// Until there are means, nobody may remove what the build has found.
    look: Option<Arc<Look>>,
    /// What it has found so far, for the lease.
    found: Vec<String>,
}

impl Lazy {
    /// The means.
    pub fn get(&self, session: &Session, hosts: &[(String, String)]) -> Result<Arc<Work>> {
        let mut state = self.state();
        if let Some(work) = &state.work {
            return Ok(work.clone());
        }
        let scratch = Arc::new(session.scratch()?);
        scratch.uses(&state.found.join("\n"))?;
        let committer = Committer::start(session.store.clone(), scratch.clone())?;
        let mountpoints = session.store.mountpoints(sandbox::DIRS, sandbox::FILES)?;
        let files = NetworkFiles::of_host(hosts, sandbox::Dns::default());
        let made = Arc::new(Work { mountpoints, scratch, committer, files });
        state.work = Some(made.clone());
        state.look = None;
        Ok(made)
    }

    /// The scratch folder, if one was needed so far.
    pub fn scratch(&self) -> Option<Arc<Scratch>> {
        self.state().work.as_ref().map(|work| work.scratch.clone())
    }

    /// To be held while something is looked for in the store, up to `uses`. Nothing is written for
    /// that: a build that finds everything has no lease, and looks to its end.
    pub fn look(&self, store: &Store) -> Result<Arc<Look>> {
        let mut state = self.state();
        if state.work.is_some() {
            drop(state);
            return store.look().map(Arc::new);
        }
        let look = match state.look.take() {
            Some(look) => look,
            None => Arc::new(store.look()?),
        };
        state.look = Some(look.clone());
        Ok(look)
    }

    /// The build goes on from this: an image or chains, by their hex digits.
    pub fn uses(&self, found: Vec<String>) -> Result<()> {
        let mut state = self.state();
        match &state.work {
            Some(work) => work.scratch.uses(&found.join("\n")),
            None => {
                state.found.extend(found);
                Ok(())
            }
        }
    }

    /// Waits until all finished steps are published; whatever else happened, they are not lost.
    /// What the build has found and made stays for as long as what is given.
    pub fn finish(self) -> Result<Kept> {
        let state = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = state.work else { return Ok(Kept(state.look, None)) };
        let busy = || Error::new(Kind::System, "a step is still at work");
        let Work { scratch, committer, .. } = Arc::into_inner(work).ok_or_else(busy)?;
        committer.finish()?;
        Ok(Kept(None, Some(scratch)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
