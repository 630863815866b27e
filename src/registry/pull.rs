//! An image from a registry into the store. Each layer is published when it is unpacked and was
//! found to be right, so that a pull that ends early has not been for nothing; the image, its
//! manifests and its name come last.

use std::io::Read;

use super::blob::Blob;
use super::manifest;
use super::remote::{Access, Remote};
use crate::archive::Stack;
use crate::error::{Context, Error, Kind, Result};
use crate::event::{Event, Listener, Progress};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{Descriptor, OCI_CONFIG};
use crate::image::digest::{DiffId, Digest, ImageId};
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
    store: &Store,
    scratch: &Scratch,
    reference: &Reference,
    platform: Option<&Platform>,
    access: Access,
    listener: &mut dyn Listener,
) -> Result<Pulled> {
    let mut remote = Remote::open(reference, access, "pull")?;
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let found = manifest::find(&mut remote, reference, wanted)?;
    let image = found.config.digest;
    let mut publication = Publication::default();
    if !store.has_image(&image) {
        let text = config(&mut remote, &found.config)?;
        let config = ImageConfig::parse(&text).context(|| "the image's config")?;
        suits(&config, platform, &host, listener)?;
        config.agrees(found.layers.len())?;
        layers(&mut remote, store, scratch, &found.layers, &config.diff_ids, listener)?;
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
        publication.manifests = found.texts;
    }
    store.publish(scratch, &mut publication)?;
    Ok(Pulled { image, digest: found.digest, is_new })
}

/// The config, byte for byte: first its size, then its digest, then it is read.
fn config(remote: &mut Remote, descriptor: &Descriptor) -> Result<Vec<u8>> {
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
    let answer = remote.get(&what, &[])?;
    if answer.status != 200 {
        return Err(remote.refusal(&answer, &what));
    }
    let mut text = Vec::new();
    answer.body.take(descriptor.size_bytes + 1).read_to_end(&mut text).context(|| &what)?;
    if text.len() as u64 != descriptor.size_bytes {
        let size = descriptor.size_bytes;
        return Err(Error::corrupt(format!(
            "the image's config has not the {size} bytes it should"
        )));
    }
    let digest = Digest::of(&text);
    if digest != descriptor.digest {
        let wanted = descriptor.digest;
        return Err(Error::corrupt(format!(
            "the image's config should be {wanted}; it is {digest}"
        )));
    }
    Ok(text)
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

fn layers(
    remote: &mut Remote,
    store: &Store,
    scratch: &Scratch,
    layers: &[Descriptor],
    diff_ids: &[DiffId],
    listener: &mut dyn Listener,
) -> Result<()> {
    layers.iter().try_for_each(is_layer)?;
    let mut stack = Stack::new(store, scratch);
    for (number, (layer, diff_id)) in layers.iter().zip(diff_ids).enumerate() {
        if stack.reuse(diff_id)? {
            continue;
        }
        let what = format!("layer {} of {}", number + 1, layers.len());
        let total = layer.size_bytes;
        let added = fetch(remote, store, &mut stack, layer, diff_id, &what, listener);
        let added = match added {
            // Once more without what an earlier process has left.
            Err((error, true)) if error.kind() == Kind::Corrupt => {
                log::warn!("{what}: {error}");
                fetch(remote, store, &mut stack, layer, diff_id, &what, listener)
            }
            other => other,
        };
        added.map_err(|(error, _)| error.during(&what))?;
        let done = Event::Moved { what: &what, done_bytes: total, total_bytes: Some(total) };
        listener.event(&done);
        let layers = std::mem::take(&mut stack.new);
        store.publish(scratch, &mut Publication { layers, ..Publication::default() })?;
        // Only now nobody needs the bytes again.
        if let Some(partial) = store.partial(&layer.digest)? {
            store.drop_partial(partial);
        }
    }
    Ok(())
}

/// Unpacks a layer while it comes. With an error: whether old bytes were among those read.
fn fetch(
    remote: &mut Remote,
    store: &Store,
    stack: &mut Stack<'_>,
    layer: &Descriptor,
    diff_id: &DiffId,
    what: &str,
    listener: &mut dyn Listener,
) -> Result<(), (Error, bool)> {
    let progress = Progress::new(listener, what, Some(layer.size_bytes));
    let mut blob = Blob::open(remote, store, layer, progress).map_err(|error| (error, false))?;
    let added = add(&mut blob, stack, diff_id);
    let added = match added {
        // The blob's own digest says better what is wrong.
        Err(error)
            if blob.may_be_stale() || matches!(error.kind(), Kind::Corrupt | Kind::Input) =>
        {
            Err(blob.verify().err().unwrap_or(error))
        }
        other => other,
    };
    added.map_err(|error| (error, blob.may_be_stale()))
}

fn add(blob: &mut Blob<'_>, stack: &mut Stack<'_>, diff_id: &DiffId) -> Result<()> {
    let (_, mut tar) = decompress(Box::new(&mut *blob))?;
    stack.add(&mut tar, Some(diff_id))?;
    drop(tar);
    blob.verify()
}

/// A layer that is a tar, compressed or not, whoever may hand it on.
fn is_layer(layer: &Descriptor) -> Result<()> {
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
