//! An image from the store to a registry: the blobs that it has not, compressed while they are
//! sent, then the config, then the manifest (distribution-spec, "Push").

use std::io::Write;

use super::known::Known;
use super::remote::{Access, Remote, is_busy, is_passing, pause};
use crate::archive::{image_manifest, write_layer};
use crate::error::{Context, Error, Result};
use crate::event::{Listener, Progress};
use crate::http::{Fill, Request, Response, Url, encoded};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::image::digest::{DiffId, Digest, ImageId};
use crate::image::json::Value;
use crate::image::reference::Reference;
use crate::layer::compress::Gzip;
use crate::layer::verify::HashingWriter;
use crate::store::{Layer, Publication, Scratch, Store};

/// How often a blob is sent before it is given up.
const TRIES: u32 = 5;
/// A third of the time of gzip's own level, and some hundredths more bytes.
const LEVEL: u8 = 4;

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was sent.
    Pushed,
    /// It was there.
    Exists,
    /// The registry had it in this repository.
    Mounted(String),
}

/// What a push has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// Its bytes.
    pub size_bytes: u64,
    /// The layers, lowest first.
    pub layers: Vec<(DiffId, Sent)>,
}

/// Sends an image and names it there.
pub fn push(
    store: &Store,
    scratch: &Scratch,
    image: &ImageId,
    reference: &Reference,
    access: Access,
    listener: &mut dyn Listener,
) -> Result<Pushed> {
    let text = store.config_text(image)?;
    let text = text.ok_or_else(|| Error::not_found(format!("no image {}", image.short())))?;
    let config = ImageConfig::parse(&text)?;
    let mut remote = Remote::open(reference, access, "pull,push")?;
    let known = Known::of(store, image, &config.diff_ids)?;
    let mut layers = Vec::new();
    let mut said = Vec::new();
    for (diff_id, chain) in config.diff_ids.iter().zip(config.chains()) {
        let layer = store.needed_layer(&chain)?;
        if let Some(name) = &layer.name {
            scratch.uses(name)?;
        }
        let (descriptor, sent) = match there(&mut remote, reference, &known, diff_id)? {
            Some(found) => found,
            None => (send_layer(&mut remote, store, &layer, listener)?, Sent::Pushed),
        };
        layers.push(descriptor);
        said.push((*diff_id, sent));
    }
    let own = Descriptor::new(OCI_CONFIG, *image, text.len() as u64);
    if !has(&mut remote, image)? {
        send_blob(&mut remote, &mut |out| Ok(out.write_all(&text)?))?;
    }
    let manifest = same(&known, &layers).unwrap_or_else(|| image_manifest(&own, &layers, None));
    put_manifest(&mut remote, reference, &manifest)?;
    let digest = Digest::of(&manifest);
    let name = Reference { tag: None, digest: Some(digest), ..reference.clone() };
    let size_bytes = manifest.len() as u64;
    if store.named(&name)? != Some(*image) {
        let mut publication = Publication {
            manifests: vec![manifest],
            names: vec![(name, *image)],
            ..Publication::default()
        };
        store.publish(scratch, &mut publication)?;
    }
    Ok(Pushed { digest, size_bytes, layers: said })
}

/// The image's own manifest that names the same blobs: it goes up as it came.
fn same(known: &Known, layers: &[Descriptor]) -> Option<Vec<u8>> {
    let names_them = |text: &&Vec<u8>| match Manifest::parse(text) {
        Ok(Manifest::Image { layers: own, .. }) => {
            own.iter().map(|layer| layer.digest).eq(layers.iter().map(|layer| layer.digest))
        }
        _ => false,
    };
    known.manifests.iter().find(names_them).cloned()
}

/// A blob of this layer that the repository has, or takes from another one of its registry.
fn there(
    remote: &mut Remote,
    reference: &Reference,
    known: &Known,
    diff_id: &DiffId,
) -> Result<Option<(Descriptor, Sent)>> {
    let blobs = known.blobs(diff_id);
    for blob in blobs {
        if has(remote, &blob.descriptor.digest)? {
            return Ok(Some((blob.descriptor.clone(), Sent::Exists)));
        }
    }
    let here = blobs.iter().filter(|blob| {
        blob.registry == reference.registry && blob.repository != reference.repository
    });
    for blob in here {
        remote.also_reads(&blob.repository);
        let (digest, from) = (blob.descriptor.digest.to_string(), encoded(&blob.repository));
        let path = format!("blobs/uploads/?mount={}&from={from}", encoded(&digest));
        let answer = remote.send(&Request::new("POST", remote.url(&path)?))?;
        match answer.status {
            201 => {
                let sent = Sent::Mounted(blob.repository.clone());
                return Ok(Some((blob.descriptor.clone(), sent)));
            }
            // It begins an upload instead, which ends by itself.
            _ => log::debug!("{digest} is not mounted: {}", answer.status),
        }
    }
    Ok(None)
}

