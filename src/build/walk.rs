//! The stages in order: what each begins with, its triggers, its statements, and the image in the
//! end.

use std::sync::Arc;

use super::Named;
use super::context;
use super::git;
use super::mounts::Files;
use super::shared::Shared;
use super::source::Tree;
use super::stage::Building;
use super::work::Work;
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::image::config::{DEFAULT_PATH, ImageConfig};
use crate::image::digest::{ChainId, Digest, ImageId};
use crate::image::platform::Platform;
use crate::instruction::{
    CopyEffect, CopyFrom, Effect, Instruction, Lowered, RunMount, Scope, parse_trigger,
};
use crate::map::Map;
use crate::pattern::Ignore;
use crate::plan::{Base, Stage};
use crate::snapshot::{Chain, Done, Ticket};

/// A way through stages, and who hears of it.
pub struct Walk<'a, 'b> {
    pub(super) build: &'b Shared<'a>,
    listener: &'b mut dyn Listener,
    /// A buffer for the texts of configs.
    pub(super) text: String,
    /// The step whose image id has not been told yet.
    pub(super) untold: Option<Ticket>,
    /// Why the step that is announced next is not from the cache.
    pub(super) why: Option<String>,
    /// What `--from` has led to in the stage at hand.
    trees: Map<String, Arc<Tree>>,
    /// The number of the last step that was announced.
    number: usize,
}

impl<'a, 'b> Walk<'a, 'b> {
    /// Begins after so many steps.
    pub fn new(build: &'b Shared<'a>, listener: &'b mut dyn Listener, number: usize) -> Self {
        let trees = Map::default();
        Walk { build, listener, text: String::new(), untold: None, why: None, trees, number }
    }

    /// The arguments in front of the first stage.
    pub fn globals(&mut self) -> Result<()> {
        for text in &self.build.plan.global_texts {
            self.number += 1;
            self.announce(text)?;
        }
        Ok(())
    }

    /// The labels of the command line; then publishes the image of the last stage.
    pub fn last(&mut self, stage: &Stage, mut building: Building) -> Result<ImageId> {
        self.label(stage, &mut building)?;
        self.tell_untold()?;
        let done = building.image.wait()?;
        self.publish(&done)?;
        Ok(done.id)
    }

    /// The image and its names; nothing is written when they are there already.
    fn publish(&mut self, done: &Arc<Done>) -> Result<()> {
        let Shared { session, request, .. } = self.build;
        // Another image is made of this one.
        if super::after::makes_another(request) {
            return Ok(());
        }
        let mut is_there = session.store.has_image(&done.id);
        for tag in &request.tags {
            is_there = is_there && session.store.named(tag)? == Some(done.id);
        }
        if is_there {
            return Ok(());
        }
        self.work()?.committer.publish(Some(done.clone()), request.tags.clone())
    }

    /// The means of the build.
    pub(super) fn work(&self) -> Result<Arc<Work>> {
        self.build.work.get(self.build.session, &self.build.request.hosts)
    }

    /// One stage from its base to its last step.
    pub fn stage(&mut self, stage: &Stage) -> Result<Building> {
        self.trees.clear();
        self.number += 1;
        // Of files, the step that copies them announces itself.
        if self.files_below(stage).is_none() {
            self.announce(&stage.text)?;
        }
        let begun = self.begin(stage);
        let mut building = begun.map_err(|error| error.at(self.build.context.place(stage.line)))?;
        let triggers = std::mem::take(&mut building.scope.config.on_build);
        if !triggers.is_empty() {
            self.tell(&Event::Triggers { count: triggers.len() })?;
        }
        for text in triggers {
            let done = parse_trigger(&text).and_then(|(statement, instruction)| {
                self.instruction(&mut building, stage, &instruction, &statement.original)
            });
            done.map_err(|error| error.at(self.build.context.place(stage.line)))?;
        }
        for step in stage.steps.iter() {
            self.build.go_on()?;
            self.number += 1;
            let done = self.instruction(&mut building, stage, &step.instruction, &step.text);
            done.map_err(|error| error.at(self.build.context.place(step.line)))?;
        }
        Ok(building)
    }

