//! One step of a stage: from the cache, or done.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::effect_copy::{self, Sources};
use super::effect_run::{self, Surroundings};
use super::explain;
use super::mounts::{self, Maker, Mounts};
use super::shared::{Lineage, Made};
use super::source::Tree;
use super::walk::Walk;
use super::watch::Watch;
use crate::catalog::list::size;
use crate::error::Result;
use crate::event::{Event, Progress};
use crate::image::digest::{DiffId, Digest};
use crate::image::time::stamp;
use crate::instruction::{
    CopyEffect, CopyFrom, Effect, Lowered, RunEffect, RunMount, Scope, Source,
};
use crate::plan::{Stage, key};
use crate::snapshot::{Chain, Done, Finished, Snapshot, StepImage, StepKeys, Ticket};
use crate::store::{CacheKey, Driver, Scratch, Workspace};
use crate::sys::fs::random_id;

/// A stage so far.
#[derive(Clone)]
pub struct Building {
    /// The image so far.
    pub image: Ticket,
    /// Its layers, once they were needed.
    pub chain: Option<Chain>,
    /// What is in force.
    pub scope: Scope,
    /// A step has run, so the cache is not asked any more.
    pub is_fresh: bool,
    /// Everything up to here, as one hash.
    pub lineage: Lineage,
}

/// What a step takes in.
#[derive(Default)]
struct Input {
    digest: Vec<u8>,
    tree: Option<Arc<Tree>>,
    sources: Option<Sources>,
    /// The step was announced, since its input takes long.
    is_announced: Cell<bool>,
}

/// What a step's effect gave.
type NewLayer = Option<Option<Workspace>>;

impl Walk<'_, '_> {
    /// One step: from the cache, or done.
    pub fn step(
        &mut self,
        plan: &Stage,
        stage: &mut Building,
        announce: &Event<'_>,
        lowered: Lowered,
    ) -> Result<()> {
        let mut input = Input::default();
        if let Err(error) = self.input(plan, stage, announce, &lowered.effect, &mut input) {
            self.announce_once(announce, &input)?;
            return Err(error);
        }
        let config = stage.scope.config.to_json().to_text();
        let author = stage.scope.author.as_ref();
        let hash = key::step_hash(&lowered, &config, author, self.build.epoch, &input.digest);
        stage.lineage = *blake3::hash(&[stage.lineage, hash].concat()).as_bytes();
        let lineage = stage.lineage;
        if let Some(made) = self.build.claim(lineage)? {
            self.announce_once(announce, &input)?;
            self.tell(&Event::Cached)?;
            self.tell(&Event::StepDone { image: &made.image.wait()?.id })?;
            (stage.image, stage.chain) = (made.image, made.chain);
            return Ok(());
        }
        let done = self.cached_or_done(plan, stage, announce, &lowered, &mut input, hash);
        match &done {
            Ok(()) => {
                let made = Made { image: stage.image.clone(), chain: stage.chain.clone() };
                self.build.made(lineage, made);
            }
            // Before somebody else takes the same step up.
            Err(_) => self.build.stop(),
        }
        done
    }

