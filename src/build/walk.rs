//! The stages in order: what each begins with, its triggers, its statements, and the image in the
//! end.

use std::collections::BTreeMap;

use super::Request;
use super::context::BuildContext;
use super::source::Tree;
use super::stage::Building;
use super::work::Lazy;
use crate::catalog::resolve;
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::image::config::ImageConfig;
use crate::image::digest::ImageId;
use crate::instruction::{
    CopyFrom, DEFAULT_PATH, Effect, Instruction, Lowered, Scope, parse_trigger,
};
use crate::pattern::Ignore;
use crate::plan::{Base, Plan, Stage};
use crate::session::Session;
use crate::snapshot::{Chain, Done, Ticket};

/// A build under way.
pub struct Walk<'a> {
    pub(super) session: &'a Session,
    pub(super) request: &'a Request,
    pub(super) work: Lazy,
    context: &'a BuildContext,
    plan: &'a Plan,
    listener: &'a mut dyn Listener,
    /// The step whose image id has not been told yet.
    pub(super) untold: Option<Ticket>,
    built: BTreeMap<usize, Building>,
    /// What `--from` has led to in the stage at hand.
    trees: BTreeMap<String, Tree>,
    number: usize,
    total: usize,
    /// The time of all steps, when the user has set it.
    pub(super) epoch: Option<i64>,
}

