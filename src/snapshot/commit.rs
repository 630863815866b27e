//! The committer: one thread that takes finished steps in order, makes their layers' digests and
//! publishes what has gathered with one sync. No running step waits for it; whoever needs a
//! step's image id waits for that step's digest alone, not for the medium.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{Next, Promise, Queue};

use crate::error::{Context, Error, Kind, Result};
use crate::image::config::{ContainerConfig, History, ImageConfig};
use crate::image::digest::{ChainId, DiffId, Digest, ImageId};
use crate::image::reference::Reference;
use crate::layer::{self, Form, verify::HashingWriter};
use crate::store::{
    CacheKey, Layer, NewImage, NewLayer, NewRecord, Publication, Record, Scratch, Store, Workspace,
};

/// An image so far.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its config.
    pub image: ImageConfig,
    /// Digest of the config.
    pub id: ImageId,
    /// The config of a base as it is stored, byte for byte; others are what `image` is written as.
    pub base: Option<Vec<u8>>,
    /// Its layers as one id; nothing for an image without layers.
    pub chain: Option<ChainId>,
    /// It is in the store: a base or a step. `FROM scratch` is not.
    pub is_stored: bool,
}

impl Done {
    /// An image that is complete.
    pub fn new(image: ImageConfig, is_stored: bool) -> Done {
        let chain = image.chains().pop();
        let id = Digest::of(image.to_text().as_bytes());
        Done { id, base: None, image, chain, is_stored }
    }

    /// The config's text.
    pub fn text(&self) -> Vec<u8> {
        self.base.clone().unwrap_or_else(|| self.image.to_text().into_bytes())
    }

    /// The image after one more step. `text` takes the config's text; given again and again it
    /// spares an allocation of its size a step.
    pub fn after(&self, step: &StepImage, diff: Option<DiffId>, text: &mut String) -> Done {
        let mut image = self.image.clone();
        image.config = step.config.clone();
        image.author = step.author.clone().or(image.author);
        image.created = Some(step.created.clone());
        image.history.push(Arc::new(History {
            created: Some(step.created.clone()),
            created_by: step.created_by.clone(),
            author: step.author.clone(),
            comment: None,
            empty_layer: diff.is_none(),
        }));
        let chain = diff.map(|diff| Digest::chain(self.chain.as_ref(), &diff)).or(self.chain);
        image.diff_ids.extend(diff);
        text.clear();
        image.write(text);
        Done { id: Digest::of(text.as_bytes()), base: None, image, chain, is_stored: true }
    }
}

/// What a step says of the image after it, besides its layer.
#[derive(Clone, Debug)]
pub struct StepImage {
    /// The config.
    pub config: ContainerConfig,
    /// The author, if the stage has named one.
    pub author: Option<String>,
    /// When the step ran, RFC 3339.
    pub created: String,
    /// The line of the history.
    pub created_by: String,
}

/// The promise of an image so far: known at once for a step from the cache, a moment later for
/// one that ran.
#[derive(Clone)]
pub struct Ticket(Promise<Arc<Done>>);

impl Ticket {
    /// One that is known already.
    pub fn known(done: Arc<Done>) -> Ticket {
        let ticket = Ticket(Promise::open());
        ticket.0.settle(Ok(done));
        ticket
    }

    /// Waits until it is known.
    pub fn wait(&self) -> Result<Arc<Done>> {
        self.0.wait()
    }
}

/// The cache keys of a step.
pub struct StepKeys {
    /// Its own.
    pub step: CacheKey,
    /// That of its layer, if it makes one.
    pub layer: Option<CacheKey>,
}

/// Makes a step's cache keys when the image before it is known.
pub type KeyMaker = Box<dyn Fn(&Done) -> StepKeys + Send>;

/// A step that is done.
pub struct Finished {
    /// The image before it.
    pub parent: Ticket,
    /// What the image after it says.
    pub step: StepImage,
    /// `Some(None)`: a layer without entries. `None`: no layer at all.
    pub layer: Option<Option<Workspace>>,
    /// A layer that is in the store already.
    pub known: Option<DiffId>,
    /// Makes the cache keys from the parent.
    pub keys: KeyMaker,
    /// The same in short, for `--explain`.
    pub brief: String,
}

enum Message {
    Step(Box<Finished>, Ticket),
    Publish(Box<Last>, Promise<()>),
}

/// The end of a build.
struct Last {
    image: Option<Arc<Done>>,
    names: Vec<Reference>,
}

/// Sends finished steps to the thread.
pub struct Committer {
    queue: Arc<Queue<Message>>,
    thread: JoinHandle<Result<()>>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(store: Arc<Store>, scratch: Arc<Scratch>) -> Result<Committer> {
        let queue = Arc::new(Queue::new());
        let incoming = queue.clone();
        let thread = std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(move || serve(&store, &scratch, &incoming))
            .context(|| "start the committer")?;
        Ok(Committer { queue, thread })
    }

    /// Waits until everything that was handed over is published.
    pub fn finish(self) -> Result<()> {
        self.queue.close();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(Kind::System, "the committer stopped unexpectedly")))
    }

    /// Hands a step over.
    pub fn step(&self, finished: Finished) -> Ticket {
        let ticket = Ticket(Promise::open());
        self.queue.push(Message::Step(Box::new(finished), ticket.clone()));
        ticket
    }

    /// Publishes all steps so far, the image and its names; everything is on the medium when it
    /// returns.
    pub fn publish(&self, image: Option<Arc<Done>>, names: Vec<Reference>) -> Result<()> {
        let published = Promise::open();
        let last = Box::new(Last { image, names });
        self.queue.push(Message::Publish(last, published.clone()));
        published.wait()
    }
}