    fn cached_or_done(
        &mut self,
        plan: &Stage,
        stage: &mut Building,
        announce: &Event<'_>,
        lowered: &Lowered,
        input: &mut Input,
        hash: [u8; 32],
    ) -> Result<()> {
        let mut image = StepImage {
            config: stage.scope.config.clone(),
            author: stage.scope.author.clone(),
            created: String::new(),
            created_by: lowered.created_by.clone(),
        };
        let asks_cache = !stage.is_fresh && !self.build.request.does_again(plan);
        if asks_cache {
            let parent = stage.image.wait()?;
            let key = CacheKey(key::key(&parent.id, &hash));
            let found = match self.recorded(&parent, &key, &mut image)? {
                None => self.imported(&parent, &key, &mut image)?,
                found => found,
            };
            if let Some(done) = found {
                return self.take_cached(stage, announce, input, done);
            }
        }
        // From here on is what a step that is found does not pay for.
        let layer_hash = key::layer_hash(&lowered.effect, self.build.epoch, &input.digest);
        let brief = key::Brief::new(lowered, &input.digest);
        let keys = move |parent: &Done| StepKeys {
            step: CacheKey(key::key(&parent.id, &hash)),
            layer: layer_hash.map(|hash| CacheKey(key::layer_key(parent.chain.as_ref(), &hash))),
        };
        if asks_cache {
            let parent = stage.image.wait()?;
            let found = match keys(&parent).layer {
                Some(key) => self.recorded(&parent, &key, &mut image)?,
                None => None,
            };
            if let Some(done) = found {
                // Another image with the same layer: it is stored, and found by its own key.
                self.commit(stage, image, None, done.image.diff_ids.last(), keys, &brief)?;
                return self.take_cached(stage, announce, input, done);
            }
        }
        if self.build.request.explain {
            self.why = Some(self.why(plan, stage, lowered, input, &hash, &brief)?);
        }
        stage.is_fresh |= layer_hash.is_some();
        let id = random_id()?;
        let layer = match &lowered.effect {
            Effect::Config => {
                self.tell(announce)?;
                self.tell(&Event::Running { id: &id })?;
                None
            }
            Effect::Copy(copy) => {
                self.announce_once(announce, input)?;
                // Known without a look until now.
                if input.sources.is_none() {
                    self.find(plan, copy, false, input)?;
                }
                self.copy(stage, copy, input)?
            }
            Effect::Run(run) => self.run(plan, stage, run, announce, &id)?,
        };
        if !matches!(lowered.effect, Effect::Copy(_)) {
            self.tell(&Event::Removed { id: &id })?;
        }
        image.created = stamp(self.build.epoch);
        stage.image = self.commit(stage, image, layer, None, keys, &brief)?;
        self.untold = Some(stage.image.clone());
        Ok(())
    }

    /// Goes on with the image that the cache has for a step.
    fn take_cached(
        &mut self,
        stage: &mut Building,
        announce: &Event<'_>,
        input: &Input,
        done: Done,
    ) -> Result<()> {
        self.announce_once(announce, input)?;
        self.tell(&Event::Cached)?;
        self.tell(&Event::StepDone { image: &done.id })?;
        stage.image = Ticket::known(Arc::new(done));
        stage.chain = None;
        Ok(())
    }

    /// Hands a step that is done over to be published.
    fn commit(
        &self,
        stage: &Building,
        step: StepImage,
        layer: NewLayer,
        known: Option<&DiffId>,
        keys: impl Fn(&Done) -> StepKeys + Send + 'static,
        brief: &key::Brief,
    ) -> Result<Ticket> {
        let (parent, known, brief) = (stage.image.clone(), known.copied(), brief.to_text());
        let finished = Finished { parent, step, layer, known, keys: Box::new(keys), brief };
        Ok(self.work()?.committer.step(finished))
    }

    /// Tells what the step is, unless that is told.
    fn announce_once(&mut self, announce: &Event<'_>, input: &Input) -> Result<()> {
        match input.is_announced.replace(true) {
            true => Ok(()),
            false => self.tell(announce),
        }
    }

    /// Looks up what a step takes in, and digests it.
    fn input(
        &mut self,
        plan: &Stage,
        stage: &Building,
        announce: &Event<'_>,
        effect: &Effect,
        input: &mut Input,
    ) -> Result<()> {
        match effect {
            Effect::Config => Ok(()),
            Effect::Copy(copy) => {
                if copy.sources.iter().any(|source| matches!(source, Source::Url(_))) {
                    self.announce_once(announce, input)?;
                }
                let key = self.content_key(plan, copy)?;
                let store = &self.build.session.store;
                if let Some(known) = key.and_then(|key| store.content(&key)) {
                    input.digest = known.to_vec();
                    return Ok(());
                }
                let asks_cache = !stage.is_fresh && !self.build.request.does_again(plan);
                self.find(plan, copy, asks_cache, input)?;
                let sources = input.sources.as_ref();
                let digest =
                    sources.map(|found| found.digest(input.tree.as_deref())).transpose()?;
                let digest = digest.unwrap_or_default();
                input.digest = digest.to_vec();
                self.keep_content(key, &digest);
                Ok(())
            }
            Effect::Run(run) => {
                let mut hasher = blake3::Hasher::new();
                for (name, address) in &self.build.request.hosts {
                    hasher.update(format!("{name} {address}\n").as_bytes());
                }
                hasher.update(self.build.request.limits.key().as_bytes());
                for mount in run.mounts.iter().filter(|mount| mount.kind == "bind") {
                    hasher.update(&self.mounted(plan, mount)?);
                }
                input.digest = hasher.finalize().as_bytes().to_vec();
                Ok(())
            }
        }
    }

