//! What registries have called layers: pulled and pushed manifests say which blob a layer's tar
//! was, so that it need not be compressed again where the blob is, or can be mounted.

use std::collections::BTreeMap;

use super::manifest::MAX_DEPTH;
use crate::error::Result;
use crate::image::config::ImageConfig;
use crate::image::descriptor::{Descriptor, Manifest};
use crate::image::digest::{DiffId, Digest, ImageId};
use crate::image::reference::Reference;
use crate::store::Store;

/// A blob that is a layer, and a repository that has it.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The blob.
    pub descriptor: Descriptor,
    /// Its registry.
    pub registry: String,
    /// The repository there.
    pub repository: String,
}

/// By the layers that an image has: their blobs.
#[derive(Default)]
pub struct Known {
    blobs: BTreeMap<DiffId, Vec<Blob>>,
    /// The image's own manifests, byte for byte.
    pub manifests: Vec<Vec<u8>>,
}

impl Known {
    /// Looks through the manifests of a store for an image and its layers.
    pub fn of(store: &Store, image: &ImageId, diff_ids: &[DiffId]) -> Result<Known> {
        let mut known = Known::default();
        for name in store.digests()? {
            let Some(digest) = name.reference.digest else { continue };
            known.look(store, image, diff_ids, &digest, &name.reference, 0)?;
        }
        Ok(known)
    }

    /// Adds a blob that a layer was.
    pub fn add(&mut self, diff_id: DiffId, blob: Blob) {
        self.blobs.entry(diff_id).or_default().push(blob);
    }

    /// The blobs that a layer was.
    pub fn blobs(&self, diff_id: &DiffId) -> &[Blob] {
        self.blobs.get(diff_id).map(Vec::as_slice).unwrap_or_default()
    }

    fn look(
        &mut self,
        store: &Store,
        image: &ImageId,
        wanted: &[DiffId],
        digest: &Digest,
        at: &Reference,
        depth: usize,
    ) -> Result<()> {
        let Some(text) = store.manifest(digest)? else { return Ok(()) };
        let (config, layers) = match Manifest::parse(&text) {
            Ok(Manifest::Image { config, layers }) => (config, layers),
            Ok(Manifest::Index(entries)) if depth < MAX_DEPTH => {
                for entry in entries {
                    self.look(store, image, wanted, &entry.digest, at, depth + 1)?;
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if config.digest == *image {
            self.manifests.push(text);
        }
        // Its own config says which tars they are; without it nothing is known.
        let own = store.config_text(&config.digest).ok().flatten();
        let Some(own) = own.and_then(|text| ImageConfig::parse(&text).ok()) else { return Ok(()) };
        for (diff_id, descriptor) in own.diff_ids.iter().zip(layers) {
            if wanted.contains(diff_id) {
                let (registry, repository) = (at.registry.clone(), at.repository.clone());
                let blob = Blob { descriptor, registry, repository };
                self.add(*diff_id, blob);
            }
        }
        Ok(())
    }
}