/// How long the thread waits for more before it syncs what has gathered: a sync costs the running
/// step time on the same disk, and a power cut may cost the steps of this time.
const PATIENCE: Duration = Duration::from_millis(50);
/// After this time it syncs even when more keeps coming.
const LONGEST: Duration = Duration::from_secs(2);

fn serve(store: &Store, scratch: &Scratch, incoming: &Queue<Message>) -> Result<()> {
    let mut failed: Option<Error> = None;
    let mut gathered = Publication::default();
    let mut since = Instant::now();
    let mut text = String::new();
    let form = Form::new(store.marks_by_name());
    loop {
        let patience = PATIENCE.min(LONGEST.saturating_sub(since.elapsed()));
        let message = incoming.next((!gathered.is_empty()).then_some(patience));
        match message {
            Next::Message(Message::Step(finished, ticket)) => {
                if gathered.is_empty() {
                    since = Instant::now();
                }
                let result = match &failed {
                    Some(error) => Err(error.clone()),
                    None => gather(*finished, form, &mut gathered, &mut text),
                };
                if let Err(error) = &result {
                    failed.get_or_insert_with(|| error.clone());
                }
                ticket.0.settle(result.map(Arc::new));
            }
            Next::Message(Message::Publish(last, published)) => {
                if let Err(error) = gather_last(store, *last, &mut gathered) {
                    failed.get_or_insert(error);
                }
                flush(store, scratch, &mut gathered, &mut failed);
                published.settle(failed.clone().map_or(Ok(()), Err));
            }
            Next::Nothing => {
                flush_early(store, scratch, &mut gathered, &mut failed);
                // What a full disk has kept here waits as long again for room.
                since = Instant::now();
            }
            Next::Closed => break,
        }
    }
    flush(store, scratch, &mut gathered, &mut failed);
    failed.map_or(Ok(()), Err)
}

/// The image itself and its names, as far as they are not there yet.
fn gather_last(store: &Store, last: Last, gathered: &mut Publication) -> Result<()> {
    let Some(done) = last.image else { return Ok(()) };
    for name in last.names {
        if store.named(&name)? != Some(done.id) {
            gathered.names.push((name, done.id));
        }
    }
    // Also one that is there, with a name: it may be removed before that.
    if !gathered.names.is_empty() || !store.has_image(&done.id) {
        gathered.images.push(NewImage { text: done.text(), is_final: true });
    }
    Ok(())
}

fn flush(store: &Store, scratch: &Scratch, gathered: &mut Publication, failed: &mut Option<Error>) {
    if failed.is_some() || gathered.is_empty() {
        return;
    }
    match store.publish(scratch, gathered) {
        Ok(()) => *gathered = Publication::default(),
        Err(error) => *failed = Some(error),
    }
}

/// The same in between. A full disk may be the running step's doing, and when that has failed
/// there is room again: then what was done before it is not lost.
fn flush_early(
    store: &Store,
    scratch: &Scratch,
    gathered: &mut Publication,
    failed: &mut Option<Error>,
) {
    flush(store, scratch, gathered, failed);
    if failed.as_ref().is_some_and(|error| error.kind() == Kind::NoSpace) {
        *failed = None;
    }
}

/// The layer that a workspace holds, on top of others; without a workspace it has no entries.
pub fn new_layer(
    below: Option<&ChainId>,
    workspace: Option<Workspace>,
    form: Form,
) -> Result<NewLayer> {
    let mut nowhere = std::io::sink();
    let mut writer = HashingWriter::new(&mut nowhere);
    let packed = match &workspace {
        Some(workspace) => layer::pack(workspace.open_dir("diff")?.as_fd(), form, &mut writer)?,
        None => {
            writer.write_all(&[0; 1024])?;
            layer::Packed::default()
        }
    };
    let (diff_id, tar_bytes) = writer.finish();
    let layer = Layer {
        name: None,
        chain: Digest::chain(below, &diff_id),
        diff_id,
        size_bytes: packed.file_bytes,
        tar_bytes,
        tree: None,
    };
    Ok(NewLayer { workspace, layer, entries: packed.entries, name: None })
}

/// Makes the digests of one step and puts its things to those to be published.
fn gather(
    finished: Finished,
    form: Form,
    gathered: &mut Publication,
    text: &mut String,
) -> Result<Done> {
    let parent = finished.parent.wait()?;
    let mut diff = finished.known;
    if let Some(content) = finished.layer {
        let new =
            new_layer(parent.chain.as_ref(), content, form).context(|| "make the step's layer")?;
        diff = Some(new.layer.diff_id);
        gathered.layers.push(new);
    }
    let done = parent.after(&finished.step, diff, text);
    gathered.images.push(NewImage { text: text.as_bytes().to_vec(), is_final: false });
    let record = Record {
        created: finished.step.created,
        diff_id: diff,
        parent: parent.is_stored.then_some(parent.id),
        image: done.id,
        brief: finished.brief,
        is_layer: false,
    };
    let keys = (finished.keys)(&parent);
    gathered.records.push(NewRecord { key: keys.step, record: record.clone() });
    if let Some(key) = keys.layer {
        gathered.records.push(NewRecord { key, record: Record { is_layer: true, ..record } });
    }
    Ok(done)
}