    /// Looks up what a copy takes in.
    fn find(
        &mut self,
        plan: &Stage,
        copy: &CopyEffect,
        asks_cache: bool,
        input: &mut Input,
    ) -> Result<()> {
        let remotes = self.remotes(copy, asks_cache)?;
        input.tree = self.tree_of(plan, copy)?;
        let known = &self.build.repositories;
        input.sources = Some(Sources::find(copy, input.tree.as_deref(), remotes, known)?);
        Ok(())
    }

    /// The digest of what a mount shows.
    fn mounted(&mut self, plan: &Stage, mount: &RunMount) -> Result<[u8; 32]> {
        let chain = mount.from.as_ref().map(|word| self.chain_id_of(plan, word)).transpose()?;
        let key = chain.flatten().map(|chain| key::mounted(&chain, &mount.source));
        let store = &self.build.session.store;
        if let Some(known) = key.and_then(|key| store.content(&key)) {
            return Ok(known);
        }
        let mut hasher = blake3::Hasher::new();
        let files = self.files_of(plan, mount)?;
        mounts::digest(&self.build.session.store, mount, &files, &mut hasher)?;
        let digest = *hasher.finalize().as_bytes();
        self.keep_content(key, &digest);
        Ok(digest)
    }

    /// What stands for the files that a copy takes out of layers.
    fn content_key(&mut self, plan: &Stage, copy: &CopyEffect) -> Result<Option<[u8; 32]>> {
        let CopyFrom::Named(word) = &copy.from else { return Ok(None) };
        let chain = self.chain_id_of(plan, word)?;
        Ok(chain.map(|chain| key::copied(&chain, copy)))
    }

    fn keep_content(&self, key: Option<[u8; 32]>, digest: &[u8; 32]) {
        if let Some(Err(error)) = key.map(|key| self.build.session.store.keep_content(&key, digest))
        {
            log::warn!("the digest of files of a layer is not kept: {error}");
        }
    }

    /// The image after a step, when the cache has it and its layer.
    fn recorded(
        &mut self,
        parent: &Done,
        key: &CacheKey,
        image: &mut StepImage,
    ) -> Result<Option<Done>> {
        let store = &self.build.session.store;
        let _look = self.build.work.look(store)?;
        let Some(record) = store.cached(key)? else {
            return Ok(None);
        };
        image.created = record.created;
        let done = parent.after(image, record.diff_id, &mut self.text);
        let store = &self.build.session.store;
        let whole = match (&done.chain, record.diff_id) {
            (Some(chain), Some(_)) => matches!(store.layer(chain), Ok(Some(_))),
            _ => true,
        };
        if !whole {
            return Ok(None);
        }
        store.use_record(key);
        self.build.work.uses(done.chain.iter().map(Digest::hex).collect())?;
        Ok(Some(done))
    }

    /// Why a step has to be done.
    fn why(
        &self,
        plan: &Stage,
        stage: &Building,
        lowered: &Lowered,
        input: &Input,
        hash: &[u8; 32],
        brief: &key::Brief,
    ) -> Result<String> {
        if self.build.request.does_again(plan) {
            let option =
                if self.build.request.no_cache { "--no-cache" } else { "--no-cache-filter" };
            return Ok(option.to_owned());
        }
        if stage.is_fresh {
            return Ok("an earlier step of the stage was not cached".to_owned());
        }
        let parent = stage.image.wait()?;
        let key = CacheKey(key::key(&parent.id, hash));
        let changes = || match (&input.sources, &input.tree) {
            (Some(sources), Some(tree)) => sources.changes(tree),
            _ => Ok(None),
        };
        explain::why(&self.build.session.store, &key, &parent, lowered, brief, &changes)
    }

    /// The layers of the image so far, opened when they are first needed.
    pub fn chain(&mut self, stage: &mut Building) -> Result<Chain> {
        if let Some(chain) = &stage.chain {
            return Ok(chain.clone());
        }
        let done = stage.image.wait()?;
        let store = &self.build.session.store;
        if store.driver().driver == Driver::Copy {
            store.room(size(store, &done.image))?;
        }
        let work = self.work()?;
        let chain = Chain::open(store, Some(&work.scratch), &done.image.chains())?;
        stage.chain = Some(chain.clone());
        Ok(chain)
    }

