//! An image from a registry into the store. Each layer is published when it is unpacked and was
//! found to be right, so that a pull that ends early has not been for nothing; the image, its
//! manifests and its name come last.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use super::ahead::{AT_ONCE, Ahead};
use super::credentials;
use super::manifest;
use super::remote::Access;
use super::sources::Sources;
use crate::archive::{Need, Stack};
use crate::error::{Context, Error, Kind, Result};
use crate::event::{Event, Listener, Progress};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{Descriptor, OCI_CONFIG};
use crate::image::digest::{ChainId, DiffId, Digest, ImageId};
use crate::image::json;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::layer::compress::decompress;
use crate::store::{NewImage, Publication, Scratch, Store};

const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a pull has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// What the registry calls it.
    pub digest: Digest,
    /// The name did not mean this image before.
    pub is_new: bool,
}

/// Brings an image in and names it; for `platform`, or this machine's when none is asked for.
pub fn pull(
    store: &Arc<Store>,
    scratch: &Scratch,
    reference: &Reference,
    platform: Option<&Platform>,
    access: &Access,
    listener: &mut dyn Listener,
) -> Result<Pulled> {
    if let Some(text) = credentials::exposed() {
        listener.event(&Event::Warning { text: &text });
    }
    let sources = Arc::new(Sources::of(reference, access)?);
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let found = manifest::find(&sources, reference, wanted)?;
    let image = found.config.digest;
    let mut publication = Publication::default();
    // One that is named here may stand on layers of a read-only store that is not there now.
    let known = if store.has_image(&image) { store.config(&image)? } else { None };
    let is_there = |chain: &ChainId| matches!(store.layer(chain), Ok(Some(_)));
    if !known.is_some_and(|config| config.chains().iter().all(is_there)) {
        let text = config(&sources, &found.config)?;
        let config = ImageConfig::parse(&text).context(|| "the image's config")?;
        suits(&config, platform, &host, listener)?;
        config.agrees(found.layers.len())?;
        layers(&sources, store, scratch, &found.layers, &config, listener)?;
        publication.images.push(NewImage { text, is_final: true });
    }
    let by_digest = Reference { tag: None, digest: Some(found.digest), ..reference.clone() };
    let mut is_new = false;
    // As docker does it: a name with a digest gives no tag.
    let by_tag = reference.digest.is_none().then(|| reference.clone());
    for name in by_tag.into_iter().chain([by_digest]) {
        if store.named(&name)? != Some(image) {
            is_new = true;
            publication.names.push((name, image));
        }
    }
    if is_new {
        // Also one that is there, as in a load: it may be in a read-only store alone.
        if publication.images.is_empty()
            && let Some(text) = store.config_text(&image)?
        {
            publication.images.push(NewImage { text, is_final: true });
        }
        publication.manifests = found.texts;
    }
    store.publish(scratch, &mut publication)?;
    Ok(Pulled { image, digest: found.digest, is_new })
}

/// The config, byte for byte: first its size, then its digest, then it is read.
pub(super) fn config(sources: &Sources, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let known = [OCI_CONFIG, DOCKER_CONFIG].contains(&descriptor.media_type.as_str());
    if !known {
        let text = format!("it is no image: its config is of the type {:?}", descriptor.media_type);
        return Err(Error::unsupported(text));
    }
    let limit = json::MAX_BYTES as u64;
    if descriptor.size_bytes > limit {
        return Err(Error::input(format!("the image's config has more than {limit} bytes")));
    }
    let what = format!("blobs/{}", descriptor.digest);
    let (size, wanted) = (descriptor.size_bytes, descriptor.digest);
    sources.small(&what, &[], size + 1, true, &mut |remote, answer, text| {
        if answer.status != 200 {
            return Err(remote.refusal(&answer, &what));
        }
        if text.len() as u64 != size {
            let text = format!("the image's config has not the {size} bytes it should");
            return Err(Error::corrupt(text));
        }
        let digest = Digest::of(&text);
        if digest != wanted {
            let text = format!("the image's config should be {wanted}; it is {digest}");
            return Err(Error::corrupt(text));
        }
        Ok(text)
    })
}

