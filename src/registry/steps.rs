//! Finished steps in a registry, for other stores: an image whose config has the records of steps
//! and whose layers are those that the records name, which no program can run; or an image that can
//! be run and has the records of its own steps in its config.
//!
//! Nothing of it is believed: a layer has the digests that are promised, and whoever reads a record
//! holds it against the image that it leads to.

use std::sync::Arc;

use super::ahead::Ahead;
use super::known::{Blob, Known};
use super::manifest;
use super::pull::add;
use super::push::{Work, put_manifest, send_small};
use super::remote::{Access, Remote};
use super::sources::Sources;
use crate::archive::{Stack, image_manifest};
use crate::error::{Context, Error, Result};
use crate::event::{Listener, Silent};
use crate::image::config::STEPS;
use crate::image::descriptor::{Descriptor, Manifest, OCI_CONFIG};
use crate::image::digest::{DiffId, Digest};
use crate::image::json::{self, Value};
use crate::image::reference::Reference;
use crate::store::{CacheKey, Layer, NewLayer, Record, Scratch, Store};

const CONFIG: &str = "application/vnd.lath.cache.v1+json";
/// What stands in the place of a config, or among the layers of an index, where BuildKit has kept
/// its own.
const BUILDKIT: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Steps that a registry has.
pub struct CacheImage {
    sources: Arc<Sources>,
    /// Keys and texts.
    records: Vec<(String, String)>,
    layers: Vec<(DiffId, Descriptor)>,
}

impl CacheImage {
    /// Reads what there is under a name.
    pub fn open(name: &Reference, access: &Access) -> Result<CacheImage> {
        let sources = Arc::new(Sources::of(name, access)?);
        let (text, _) = manifest::get(&sources, name)?;
        let parsed = Manifest::parse(&text)?;
        let is_buildkits = match &parsed {
            Manifest::Image { config, .. } => config.media_type == BUILDKIT,
            Manifest::Index(entries) => entries.iter().any(|entry| entry.media_type == BUILDKIT),
        };
        if is_buildkits {
            let text = format!("{name} has steps of BuildKit's, which lath cannot use");
            return Err(Error::not_found(text));
        }
        let none = || Error::not_found(format!("{name} has no steps of lath's builds"));
        let known = [CONFIG, OCI_CONFIG];
        let (config, layers) = match parsed {
            Manifest::Image { config, layers } if known.contains(&config.media_type.as_str()) => {
                (config, layers)
            }
            _ => return Err(none()),
        };
        let limit = json::MAX_BYTES as u64;
        let path = format!("blobs/{}", config.digest);
        let text = sources.small(
            &path,
            &[],
            limit,
            true,
            &mut |remote, answer, text| match answer.status {
                200 if Digest::of(&text) == config.digest => Ok(text),
                200 => Err(Error::corrupt(format!("the steps of {name} are not those promised"))),
                _ => Err(remote.refusal(&answer, &path)),
            },
        )?;
        let value = Value::parse(&text).context(|| format!("the steps of {name}"))?;
        let part = |value: &'_ Value, key: &str| value.get(key).cloned();
        // An image has them beside what it is.
        let (diff_ids, steps) = match config.media_type == CONFIG {
            true => (part(&value, "layers"), part(&value, "steps")),
            false => {
                let root = value.get("rootfs").and_then(|root| part(root, "diff_ids"));
                (root, Some(part(&value, STEPS).ok_or_else(none)?))
            }
        };
        let diff_ids = diff_ids.as_ref().and_then(Value::as_array).unwrap_or_default().iter();
        let diff_ids = diff_ids.filter_map(Value::as_str).map(Digest::parse);
        let steps = steps.as_ref().and_then(Value::as_object).unwrap_or_default();
        let text = |(key, text): &(String, Value)| Some((key.clone(), text.as_str()?.to_owned()));
        Ok(CacheImage {
            records: steps.iter().filter_map(text).collect(),
            layers: diff_ids.collect::<Result<Vec<_>>>()?.into_iter().zip(layers).collect(),
            sources,
        })
    }

    /// Records as `open` reads them.
    pub fn steps(records: &[(CacheKey, Record)]) -> Value {
        let of = |(key, record): &(CacheKey, Record)| (key.hex(), Value::string(record.to_text()));
        Value::Object(records.iter().map(of).collect())
    }

    /// The record of a key.
    pub fn record(&self, key: &CacheKey) -> Option<Record> {
        let hex = key.hex();
        let (_, text) = self.records.iter().find(|(known, _)| *known == hex)?;
        Record::parse(text)
    }

    /// Fetches a layer onto the layers below it, as far as the store does not have it.
    pub fn layer(
        &self,
        store: &Arc<Store>,
        scratch: &Scratch,
        below: &[DiffId],
        diff_id: &DiffId,
    ) -> Result<Vec<NewLayer>> {
        let mut stack = Stack::on(store, scratch, below)?;
        if !stack.reuse(diff_id)? {
            let layer = self.layers.iter().find(|(known, _)| known == diff_id);
            let (_, layer) = layer.ok_or_else(|| Error::not_found("its layer is not there"))?;
            let mut blob = Ahead::start(&self.sources, store, layer)?;
            add(&mut blob, &mut stack, diff_id, "layer", layer.size_bytes, &mut Silent)?;
            store.drop_partials(&layer.digest)?;
        }
        Ok(stack.new)
    }
}

/// Sends steps, and their layers as far as they are not there, and names them.
pub fn keep_steps(
    store: &Arc<Store>,
    name: &Reference,
    access: &Access,
    records: &[(CacheKey, Record)],
    layers: Vec<Layer>,
    listener: &mut dyn Listener,
) -> Result<()> {
    let remote = Remote::open(name, access, "pull,push")?;
    // What is there under this name already has most of the layers, as a rule.
    let mut known = Known::of(store, &Digest::of(b""), &diff_ids(&layers))?;
    if let Ok(before) = CacheImage::open(name, access) {
        for (diff_id, descriptor) in before.layers {
            let (registry, repository) = (name.registry.clone(), name.repository.clone());
            known.add(diff_id, Blob { descriptor, registry, repository });
        }
    }
    let order = diff_ids(&layers);
    let sent = Work::new(&remote, name, &known, store, layers).run(listener)?;
    let blob = |diff_id| sent.iter().find(|(known, ..)| known == diff_id);
    let blobs: Vec<_> = order.iter().filter_map(blob).map(|(_, blob, _)| blob.clone()).collect();
    let mut config = Value::Object(Vec::new());
    config.set("layers", Some(Value::strings(order.iter().map(Digest::to_string))));
    config.set("steps", Some(CacheImage::steps(records)));
    let text = config.to_text();
    if text.len() > json::MAX_BYTES {
        return Err(Error::input("there are too many steps for one image"));
    }
    let digest = send_small(&remote, text.as_bytes())?;
    let config = Descriptor::new(CONFIG, digest, text.len() as u64);
    put_manifest(&remote, name.tag_or_latest(), &image_manifest(&config, &blobs, None))
}

fn diff_ids(layers: &[Layer]) -> Vec<DiffId> {
    layers.iter().map(|layer| layer.diff_id).collect()
}