    /// What the stage begins with.
    fn begin(&mut self, stage: &Stage) -> Result<Building> {
        let fresh = |scope: Scope| Scope {
            build_args: self.build.request.build_args.clone(),
            global_args: self.build.plan.global_args.clone(),
            target_platform: self.build.request.platform.clone().unwrap_or_default(),
            stage_name: self.build.request.target.clone().unwrap_or_default(),
            escape: self.build.plan.escape,
            cmd_set: false,
            ..scope
        };
        let mut lineage = None;
        let files = self.files_below(stage);
        let base = if files.is_some() { &Base::Scratch } else { &stage.base };
        let (image, chain, scope) = match base {
            Base::Stage(index) => {
                let parent = self.build.stage(*index)?;
                let scope = fresh(parent.scope);
                lineage = Some(parent.lineage);
                (parent.image.wait()?, parent.chain, scope)
            }
            Base::Scratch => {
                let wanted = stage.platform.as_ref().or(self.build.request.platform.as_ref());
                let platform = wanted.cloned().unwrap_or_default();
                let mut image = ImageConfig { platform, ..ImageConfig::default() };
                image.config.set_env("PATH", DEFAULT_PATH);
                let scope = Scope { config: image.config.clone(), ..Scope::default() };
                (Arc::new(Done::new(image, false)), None, fresh(scope))
            }
            Base::Image(name) => {
                let done = self.base(name, stage.platform.as_ref())?;
                let scope = Scope { config: done.image.config.clone(), ..Scope::default() };
                (Arc::new(done), None, fresh(scope))
            }
        };
        // With triggers the image after them is told.
        if *base != Base::Scratch && scope.config.on_build.is_empty() {
            self.tell(&Event::StepDone { image: &image.id })?;
        }
        let mut lineage = lineage.unwrap_or(*image.id.bytes());
        // The same steps of a stage that may be taken from the cache do not do for this one.
        if self.build.request.does_again(stage) {
            lineage = *blake3::hash(&lineage).as_bytes();
        }
        let image = Ticket::known(image);
        let mut building = Building { image, chain, scope, is_fresh: false, lineage };
        if let Some(name) = files {
            let created_by = format!("COPY --from={name} . /");
            let effect = Effect::Copy(CopyEffect::everything(name));
            let event =
                Event::Step { number: self.number, total: self.build.total, text: &stage.text };
            self.step(stage, &mut building, &event, Lowered { effect, created_by })?;
        }
        Ok(building)
    }

