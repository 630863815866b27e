//! `--cache-from` and `--cache-to`: finished steps from other stores, and for them.

use std::sync::Arc;

use super::shared::Shared;
use super::walk::Walk;
use super::{CacheAt, CachePlace, Request};
use crate::archive::Steps;
#[cfg(feature = "net")]
use crate::catalog::pull::access;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Listener, Silent};
#[cfg(feature = "net")]
use crate::image::config::{ImageConfig, STEPS};
#[cfg(feature = "net")]
use crate::image::digest::Digest;
use crate::image::digest::{DiffId, ImageId};
use crate::plan::Base;
#[cfg(feature = "net")]
use crate::registry::{CacheImage, keep_steps};
use crate::session::Session;
use crate::snapshot::{Done, StepImage};
use crate::store::{
    CacheKey, Layer, NewImage, NewLayer, NewRecord, Publication, Record, Scratch, Store,
};

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

/// Finished steps of another store.
enum Found {
    Directory(Steps),
    #[cfg(feature = "net")]
    Registry(Arc<CacheImage>),
}

impl Found {
    fn record(&self, key: &CacheKey) -> Option<Record> {
        match self {
            Found::Directory(steps) => steps.record(key),
            #[cfg(feature = "net")]
            Found::Registry(image) => image.record(key),
        }
    }

    fn layer(
        &self,
        store: &Arc<Store>,
        scratch: &Scratch,
        below: &[DiffId],
        diff_id: &DiffId,
    ) -> Result<Vec<NewLayer>> {
        match self {
            Found::Directory(steps) => steps.layer(store, scratch, below, diff_id),
            #[cfg(feature = "net")]
            Found::Registry(image) => image.layer(store, scratch, below, diff_id),
        }
    }
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
        for place in &self.build.request.cache_from {
            let Some(steps) = self.open_cache(&place.at)? else { continue };
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
                    let text = format!("a step in {} is not used: {}", place.at, error.text());
                    self.listener().event(&Event::Warning { text: &text });
                }
            }
        }
        Ok(None)
    }

    /// What can be read from. A place that is not there has been named, or is now, once.
    fn open_cache(&mut self, at: &CacheAt) -> Result<Option<Found>> {
        match at {
            CacheAt::Directory(path) => Ok(Steps::open(path).ok().map(Found::Directory)),
            #[cfg(feature = "net")]
            CacheAt::Registry(name) => {
                let build = self.build;
                let found = build.caches.get(name.to_string(), || {
                    let opened = access(build.session, false)
                        .and_then(|access| CacheImage::open(name, &access));
                    match opened {
                        Ok(image) => Ok(Some(Arc::new(image))),
                        Err(error) if matches!(error.kind(), Kind::Interrupted(_)) => Err(error),
                        Err(error) => {
                            let text = format!("--cache-from: {}", error.text());
                            self.listener().event(&Event::Warning { text: &text });
                            Ok(None)
                        }
                    }
                });
                Ok(found?.map(Found::Registry))
            }
            // Nobody reads from there.
            #[cfg(feature = "net")]
            CacheAt::Image => Ok(None),
        }
    }

    fn take(
        &mut self,
        steps: &Found,
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
    for CachePlace { at, .. } in &request.cache_from {
        #[cfg(feature = "net")]
        let CacheAt::Directory(path) = at else { continue };
        #[cfg(not(feature = "net"))]
        let CacheAt::Directory(path) = at;
        if let Err(error) = Steps::open(path) {
            let text = format!("--cache-from: {}", error.text());
            listener.event(&Event::Warning { text: &text });
        }
    }
}

/// Writes the steps of a build for other stores: of its image, or of all stages. `ends`: what
/// each stage came to, the image's last. Steps that led to a base image are that image's.
pub fn keep(
    session: &Session,
    to: &CachePlace,
    ends: &[Ends],
    #[cfg_attr(not(feature = "net"), expect(unused_variables, reason = "a directory is quick"))]
    listener: &mut dyn Listener,
) -> Result<()> {
    let store = &session.store;
    let scratch = session.scratch()?;
    let records = steps(store, ends, to.all_stages)?;
    let mut layers: Vec<Layer> = Vec::new();
    for (_, record) in &records {
        let config = store.config(&record.image)?;
        let chain = config.and_then(|config| config.chains().pop());
        if let (Some(chain), Some(_)) = (chain, record.diff_id)
            && let Some(layer) = store.layer(&chain)?
        {
            if let Some(name) = &layer.name {
                scratch.uses(name)?;
            }
            if !layers.iter().any(|known| known.diff_id == layer.diff_id) {
                layers.push(layer);
            }
        }
    }
    match &to.at {
        CacheAt::Directory(path) => keep_in(path, store, &records, &layers),
        #[cfg(feature = "net")]
        CacheAt::Registry(name) => {
            let access = access(session, false)?;
            keep_steps(store, name, &access, &records, layers, listener)
        }
        #[cfg(feature = "net")]
        CacheAt::Image => Ok(()),
    }
}

/// The records of the steps that led to the image, or of all stages.
fn steps(store: &Store, ends: &[Ends], all_stages: bool) -> Result<Vec<(CacheKey, Record)>> {
    let records = store.records()?;
    let is_stage = |id: &ImageId| ends.iter().any(|(end, _)| end == id);
    let is_base = |id: &ImageId| ends.iter().any(|(_, base)| base.as_ref() == Some(id));
    let first = if all_stages { 0 } else { ends.len().saturating_sub(1) };
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
    Ok(records.into_iter().filter(|(_, record)| of_step(record)).collect())
}

/// Makes the image of a build to one that has its own steps in it, and gives it its names.
#[cfg(feature = "net")]
pub fn keep_in_image(
    session: &Session,
    request: &Request,
    built: ImageId,
    ends: &[Ends],
) -> Result<ImageId> {
    let store = &session.store;
    let text = store.config_text(&built)?;
    let text = text.ok_or_else(|| Error::not_found("the image was removed meanwhile"))?;
    let mut image = ImageConfig::parse(&text)?;
    // What was squashed has not the layers of its steps any more.
    let mut records = steps(store, ends, false)?;
    records.retain(|(_, record)| record.diff_id.is_none_or(|id| image.diff_ids.contains(&id)));
    image.rest.push((STEPS.to_owned(), CacheImage::steps(&records)));
    let text = image.to_text().into_bytes();
    let id = Digest::of(&text);
    let is_named = |name| Ok(store.named(name)? == Some(id));
    let named = request.tags.iter().map(is_named).collect::<Result<Vec<bool>>>()?;
    if store.has_image(&id) && !named.contains(&false) {
        return Ok(id);
    }
    let scratch = session.scratch()?;
    scratch.uses(&image.chains().iter().map(Digest::hex).collect::<Vec<_>>().join("\n"))?;
    let mut publication = Publication::default();
    if !store.has_image(&id) {
        publication.images.push(NewImage { text, is_final: true });
    }
    publication.names = request.tags.iter().map(|name| (name.clone(), id)).collect();
    store.publish(&scratch, &mut publication)?;
    Ok(id)
}

/// A record that is there promises that its layer is.
fn keep_in(
    path: &str,
    store: &Store,
    records: &[(CacheKey, Record)],
    layers: &[Layer],
) -> Result<()> {
    let steps = Steps::create(path)?;
    for layer in layers {
        steps.put_layer(store, layer)?;
    }
    steps.sync()?;
    for (key, record) in records {
        steps.put_record(key, record)?;
    }
    steps.sync()
}
