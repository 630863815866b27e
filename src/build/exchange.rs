//! `--cache-from` and `--cache-to`: finished steps from other stores, and for them.

use super::shared::Shared;
use super::walk::Walk;
use super::{CachePlace, Request};
use crate::archive::Steps;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Listener, Silent};
use crate::image::digest::ImageId;
use crate::plan::Base;
use crate::session::Session;
use crate::snapshot::{Done, StepImage};
use crate::store::{CacheKey, NewImage, NewRecord, Publication, Record};

/// What a stage came to: its image, and the image that it began with.
pub type Ends = (ImageId, Option<ImageId>);

/// What each stage of a build that is done came to and began with, in order; the last one came
/// to `image`.
pub fn ends(build: &Shared<'_>, image: ImageId) -> Result<Vec<Ends>> {
    let mut nobody = Silent;
    let mut walk = Walk::new(build, &mut nobody, 0);
    let last = build.plan.needed.last();
    let end = |index: &usize| match Some(index) == last {
        true => Ok(image),
        false => Ok::<_, Error>(build.stage(*index)?.image.wait()?.id),
    };
    let mut ends = Vec::new();
    for index in &build.plan.needed {
        let Some(stage) = build.plan.stages.get(*index) else { continue };
        let base = match &stage.base {
            Base::Scratch => None,
            Base::Stage(index) => Some(end(index)?),
            Base::Image(name) if walk.build.request.has_files(name) => None,
            Base::Image(name) => Some(walk.base(name, stage.platform.as_ref())?.id),
        };
        ends.push((end(index)?, base));
    }
    Ok(ends)
}

impl Walk<'_, '_> {
    /// The image after a step, when a directory of `--cache-from` has it; then the store has it
    /// too. What cannot be used is as if it were not there.
    pub(super) fn imported(
        &mut self,
        parent: &Done,
        key: &CacheKey,
        image: &mut StepImage,
    ) -> Result<Option<Done>> {
        for CachePlace { path, .. } in &self.build.request.cache_from {
            // Those that are not there have been named.
            let Ok(steps) = Steps::open(path) else { continue };
            let Some(record) = steps.record(key) else { continue };
            image.created = record.created.clone();
            let done = parent.after(image, record.diff_id, &mut self.text);
            let taken = match done.id == record.image {
                true => self.take(&steps, parent, &done, key, record),
                false => Err(Error::corrupt("it is of another step")),
            };
            match taken {
                Ok(()) => return Ok(Some(done)),
                Err(error) if matches!(error.kind(), Kind::Interrupted(_)) => return Err(error),
                Err(error) => {
                    let text = format!("a step in {path:?} is not used: {}", error.text());
                    self.listener().event(&Event::Warning { text: &text });
                }
            }
        }
        Ok(None)
    }

    fn take(
        &mut self,
        steps: &Steps,
        parent: &Done,
        done: &Done,
        key: &CacheKey,
        record: Record,
    ) -> Result<()> {
        let mut publication = Publication::default();
        let work = self.work()?;
        let store = &self.build.session.store;
        if let Some(diff_id) = &record.diff_id {
            let below = &parent.image.diff_ids;
            publication.layers = steps.layer(store, &work.scratch, below, diff_id)?;
        }
        publication.images.push(NewImage { text: done.text(), is_final: false });
        let record = Record { parent: parent.is_stored.then_some(parent.id), ..record };
        publication.records.push(NewRecord { key: *key, record });
        store.publish(&work.scratch, &mut publication)
    }
}

/// Says which directories of `--cache-from` are not there.
pub fn look(request: &Request, listener: &mut dyn Listener) {
    for CachePlace { path, .. } in &request.cache_from {
        if let Err(error) = Steps::open(path) {
            let text = format!("--cache-from: {}", error.text());
            listener.event(&Event::Warning { text: &text });
        }
    }
}

/// Writes the steps of a build for other stores: of its image, or of all stages. `ends`: what
/// each stage came to, the image's last. Steps that led to a base image are that image's.
pub fn keep(session: &Session, to: &CachePlace, ends: &[Ends]) -> Result<()> {
    let store = &session.store;
    let scratch = session.scratch()?;
    let steps = Steps::create(&to.path)?;
    let records = store.records()?;
    let is_stage = |id: &ImageId| ends.iter().any(|(end, _)| end == id);
    let is_base = |id: &ImageId| ends.iter().any(|(_, base)| base.as_ref() == Some(id));
    let first = if to.all_stages { 0 } else { ends.len().saturating_sub(1) };
    let mut seen: Vec<ImageId> = Vec::new();
    for (end, _) in ends.iter().skip(first) {
        let mut at = Some(*end);
        while let Some(id) = at.filter(|id| !seen.contains(id) && (is_stage(id) || !is_base(id))) {
            seen.push(id);
            let mut made = records.iter().filter(|(_, record)| record.image == id);
            at = made.find_map(|(_, record)| record.parent);
        }
    }
    let of_step = |record: &Record| !record.is_layer && seen.contains(&record.image);
    let wanted = || records.iter().filter(|(_, record)| of_step(record));
    for (_, record) in wanted() {
        let config = store.config(&record.image)?;
        let chain = config.and_then(|config| config.chains().pop());
        if let (Some(chain), Some(_)) = (chain, record.diff_id)
            && let Some(layer) = store.layer(&chain)?
        {
            if let Some(name) = &layer.name {
                scratch.uses(name)?;
            }
            steps.put_layer(store, &layer)?;
        }
    }
    // A record that is there promises that its layer is.
    steps.sync()?;
    for (key, record) in wanted() {
        steps.put_record(key, record)?;
    }
    steps.sync()
}