fn has(remote: &mut Remote, digest: &Digest) -> Result<bool> {
    let url = remote.url(&format!("blobs/{digest}"))?;
    let answer = remote.send(&Request::new("HEAD", url))?;
    match answer.status {
        200 => Ok(true),
        404 => Ok(false),
        _ => Err(remote.refusal(&answer, "the blob")),
    }
}

/// Packs and compresses a layer while it is sent.
fn send_layer(
    remote: &mut Remote,
    store: &Store,
    layer: &Layer,
    listener: &mut dyn Listener,
) -> Result<Descriptor> {
    let what = format!("layer {}", layer.diff_id.short());
    let total = Some(layer.tar_bytes);
    let (digest, size) = send_blob(remote, &mut |out| {
        let mut gzip = Gzip::new(out, LEVEL)?;
        let progress = Progress::new(&mut *listener, &what, total);
        write_layer(store, layer, &mut Counted { out: &mut gzip, progress })?;
        gzip.finish()
    })
    .context(|| &what)?;
    Ok(Descriptor::new(OCI_LAYER_GZIP, digest, size))
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    progress: Progress<'a>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.progress.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Sends a blob, from its beginning each time. Gives what it was.
fn send_blob(remote: &mut Remote, fill: &mut Fill<'_>) -> Result<(Digest, u64)> {
    let mut tries = 0;
    loop {
        tries += 1;
        match send_once(remote, fill) {
            Ok(Ok(sent)) => return Ok(sent),
            // A token that has become too old: the next one is good for the same.
            Ok(Err(answer)) if tries < TRIES && remote.learns(&answer)? => {}
            Ok(Err(answer)) if tries < TRIES && is_busy(answer.status) => pause(tries, None)?,
            Ok(Err(answer)) => return Err(remote.refusal(&answer, "the upload")),
            Err(error) if tries < TRIES && is_passing(&error) => {
                log::info!("{error}");
                pause(tries, None)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Begins an upload, sends the bytes, and says what they are. The answer that ended it otherwise.
fn send_once(
    remote: &mut Remote,
    fill: &mut Fill<'_>,
) -> Result<std::result::Result<(Digest, u64), Response>> {
    let begun = remote.send(&Request::new("POST", remote.url("blobs/uploads/")?))?;
    if begun.status != 202 {
        return Ok(Err(begun));
    }
    let mut sent = None;
    let request =
        Request::new("PATCH", location(&begun)?).header("Content-Type", "application/octet-stream");
    let answer = remote.stream(&request, &mut |out| {
        let mut hashing = HashingWriter::new(out);
        fill(&mut hashing)?;
        sent = Some(hashing.finish());
        Ok(())
    })?;
    let (202 | 204, Some((digest, size))) = (answer.status, sent) else { return Ok(Err(answer)) };
    let url = location(&answer)?;
    let mark = if url.target.contains('?') { '&' } else { '?' };
    let target = format!("{}{mark}digest={}", url.target, encoded(&digest.to_string()));
    let ended = remote.send(&Request::new("PUT", Url { target, ..url }))?;
    match ended.status {
        201 | 204 => Ok(Ok((digest, size))),
        _ => Ok(Err(ended)),
    }
}

/// Where an upload goes on.
fn location(answer: &Response) -> Result<Url> {
    let location = answer.headers.get("location");
    let location = location.ok_or_else(|| Error::input("the registry does not say where to"))?;
    answer.url.join(location)
}

fn put_manifest(remote: &mut Remote, reference: &Reference, manifest: &[u8]) -> Result<()> {
    let own = Value::parse(manifest)?;
    let media_type = own.get("mediaType").and_then(Value::as_str).unwrap_or(OCI_MANIFEST);
    let url = remote.url(&format!("manifests/{}", reference.tag_or_latest()))?;
    let request = Request::new("PUT", url).with(media_type, manifest);
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = remote.send(&request);
        match answer {
            Ok(answer) if answer.status == 201 => return Ok(()),
            Ok(answer) if tries == TRIES || !is_busy(answer.status) => {
                return Err(remote.refusal(&answer, "the manifest"));
            }
            Err(error) if tries == TRIES || !is_passing(&error) => return Err(error),
            _ => pause(tries, None)?,
        }
    }
}