impl<'a> Walk<'a> {
    /// Nothing done yet.
    pub fn new(
        session: &'a Session,
        request: &'a Request,
        context: &'a BuildContext,
        plan: &'a Plan,
        listener: &'a mut dyn Listener,
    ) -> Result<Walk<'a>> {
        let steps = plan.needed.iter().filter_map(|index| plan.stages.get(*index));
        let steps: usize = steps.map(|stage| 1 + stage.steps.len()).sum();
        let labels = usize::from(!request.labels.is_empty());
        Ok(Walk {
            session,
            request,
            work: Lazy::default(),
            context,
            plan,
            listener,
            untold: None,
            built: BTreeMap::new(),
            trees: BTreeMap::new(),
            number: 0,
            total: plan.global_texts.len() + steps + labels,
            epoch: request.epoch()?,
        })
    }

    /// Builds every needed stage and publishes the image of the last.
    pub fn all(&mut self) -> Result<ImageId> {
        for text in &self.plan.global_texts {
            self.number += 1;
            self.announce(text)?;
        }
        for index in &self.plan.needed {
            if let Some(stage) = self.plan.stages.get(*index) {
                let building = self.stage(stage)?;
                self.built.insert(*index, building);
            }
        }
        let last = self.plan.needed.last().and_then(|index| self.built.remove(index));
        let mut last = last.ok_or_else(|| Error::input("the Dockerfile has no stage"))?;
        self.label(&mut last)?;
        self.tell_untold()?;
        let done = last.image.wait()?;
        self.publish(&done)?;
        Ok(done.id)
    }

    /// Waits until everything is on the medium that will be.
    pub fn finish(self) -> Result<()> {
        self.work.finish()
    }

    /// The image and its names; nothing is written when they are there already.
    fn publish(&mut self, done: &Done) -> Result<()> {
        let store = &self.session.store;
        let mut is_there = store.has_image(&done.id);
        for tag in &self.request.tags {
            is_there = is_there && store.named(tag)? == Some(done.id);
        }
        if is_there {
            return Ok(());
        }
        let work = self.work.get(self.session)?;
        work.committer.publish(Some(done.clone()), self.request.tags.clone())
    }

    fn stage(&mut self, stage: &Stage) -> Result<Building> {
        self.trees.clear();
        self.number += 1;
        self.announce(&stage.text)?;
        let begun = self.begin(stage);
        let mut building = begun.map_err(|error| error.at(self.context.place(stage.line)))?;
        for text in std::mem::take(&mut building.scope.config.on_build) {
            let done = parse_trigger(&text).and_then(|(statement, instruction)| {
                self.instruction(&mut building, stage, &instruction, &statement.original)
            });
            done.map_err(|error| error.at(self.context.place(stage.line)))?;
        }
        for step in &stage.steps {
            self.number += 1;
            let done = self.instruction(&mut building, stage, &step.instruction, &step.text);
            done.map_err(|error| error.at(self.context.place(step.line)))?;
        }
        Ok(building)
    }

    /// What the stage begins with.
    fn begin(&mut self, stage: &Stage) -> Result<Building> {
        let fresh = |scope: Scope| Scope {
            build_args: self.request.build_args.clone(),
            global_args: self.plan.global_args.clone(),
            target_platform: self.request.platform.clone().unwrap_or_default(),
            stage_name: self.request.target.clone().unwrap_or_default(),
            escape: self.plan.escape,
            cmd_set: false,
            ..scope
        };
        let (image, chain, scope) = match &stage.base {
            Base::Stage(index) => {
                let parent = self.built.get(index).ok_or_else(|| Error::input("no such stage"))?;
                let done = parent.image.wait()?;
                let scope = fresh(parent.scope.clone());
                (done, parent.chain.clone(), scope)
            }
            Base::Scratch => {
                let wanted = stage.platform.as_ref().or(self.request.platform.as_ref());
                let platform = wanted.cloned().unwrap_or_default();
                let mut image = ImageConfig { platform, ..ImageConfig::default() };
                image.config.set_env("PATH", DEFAULT_PATH);
                let scope = Scope { config: image.config.clone(), ..Scope::default() };
                (Done::new(image, false), None, fresh(scope))
            }
            Base::Image(name) => {
                let done = self.base(name)?;
                let scope = Scope { config: done.image.config.clone(), ..Scope::default() };
                let wanted = stage.platform.as_ref().or(self.request.platform.as_ref());
                if let Some(wanted) = wanted.filter(|wanted| !done.image.platform.suits(wanted)) {
                    let text = format!(
                        "{name} is for {} and not for {wanted}, the only one in the store is used",
                        done.image.platform
                    );
                    self.listener.event(&Event::Warning { text: &text });
                }
                (done, None, fresh(scope))
            }
        };
        if stage.base != Base::Scratch {
            self.tell(&Event::StepDone { image: &image.id })?;
        }
        Ok(Building { image: Ticket::known(image), chain, scope, is_fresh: false })
    }

    fn base(&self, name: &str) -> Result<Done> {
        crate::image::reference::Reference::parse(name)?;
        let store = &self.session.store;
        let missing = || {
            Error::not_found(format!("{name}: No such image"))
                .hint("this lath does not pull yet: bring the image in with lath load -i FILE")
        };
        let found = resolve::find(store, name)?.ok_or_else(missing)?;
        let image = store.config(&found.image)?.ok_or_else(missing)?;
        Ok(Done { chain: image.chains().pop(), image, id: found.image, is_stored: true })
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
        let event = Event::Step { number: self.number, total: self.total, text };
        let from = match &lowered.effect {
            Effect::Copy(copy) if !copy.sources.is_empty() => Some(copy.from.clone()),
            _ => None,
        };
        match from {
            Some(CopyFrom::Named(word)) => {
                if !self.trees.contains_key(&word) {
                    let tree = self.tree(stage, &word)?;
                    self.trees.insert(word.clone(), tree);
                }
                // Out of the map for the time of the step, since the walk is borrowed for it.
                let tree = self.trees.remove(&word);
                let done = self.step(building, &event, lowered, tree.as_ref());
                self.trees.extend(tree.map(|tree| (word, tree)));
                done
            }
            Some(CopyFrom::Context) => {
                let context = self.context;
                self.step(building, &event, lowered, context.tree.as_ref())
            }
            None => self.step(building, &event, lowered, None),
        }
    }

    /// The files of a stage or an image, for `--from`.
    fn tree(&mut self, stage: &Stage, word: &str) -> Result<Tree> {
        let chain = match stage.sources.get(word).and_then(|index| self.built.get(index)) {
            Some(Building { chain: Some(chain), .. }) => chain.clone(),
            Some(building) => self.open(&building.image.wait()?)?,
            None => self.open(&self.base(word)?)?,
        };
        let view = chain.view()?.ok_or_else(|| Error::not_found(format!("{word} has no files")))?;
        Ok(Tree::new(view, Ignore::default(), true))
    }

    fn open(&self, done: &Done) -> Result<Chain> {
        Chain::open(&self.session.store, self.work.scratch(), &done.image.chains())
    }

    /// `--label`: one more step, as docker's classic builder has it.
    fn label(&mut self, building: &mut Building) -> Result<()> {
        if self.request.labels.is_empty() {
            return Ok(());
        }
        let mut created_by = "LABEL".to_owned();
        for (name, value) in &self.request.labels {
            building.scope.config.labels.insert(name.clone(), value.clone());
            created_by.push_str(&format!(" {name}={value}"));
        }
        self.number += 1;
        let text = created_by.clone();
        let event = Event::Step { number: self.number, total: self.total, text: &text };
        self.step(building, &event, Lowered { effect: Effect::Config, created_by }, None)
    }

    fn announce(&mut self, text: &str) -> Result<()> {
        self.tell(&Event::Step { number: self.number, total: self.total, text })
    }

    /// Tells the image id of the step before, and then this event.
    pub(super) fn tell(&mut self, event: &Event<'_>) -> Result<()> {
        self.tell_untold()?;
        self.listener.event(event);
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
