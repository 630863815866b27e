//! An image from the store to a registry: the blobs that it has not, compressed while they are
//! sent, then the config, then the manifest (distribution-spec, "Push").

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use super::credentials;
use super::known::Known;
use super::remote::{Access, Remote, is_busy, is_passing, pause};
use super::upload;
use crate::archive::{image_manifest, write_layer};
use crate::error::{Context, Error, Kind, Result};
use crate::event::{Event, Listener};
use crate::http::{Request, encoded};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::image::digest::{DiffId, Digest, ImageId};
use crate::image::json::Value;
use crate::image::reference::Reference;
use crate::layer::compress::{Blocks, Helpers};
use crate::store::{Layer, Publication, Scratch, Store};
use crate::sys::flow::Outflow;
use crate::sys::kernel::processors;

/// How often a manifest is sent before it is given up.
const TRIES: u32 = 5;
/// How many layers go up at once.
const AT_ONCE: usize = 3;
/// How many threads help them with compressing, where there are so many processors.
const MOST_HELPERS: usize = 3;
/// How often it is told how far they are.
const SLICE: Duration = Duration::from_millis(50);
/// And after how many bytes.
const STEP_BYTES: u64 = 4 << 20;
const STACK: usize = 1 << 20;

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
    access: &Access,
    listener: &mut dyn Listener,
) -> Result<Pushed> {
    if let Some(text) = credentials::exposed() {
        listener.event(&Event::Warning { text: &text });
    }
    let text = store.config_text(image)?;
    let text = text.ok_or_else(|| Error::not_found(format!("no image {}", image.short())))?;
    let config = ImageConfig::parse(&text)?;
    let remote = Remote::open(reference, access, "pull,push")?;
    let known = Known::of(store, image, &config.diff_ids)?;
    let mut layers = Vec::new();
    for (diff_id, chain) in config.diff_ids.iter().zip(config.chains()) {
        let layer = store.needed_layer(&chain)?;
        if let Some(name) = &layer.name {
            scratch.uses(name)?;
        }
        // The same tar twice in an image is one blob.
        let is_new = !layers.iter().any(|known: &Layer| known.diff_id == *diff_id);
        if is_new {
            layers.push(layer);
        }
    }
    let work = Work::new(&remote, reference, &known, store, layers);
    let sent = work.run(listener)?;
    let of = |diff_id: &DiffId| sent.iter().find(|(known, ..)| known == diff_id);
    let of_image = || config.diff_ids.iter().filter_map(of);
    let layers: Vec<_> = of_image().map(|(_, descriptor, _)| descriptor.clone()).collect();
    let said = of_image().map(|(diff_id, _, sent)| (*diff_id, sent.clone())).collect();
    let own = Descriptor::new(OCI_CONFIG, *image, text.len() as u64);
    send_small(&remote, &text)?;
    let manifest = same(&known, &layers).unwrap_or_else(|| image_manifest(&own, &layers, None));
    put_manifest(&remote, reference.tag_or_latest(), &manifest)?;
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
    remote: &Remote,
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

/// Sends a blob that is at hand, unless it is there.
pub(super) fn send_small(remote: &Remote, text: &[u8]) -> Result<Digest> {
    let digest = Digest::of(text);
    if !has(remote, &digest)? {
        upload::send(remote, &mut |out| Ok(out.write_all(text)?))?;
    }
    Ok(digest)
}

fn has(remote: &Remote, digest: &Digest) -> Result<bool> {
    let url = remote.url(&format!("blobs/{digest}"))?;
    let answer = remote.send(&Request::new("HEAD", url))?;
    match answer.status {
        200 => Ok(true),
        404 => Ok(false),
        _ => Err(remote.refusal(&answer, "the blob")),
    }
}

/// What became of a layer, and as which blob.
pub(super) type Done = (DiffId, Descriptor, Sent);

/// Layers that go up side by side.
pub(super) struct Work<'a> {
    remote: &'a Remote,
    reference: &'a Reference,
    known: &'a Known,
    store: &'a Store,
    layers: Vec<Layer>,
    /// The next one that nobody has begun, and how many are done.
    next: AtomicUsize,
    ended: AtomicUsize,
    /// Bytes of each one's tar that were sent.
    moved: Vec<AtomicU64>,
    done: Mutex<Vec<Done>>,
    failed: Mutex<Option<Error>>,
    is_over: AtomicBool,
    helpers: Helpers,
    /// Who waits for the end.
    caller: Thread,
}