    /// The named context with files, not an image, that a stage begins with.
    fn files_below<'s>(&self, stage: &'s Stage) -> Option<&'s str> {
        match &stage.base {
            Base::Image(name) if self.build.request.has_files(name) => Some(name),
            _ => None,
        }
    }

    /// A base image, by its name.
    pub(super) fn base(&mut self, name: &str, platform: Option<&Platform>) -> Result<Done> {
        let id = self.build.bases.image(name, platform, self.listener)?;
        let missing = || {
            Error::not_found(format!("{name}: No such image"))
                .hint("another command has removed it meanwhile: build again")
        };
        let _look = self.build.work.look(&self.build.session.store)?;
        let text = self.build.session.store.config_text(&id)?.ok_or_else(missing)?;
        let image = ImageConfig::parse(&text)?;
        let chains = image.chains();
        self.build.work.uses(chains.iter().chain([&id]).map(Digest::hex).collect())?;
        let chain = chains.last().copied();
        Ok(Done { chain, image, id, base: Some(text), is_stored: true })
    }

    fn instruction(
        &mut self,
        building: &mut Building,
        stage: &Stage,
        instruction: &Instruction,
        text: &str,
    ) -> Result<()> {
        let lowered = match instruction.lower(&mut building.scope) {
            Ok(lowered) => lowered,
            Err(error) => {
                self.announce(text)?;
                return Err(error);
            }
        };
        let event = Event::Step { number: self.number, total: self.build.total, text };
        self.step(stage, building, &event, lowered)
    }

    /// The files that a copy's sources are looked up in.
    pub(super) fn tree_of(
        &mut self,
        stage: &Stage,
        copy: &CopyEffect,
    ) -> Result<Option<Arc<Tree>>> {
        let CopyFrom::Named(word) = &copy.from else { return Ok(self.build.context.tree.clone()) };
        if let Some(tree) = self.trees.get(word) {
            return Ok(Some(tree.clone()));
        }
        if self.build.request.has_files(word) {
            return self.named_tree(word).map(Some);
        }
        let tree = match self.chain_of(stage, word)?.view(&self.build.session.store)? {
            Some(view) => Tree::new(view, Ignore::default(), true),
            // `FROM scratch AS extra` holds the place of what a named context may bring.
            None => {
                let empty = self.work()?.scratch.workspace()?.make_dir("empty", 0o755)?;
                Tree::new(empty, Ignore::default(), true)
            }
        };
        let tree = Arc::new(tree);
        self.trees.insert(word.clone(), tree.clone());
        Ok(Some(tree))
    }

    /// The files of a directory or a tar of `--build-context`.
    fn named_tree(&mut self, word: &str) -> Result<Arc<Tree>> {
        let Shared { session, request, trees, .. } = self.build;
        trees.get(word.to_ascii_lowercase(), || {
            let tree = match request.named(word) {
                Some(Named::Directory(path)) => context::directory(path, &session.store)?,
                Some(Named::Git(address)) => {
                    context::tree(git::fetch(address, &self.work()?.scratch)?)?
                }
                Some(Named::Url(address)) => context::archive(address, &self.work()?.scratch)?,
                _ => return Err(Error::not_found(format!("{word} has no files"))),
            };
            Ok(Arc::new(tree))
        })
    }

    /// The files that a mount shows.
    pub(super) fn files_of(&mut self, stage: &Stage, mount: &RunMount) -> Result<Files> {
        match &mount.from {
            Some(word) if self.build.request.has_files(word) => {
                Ok(Files::Context(Some(self.named_tree(word)?)))
            }
            Some(word) => Ok(Files::Layers(self.chain_of(stage, word)?)),
            None => Ok(Files::Context(self.build.context.tree.clone())),
        }
    }

    /// The stage that a word of `--from` or `from=` means, if it means one.
    fn source_of(&self, stage: &Stage, word: &str) -> Result<Option<Building>> {
        // A named context goes before a stage of the same name.
        let source = match self.build.request.named(word) {
            Some(_) => None,
            None => stage.sources.get(word),
        };
        source.map(|index| self.build.stage(*index)).transpose()
    }

    /// What names the layers of a stage or an image; nothing for files that are no layers.
    pub(super) fn chain_id_of(&mut self, stage: &Stage, word: &str) -> Result<Option<ChainId>> {
        if self.build.request.has_files(word) {
            return Ok(None);
        }
        match self.source_of(stage, word)? {
            Some(building) => Ok(building.image.wait()?.chain),
            None => Ok(self.base(word, None)?.chain),
        }
    }

    /// The layers of a stage or an image, for `--from` and `from=`.
    fn chain_of(&mut self, stage: &Stage, word: &str) -> Result<Chain> {
        match self.source_of(stage, word)? {
            Some(Building { chain: Some(chain), .. }) => Ok(chain),
            Some(building) => {
                let done = building.image.wait()?;
                self.open(&done)
            }
            None => {
                let base = self.base(word, None)?;
                self.open(&base)
            }
        }
    }

    fn open(&self, done: &Done) -> Result<Chain> {
        let scratch = self.build.work.scratch();
        Chain::open(&self.build.session.store, scratch.as_deref(), &done.image.chains())
    }

    /// `--label`: one more step, as docker's classic builder has it.
    fn label(&mut self, stage: &Stage, building: &mut Building) -> Result<()> {
        if self.build.request.labels.is_empty() {
            return Ok(());
        }
        let mut created_by = "LABEL".to_owned();
        for (name, value) in &self.build.request.labels {
            building.scope.config.labels.insert(name.clone(), value.clone());
            created_by.push_str(&format!(" {name}={value}"));
        }
        self.number += 1;
        let text = created_by.clone();
        let event = Event::Step { number: self.number, total: self.build.total, text: &text };
        self.step(stage, building, &event, Lowered { effect: Effect::Config, created_by })
    }

    fn announce(&mut self, text: &str) -> Result<()> {
        self.tell(&Event::Step { number: self.number, total: self.build.total, text })
    }

    /// Tells the image id of the step before, and then this event.
    pub(super) fn tell(&mut self, event: &Event<'_>) -> Result<()> {
        self.tell_untold()?;
        self.listener.event(event);
        if let Event::Step { .. } = event
            && let Some(why) = self.why.take()
        {
            self.listener.event(&Event::NotCached { why: &why });
        }
        Ok(())
    }

    /// Tells the image id of the step before, when it has not been told.
    pub(super) fn tell_untold(&mut self) -> Result<()> {
        if let Some(ticket) = self.untold.take() {
            let done = ticket.wait()?;
            self.listener.event(&Event::StepDone { image: &done.id });
        }
        Ok(())
    }

    /// Who hears of what happens.
    pub(super) fn listener(&mut self) -> &mut dyn Listener {
        self.listener
    }
}
