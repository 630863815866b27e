//! What the stages of one build share: what each has come to, and which step is somebody's already.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Request;
use super::bases::Bases;
use super::context::BuildContext;
use super::git;
use super::once::Once;
#[cfg(feature = "net")]
use super::remote::Remote;
use super::source::Tree;
use super::stage::Building;
use super::work::Lazy;
use crate::error::{Error, Kind, Result};
use crate::map::Map;
use crate::plan::Plan;
#[cfg(feature = "net")]
use crate::registry::CacheImage;
use crate::session::Session;
use crate::snapshot::{Chain, Ticket};

/// A build under way, seen by all its stages.
pub struct Shared<'a> {
    pub session: &'a Session,
    pub bases: &'a Bases<'a>,
    pub request: &'a Request,
    pub context: &'a BuildContext,
    pub plan: &'a Plan<'a>,
    pub work: Lazy,
    /// The time of all steps, when the user has set it.
    pub epoch: Option<i64>,
    /// How many steps there are.
    pub total: usize,
    /// Where files come from that several steps fetch: these are kept until the end.
    pub several: BTreeSet<String>,
    /// Steps that registries have, by their names.
    #[cfg(feature = "net")]
    pub caches: Once<Option<Arc<CacheImage>>>,
    /// Files from elsewhere, by their addresses and checksums.
    #[cfg(feature = "net")]
    pub remotes: Once<Arc<Remote>>,
    /// What is known of git repositories.
    pub repositories: git::Known,
    /// The files of named contexts.
    pub trees: Once<Arc<Tree>>,
    state: Mutex<State>,
    changed: Condvar,
    is_stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    built: Map<usize, Building>,
    steps: Map<Lineage, Option<Made>>,
    /// The first failure: where in the order of the stages, and why.
    failure: Option<(usize, Error)>,
}

const STOPPED: &str = "another stage has failed";

/// All that a step's result depends on: what its stage began with and every step up to it.
pub type Lineage = [u8; 32];

/// What a step of this build has made.
#[derive(Clone)]
pub struct Made {
    pub image: Ticket,
    pub chain: Option<Chain>,
}

impl<'a> Shared<'a> {
    /// Nothing done yet.
    pub fn new(
        bases: &'a Bases<'a>,
        request: &'a Request,
        context: &'a BuildContext,
        plan: &'a Plan<'a>,
        several: BTreeSet<String>,
    ) -> Result<Shared<'a>> {
        let stages = plan.needed.iter().filter_map(|index| plan.stages.get(*index));
        let steps: usize = stages.map(|stage| 1 + stage.steps.count()).sum();
        let labels = usize::from(!request.labels.is_empty());
        Ok(Shared {
            session: bases.session,
            bases,
            request,
            context,
            plan,
            work: Lazy::default(),
            epoch: request.epoch()?,
            total: plan.global_texts.len() + steps + labels,
            several,
            #[cfg(feature = "net")]
            caches: Once::default(),
            #[cfg(feature = "net")]
            remotes: Once::default(),
            repositories: git::Known::default(),
            trees: Once::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_stopped: AtomicBool::new(false),
        })
    }

    /// What a stage has come to; waits for it. It has been begun: stages are begun in their order.
    pub fn stage(&self, index: usize) -> Result<Building> {
        let mut state = self.lock();
        loop {
            if let Some(building) = state.built.get(&index) {
                return Ok(building.clone());
            }
            self.go_on()?;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A stage is built.
    pub fn built(&self, index: usize, building: Building) {
        self.lock().built.insert(index, building);
        self.changed.notify_all();
    }

    /// Takes what a stage has come to.
    pub fn take(&self, index: usize) -> Option<Building> {
        self.lock().built.remove(&index)
    }

    /// A step has failed, so all stages stop.
    pub fn stop(&self) {
        // Under the lock: whoever looks and then waits must not miss it.
        let state = self.lock();
        self.is_stopped.store(true, Ordering::Relaxed);
        drop(state);
        self.changed.notify_all();
    }

    /// A stage has failed. The first failure is the build's; who only stops for it does not count.
    pub fn fail(&self, at: usize, error: Error) {
        if !error.text().ends_with(STOPPED) {
            self.lock().failure.get_or_insert((at, error));
        }
        self.stop();
    }

    /// The stage that has failed first, by its place in the order.
    pub fn failed(&self) -> Option<usize> {
        self.lock().failure.as_ref().map(|(at, _)| *at)
    }

    /// The first failure.
    pub fn failure(&self) -> Result<()> {
        self.lock().failure.take().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Whether another stage has failed.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// An error when another stage has failed; nobody will see it.
    pub fn go_on(&self) -> Result<()> {
        match self.is_stopped() {
            false => Ok(()),
            true => Err(Error::new(Kind::Interrupted(libc::SIGTERM), STOPPED)),
        }
    }

    /// What a step has made that another stage has as well; `None` makes it the caller's to do,
    /// who must call `made` or `stop`. So two stages that begin alike do no work twice, and
    /// have the same result whichever comes first.
    pub fn claim(&self, lineage: Lineage) -> Result<Option<Made>> {
        if self.is_alone() {
            return Ok(None);
        }
        let mut state = self.lock();
        loop {
            self.go_on()?;
            match state.steps.get(&lineage) {
                None => {
                    state.steps.insert(lineage, None);
                    return Ok(None);
                }
                Some(Some(made)) => return Ok(Some(made.clone())),
                Some(None) => {}
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A claimed step is done.
    pub fn made(&self, lineage: Lineage, made: Made) {
        if !self.is_alone() {
            self.lock().steps.insert(lineage, Some(made));
            self.changed.notify_all();
        }
    }

    fn is_alone(&self) -> bool {
        self.plan.needed.len() < 2
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