impl<'a> Work<'a> {
    /// Nothing done yet. Each tar is there once.
    pub fn new(
        remote: &'a Remote,
        reference: &'a Reference,
        known: &'a Known,
        store: &'a Store,
        layers: Vec<Layer>,
    ) -> Work<'a> {
        Work {
            remote,
            reference,
            known,
            store,
            moved: layers.iter().map(|_| AtomicU64::new(0)).collect(),
            layers,
            next: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            done: Mutex::default(),
            failed: Mutex::default(),
            is_over: AtomicBool::new(false),
            helpers: Helpers::default(),
            caller: std::thread::current(),
        }
    }

    /// Does all of it. With the first error nothing more is sent.
    pub fn run(self, listener: &mut dyn Listener) -> Result<Vec<Done>> {
        let workers = self.layers.len().min(AT_ONCE);
        let helpers = (processors() - 1).min(MOST_HELPERS);
        let own = &self;
        std::thread::scope(|scope| {
            let start = |count, work: fn(&Self)| {
                (0..count).try_for_each(|_| {
                    let builder = std::thread::Builder::new().stack_size(STACK);
                    builder.spawn_scoped(scope, move || work(own)).map(drop)
                })
            };
            let started = start(workers, Self::work).context(|| "start a thread");
            if started.is_err() {
                self.is_over.store(true, Ordering::Relaxed);
            }
            // Without help it takes longer, and becomes the same.
            if let Err(error) = start(helpers, |work| work.helpers.help()) {
                log::info!("one thread less: {error}");
            }
            let mut told = vec![0; self.layers.len()];
            while started.is_ok() && self.ended.load(Ordering::Acquire) < workers {
                std::thread::park_timeout(SLICE);
                self.tell(&mut told, listener);
            }
            self.helpers.end();
            started
        })?;
        let held = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        held.map_or(Ok(()), Err)?;
        Ok(self.done.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, told: &mut [u64], listener: &mut dyn Listener) {
        for ((layer, moved), told) in self.layers.iter().zip(&self.moved).zip(told) {
            let done_bytes = moved.load(Ordering::Relaxed);
            if done_bytes / STEP_BYTES != *told / STEP_BYTES {
                *told = done_bytes;
                let what = format!("layer {}", layer.diff_id.short());
                let total_bytes = Some(layer.tar_bytes);
                listener.event(&Event::Moved { what: &what, done_bytes, total_bytes });
            }
        }
    }

    /// What one thread does.
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(moved)) = (self.layers.get(index), self.moved.get(index)) else {
                break;
            };
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let sent = self.layer(layer, moved);
            match sent.context(|| format!("layer {}", layer.diff_id.short())) {
                Ok(done) => self.done.lock().unwrap_or_else(PoisonError::into_inner).push(done),
                Err(error) => {
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert(error);
                    self.is_over.store(true, Ordering::Relaxed);
                }
            }
        }
        self.ended.fetch_add(1, Ordering::Release);
        self.caller.unpark();
    }

    /// Finds a layer there, or packs and compresses it while it is sent.
    fn layer(&self, layer: &Layer, moved: &AtomicU64) -> Result<Done> {
        let diff_id = layer.diff_id;
        if let Some((blob, sent)) = there(self.remote, self.reference, self.known, &diff_id)? {
            return Ok((diff_id, blob, sent));
        }
        let (digest, size) = upload::send(self.remote, &mut |out| {
            moved.store(0, Ordering::Relaxed);
            let mut gzip = Blocks::new(out, &self.helpers)?;
            let mut out = Counted { out: &mut gzip, moved, is_over: &self.is_over };
            write_layer(self.store, layer, &mut out)?;
            gzip.finish()
        })?;
        Ok((diff_id, Descriptor::new(OCI_LAYER_GZIP, digest, size), Sent::Pushed))
    }
}

struct Counted<'a> {
    out: &'a mut dyn Outflow,
    moved: &'a AtomicU64,
    is_over: &'a AtomicBool,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over.load(Ordering::Relaxed) {
            // Whoever reads this has failed for another reason.
            return Err(Error::new(Kind::Denied, "another layer has failed").into());
        }
        let count = self.out.write(bytes)?;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Sends a manifest under a tag or its digest.
pub(super) fn put_manifest(remote: &Remote, word: &str, manifest: &[u8]) -> Result<()> {
    let own = Value::parse(manifest)?;
    let media_type = own.get("mediaType").and_then(Value::as_str).unwrap_or(OCI_MANIFEST);
    let url = remote.url(&format!("manifests/{word}"))?;
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