    fn copy(&mut self, stage: &mut Building, copy: &CopyEffect, input: &Input) -> Result<NewLayer> {
        for remote in input.sources.iter().flat_map(Sources::remotes) {
            self.fetch(remote)?;
        }
        let scratch = self.work()?.scratch.clone();
        for (repository, place) in input.sources.iter().flat_map(Sources::repositories) {
            let is_shared = self.build.several.contains(place);
            repository.check_out(&scratch, is_shared.then_some(&self.build.repositories))?;
        }
        let chain = self.chain(stage)?;
        let snapshot = Snapshot::prepare(&scratch, &chain)?;
        let mounted = snapshot.mount(None)?;
        let store = &self.build.session.store;
        let mut progress = Progress::new(self.listener(), "copy", None);
        let mut will = |bytes: u64| {
            progress.add(bytes);
            store.room(bytes)
        };
        let tree = input.tree.as_deref();
        let copied = match &input.sources {
            Some(sources) => effect_copy::copy(copy, sources, tree, mounted.as_fd(), &mut will),
            None => Ok(()),
        };
        drop(mounted);
        if let Err(error) = copied {
            snapshot.discard(&scratch)?;
            return Err(error);
        }
        self.layer(stage, snapshot)
    }

    fn run(
        &mut self,
        plan: &Stage,
        stage: &mut Building,
        run: &RunEffect,
        announce: &Event<'_>,
        id: &str,
    ) -> Result<NewLayer> {
        if run.argv.is_empty() {
            self.tell(announce)?;
            self.tell(&Event::Running { id })?;
            return Ok(Some(None));
        }
        let chain = self.chain(stage)?;
        let scratch = self.work()?.scratch.clone();
        let store = &self.build.session.store;
        store.room_for_step()?;
        let mounts = match self.mounts(plan, run, &scratch) {
            Ok(mounts) => mounts,
            Err(error) => {
                self.tell(announce)?;
                return Err(error);
            }
        };
        let snapshot = Snapshot::prepare(&scratch, &chain)?;
        let work = self.work()?;
        let mounted = snapshot.mount(Some(work.mountpoints.as_fd()))?;
        let started = effect_run::start(
            run,
            &Surroundings {
                tree: mounted.as_fd(),
                staging: &self.build.session.store.path().join("tmp"),
                hostname: id,
                network: self.build.request.network,
                files: &self.work()?.files,
                limits: &self.build.request.limits,
                bounds: &self.build.request.bounds,
                may_be_insecure: self.build.request.may_be_insecure,
                binds: &mounts.binds,
                env: &mounts.env,
            },
        );
        let started = match started {
            Err(error) => Err(stage.image.wait()?.image.platform.explain(error)),
            started => started,
        };
        // The process runs while the step before it gets its id.
        let told = self.tell(announce).and_then(|()| self.tell(&Event::Running { id }));
        let build = self.build;
        let listener = self.listener();
        let ended = started.and_then(|started| {
            let watch = Watch::start(store, started.pid());
            let ended = effect_run::finish(run, started, &mut |stream, bytes| {
                listener.event(&Event::Output { stream, bytes });
                !build.is_stopped() && !watch.has_stopped()
            });
            match watch.has_stopped() {
                true => Err(store.step_too_large()),
                false => ended,
            }
        });
        // Killed because of another stage: that one has the error to tell.
        let ended = match ended {
            Err(_) if build.is_stopped() => build.go_on(),
            ended => ended,
        };
        drop(mounted);
        let cleaned = mounts.clean(&scratch);
        if let Err(error) = told.and(ended).and(cleaned) {
            snapshot.discard(&scratch)?;
            return Err(error);
        }
        self.layer(stage, snapshot)
    }

    fn mounts(&mut self, plan: &Stage, run: &RunEffect, scratch: &Scratch) -> Result<Mounts> {
        let mut maker = Maker {
            store: &self.build.session.store,
            scratch,
            secrets: &self.build.request.secrets,
            sockets: &self.build.request.sockets,
            mounts: Mounts::default(),
        };
        let build = self.build;
        maker.take_caches(&run.mounts, &|| build.go_on())?;
        for mount in &run.mounts {
            maker.add(mount, self.files_of(plan, mount)?)?;
        }
        Ok(maker.mounts)
    }

    fn layer(&mut self, stage: &mut Building, snapshot: Snapshot) -> Result<NewLayer> {
        let scratch = self.work()?.scratch.clone();
        let (chain, workspace) = snapshot.finish(&scratch, self.build.epoch)?;
        stage.chain = Some(chain);
        Ok(Some(workspace))
    }
}
