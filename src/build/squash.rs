//! `--squash`: the layers of an image above its base become one, as docker's classic builder does.
//!
//! The history keeps all lines; those of the build have no layer any more, and a last one says
//! what was merged.

use std::sync::Arc;

use super::Request;
use super::work::Kept;
use crate::catalog::list::size;
use crate::error::{Error, Result};
use crate::image::config::{History, ImageConfig};
use crate::image::digest::{Digest, ImageId};
use crate::image::time::stamp;
use crate::plan::key::squash_key;
use crate::session::Session;
use crate::snapshot;
use crate::store::{CacheKey, NewImage, NewRecord, Publication, Record};

/// Makes the image of a build to one with a single layer on its base, and gives it its names.
pub fn squash(
    session: &Session,
    request: &Request,
    built: ImageId,
    base: Option<ImageId>,
    kept: Option<Kept>,
) -> Result<ImageId> {
    let store = &session.store;
    let text = store.config_text(&built)?;
    let text = text.ok_or_else(|| Error::not_found("the image was removed meanwhile"))?;
    let mut image = ImageConfig::parse(&text)?;
    let below = base.map(|base| store.config(&base)).transpose()?.flatten().unwrap_or_default();
    let key = CacheKey(squash_key(&built, base.as_ref()));
    let cached = store.cached(&key)?.filter(|record| store.has_image(&record.image));
    if let Some(record) = &cached {
        store.use_record(&key);
        let is_named = |name| Ok(store.named(name)? == Some(record.image));
        let named = request.tags.iter().map(is_named).collect::<Result<Vec<bool>>>()?;
        if !named.contains(&false) {
            return Ok(record.image);
        }
    }
    let mut publication = Publication::default();
    let scratch = session.scratch()?;
    scratch.uses(&image.chains().iter().map(Digest::hex).collect::<Vec<_>>().join("\n"))?;
    drop(kept);
    let (id, text) = match cached {
        Some(record) => (record.image, None),
        // There is nothing to merge.
        None if image.diff_ids.len() == below.diff_ids.len() => (built, Some(text)),
        None => {
            store.room(size(store, &image))?;
            let new = snapshot::squash(store, &scratch, &image.chains(), below.diff_ids.len())?;
            let created = stamp(request.epoch()?);
            for line in image.history.iter_mut().skip(below.history.len()) {
                Arc::make_mut(line).empty_layer = true;
            }
            let comment = match base {
                Some(base) => format!("merge {built} to {base}"),
                None => format!("create new from {built}"),
            };
            let line = History {
                created: Some(created.clone()),
                comment: Some(comment),
                ..History::default()
            };
            image.history.push(Arc::new(line));
            image.created = Some(created.clone());
            image.diff_ids.truncate(below.diff_ids.len());
            image.diff_ids.push(new.layer.diff_id);
            let text = image.to_text().into_bytes();
            let id = Digest::of(&text);
            let diff_id = Some(new.layer.diff_id);
            let record = Record {
                created,
                diff_id,
                parent: Some(built),
                image: id,
                brief: String::new(),
                is_layer: false,
            };
            publication.layers.push(new);
            publication.records.push(NewRecord { key, record });
            (id, Some(text))
        }
    };
    publication.images.extend(text.map(|text| NewImage { text, is_final: true }));
    for name in &request.tags {
        if store.named(name)? != Some(id) {
            publication.names.push((name.clone(), id));
        }
    }
    store.publish(&scratch, &mut publication)?;
    Ok(id)
}