/// Without a choice of several platforms there may be one that this device cannot run.
fn suits(
    config: &ImageConfig,
    platform: Option<&Platform>,
    host: &Platform,
    listener: &mut dyn Listener,
) -> Result<()> {
    let own = &config.platform;
    match platform {
        Some(wanted) if !own.suits(wanted) => {
            Err(Error::not_found(format!("the image is for {own} and not for {wanted}")))
        }
        None if !own.suits(host) => {
            let text = format!("the image is for {own}, and this device is {host}");
            listener.event(&Event::Warning { text: &text });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Unpacks the layers, lowest first, each while it comes: it must stand on the one below. The next
/// ones are on their way meanwhile.
fn layers(
    sources: &Arc<Sources>,
    store: &Arc<Store>,
    scratch: &Scratch,
    layers: &[Descriptor],
    config: &ImageConfig,
    listener: &mut dyn Listener,
) -> Result<()> {
    layers.iter().try_for_each(is_layer)?;
    let mut missing = VecDeque::new();
    for (number, chain) in config.chains().iter().enumerate() {
        if store.layer(chain)?.is_none() {
            missing.push_back(number);
        }
    }
    // A manifest has no more than the compressed sizes, so this is the least.
    let sizes = missing.iter().filter_map(|number| Some(layers.get(*number)?.size_bytes));
    let bytes = sizes.fold(0, u64::saturating_add);
    Need { bytes, inodes: missing.len() as u64, is_least: true }.fits(store)?;
    let of = Layers { sources, store, count: layers.len() };
    let mut coming: VecDeque<(usize, Ahead)> = VecDeque::new();
    let mut stack = Stack::new(store, scratch);
    for (number, (layer, diff_id)) in layers.iter().zip(&config.diff_ids).enumerate() {
        if stack.reuse(diff_id)? {
            continue;
        }
        // Another process may have brought some in the meantime.
        coming.retain(|(known, _)| *known >= number);
        missing.retain(|known| *known >= number);
        while coming.len() < AT_ONCE
            && let Some(next) = missing.pop_front()
            && let Some(layer) = layers.get(next)
        {
            coming.push_back((next, Ahead::start(sources, store, layer)?));
        }
        let is_ready = coming.front().is_some_and(|(known, _)| *known == number);
        let blob = match coming.pop_front().filter(|_| is_ready) {
            Some((_, blob)) => blob,
            // One that was there before has been removed.
            None => Ahead::start(sources, store, layer)?,
        };
        of.add(blob, &mut stack, (number, layer, diff_id), listener)?;
        let layers = std::mem::take(&mut stack.new);
        store.publish(scratch, &mut Publication { layers, ..Publication::default() })?;
        // Only now nobody needs the bytes again.
        store.drop_partials(&layer.digest)?;
    }
    Ok(())
}

/// Where the layers of an image come from.
pub(super) struct Layers<'a> {
    /// Where the image can be had.
    pub sources: &'a Arc<Sources>,
    /// Where it comes to.
    pub store: &'a Arc<Store>,
    /// How many layers it has.
    pub count: usize,
}

impl Layers<'_> {
    /// Unpacks one while it comes, and once more when that was not what it should be.
    pub(super) fn add(
        &self,
        mut blob: Ahead,
        stack: &mut Stack<'_>,
        (number, layer, diff_id): (usize, &Descriptor, &DiffId),
        listener: &mut dyn Listener,
    ) -> Result<()> {
        let what = format!("layer {} of {}", number + 1, self.count);
        let total = layer.size_bytes;
        let mut is_first = true;
        loop {
            match add(&mut blob, stack, diff_id, &what, total, listener) {
                Ok(()) => break,
                // Without what an earlier process has left, or from somewhere else.
                Err(error)
                    if error.kind() == Kind::Corrupt
                        && (is_first && blob.origins().has_old
                            || blob.origins().has_mirrored && self.sources.blame(is_first)) =>
                {
                    log::warn!("{what}: {error}");
                    is_first = false;
                    blob = Ahead::start(self.sources, self.store, layer)?;
                }
                Err(error) => return Err(error.during(&what)),
            }
        }
        let done = Event::Moved { what: &what, done_bytes: total, total_bytes: Some(total) };
        listener.event(&done);
        Ok(())
    }
}

/// Unpacks a layer while it comes.
pub(super) fn add(
    blob: &mut Ahead,
    stack: &mut Stack<'_>,
    diff_id: &DiffId,
    what: &str,
    total: u64,
    listener: &mut dyn Listener,
) -> Result<()> {
    let progress = Progress::new(listener, what, Some(total));
    let mut counted = Counted { blob: &mut *blob, progress };
    let added = decompress(Box::new(&mut counted))
        .and_then(|(_, mut tar)| stack.add(&mut tar, Some(diff_id)));
    match added {
        Ok(_) => blob.verify(),
        // The blob's own digest says better what is wrong.
        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Input) => {
            Err(blob.verify().err().unwrap_or(error))
        }
        Err(error) => Err(error),
    }
}

struct Counted<'a> {
    blob: &'a mut Ahead,
    progress: Progress<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}

/// A layer that is a tar, compressed or not, whoever may hand it on.
pub(super) fn is_layer(layer: &Descriptor) -> Result<()> {
    let tar = layer
        .media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.tar")
        .or_else(|| {
            layer.media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar")
        })
        .or_else(|| layer.media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"))
        .or_else(|| {
            layer.media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.tar")
        });
    match tar {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        _ => {
            let text = format!("a layer is of the type {:?}", layer.media_type);
            Err(Error::unsupported(text).hint("lath reads tars: plain, gzip, zstd"))
        }
    }
}
