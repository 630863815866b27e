//! Brings back from a registry what the store has lost, by the digests that the store knows.

use std::sync::Arc;

use super::ahead::Ahead;
use super::manifest;
use super::pull::{Layers, config, is_layer};
use super::remote::Access;
use super::sources::Sources;
use crate::archive::Restoration;
use crate::error::{Context, Result};
use crate::event::Listener;
use crate::image::config::ImageConfig;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::store::Store;

/// Restores what the repository of a name has. A tag may mean another image by now: the digests come
/// first under which the repository gave what is missing, and the tag where none is known.
pub fn restore(
    lost: &mut Restoration<'_>,
    store: &Arc<Store>,
    reference: &Reference,
    access: &Access,
    listener: &mut dyn Listener,
) -> Result<()> {
    let sources = Arc::new(Sources::of(reference, access)?);
    let mut wanted = Vec::new();
    if reference.digest.is_none() {
        for known in store.digests()? {
            if known.reference.full_name() == reference.full_name() && lost.lacks(&known.image) {
                // Which one it was of several; where that is not known any more, this machine's.
                let config = store.config(&known.image).ok().flatten();
                wanted.push((known.reference, config.map(|config| config.platform)));
            }
        }
    }
    if wanted.is_empty() {
        wanted.push((reference.clone(), None));
    }
    for (reference, platform) in wanted {
        let platform = platform.unwrap_or_else(Platform::host);
        let found = manifest::find(&sources, &reference, &platform)?;
        let text = config(&sources, &found.config)?;
        let config = ImageConfig::parse(&text).context(|| "the image's config")?;
        config.agrees(found.layers.len())?;
        found.layers.iter().try_for_each(is_layer)?;
        let layers = Layers { sources: &sources, store, count: found.layers.len() };
        lost.image(text, &config, &mut |stack| {
            for (number, (layer, diff_id)) in found.layers.iter().zip(&config.diff_ids).enumerate()
            {
                if !stack.reuse(diff_id)? {
                    let blob = Ahead::start(&sources, store, layer)?;
                    layers.add(blob, stack, (number, layer, diff_id), listener)?;
                }
            }
            Ok(())
        })?;
        for layer in &found.layers {
            store.drop_partials(&layer.digest)?;
        }
    }
    Ok(())
}
