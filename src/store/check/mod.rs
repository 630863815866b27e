//! `fsck`: whether every file under the root is what it should be, and has an owner at all.
//!
//! From below to above: layers, chains, images, records, names, then what only spares work. What
//! needs something bad is bad itself, so the faults in the opposite order are what is to be taken
//! away first (`repair`). No lock is held for long: what looks bad is looked at again under the
//! lock, since others may work on the store meanwhile.

mod aids;
mod containers;
mod objects;
mod repair;
mod source;

pub use source::Source;

use std::collections::BTreeSet;
use std::fs::File;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::lock::Lock;
use super::{DIRECTORIES, Layer, Store, is_dir};
use crate::error::{Context, Kind, Result};
use crate::image::digest::{ChainId, ImageId};
use crate::image::reference::Reference;
use crate::sys::fs::read_bounded;
use crate::sys::signal;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What: a path under the root.
    pub object: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// How it goes away.
    pub remedy: Remedy,
}

/// What mends a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is taken away, and nothing is lost that a command would not make again.
    Remove,
    /// It is taken away, unless an archive or a registry has what is missing.
    Lose(Lost),
    /// It is written anew, with this text.
    Write(String),
    /// The directory is made.
    Make,
    /// It is taken away, and that is no loss: it only spares work, and a power cut may tear it.
    Forget,
    /// Somebody must decide: by this command it is taken away.
    Command(String),
    /// The store of this path is named in `LATH_STORES`: nothing is wrong here.
    Name(String),
}

impl Fault {
    /// Whether nothing is wrong with what images are made of.
    pub fn is_note(&self) -> bool {
        matches!(self.remedy, Remedy::Forget | Remedy::Name(_))
    }
}

/// What may be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A chain, and the layer that is its top.
    Layer(Option<ChainId>),
    /// An image or a step.
    Image(ImageId),
    /// A name.
    Name(Reference),
}

/// What a check has found.
#[derive(Default)]
pub struct Checked {
    /// From below to above.
    pub faults: Vec<Fault>,
    /// Chains whose layers are not whole or not there.
    pub bad_chains: BTreeSet<ChainId>,
    /// Layers whose content is not what it was.
    pub bad_layers: BTreeSet<String>,
    /// Images, steps included, that cannot be used.
    pub bad_images: BTreeSet<ImageId>,
    /// What there is that is whole.
    pub counts: Counts,
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chains, each with its layer.
    pub layers: usize,
    /// Images.
    pub images: usize,
    /// Images of steps.
    pub steps: usize,
    /// Cache records.
    pub records: usize,
}

/// Holds the content of a layer against its digests: what was expected and what was found, if
/// that is another.
pub type Content<'a> = dyn FnMut(&Layer) -> Result<Option<(String, String)>> + 'a;

/// Names in the root that are no directory of each store's.
const OTHERS: [&str; 16] = [
    "VERSION",
    "lock",
    "mounts",
    super::context::FOLDER,
    "contents",
    "urls",
    "mountpoints",
    super::manifests::FOLDER,
    "partial",
    "lists",
    "containers",
    "volumes",
    "networks",
    // What the user says of registries, and of networks.
    "registries",
    "network",
    // Of a file system that is the store's own.
    "lost+found",
];

/// What is written of a file that cannot be read.
type Unreadable = String;

struct Check<'a> {
    store: &'a Store,
    done: Checked,
    /// The lock of the store, where it is held all the time.
    lock: Option<&'a Lock>,
    /// Layers with a fault that is told already.
    told_layers: BTreeSet<String>,
    /// Chains that are not in their place and that a layer claims to be, or a store below has.
    claimed: BTreeSet<ChainId>,
    /// Chains whose layers lie in read-only stores that are not there now, and those stores.
    away: (BTreeSet<ChainId>, BTreeSet<String>),
}

impl Store {
    /// Checks everything. `content` looks into layers; `mountpoints` are the directories and the
    /// files that belong into the folder of that name.
    pub fn check(
        &self,
        content: &mut Content<'_>,
        mountpoints: (&[&str], &[&str]),
    ) -> Result<Checked> {
        self.check_as(content, mountpoints, None)
    }

    fn check_as(
        &self,
        content: &mut Content<'_>,
        mountpoints: (&[&str], &[&str]),
        lock: Option<&Lock>,
    ) -> Result<Checked> {
        let mut check = Check {
            store: self,
            done: Checked::default(),
            lock,
            told_layers: BTreeSet::new(),
            claimed: BTreeSet::new(),
            away: Default::default(),
        };
        check.root()?;
        check.chains(content)?;
        check.images("images", content)?;
        check.images("steps", content)?;
        // Last of these: a chain without its record is only seen where an image needs it.
        check.layers()?;
        check.records()?;
        check.names()?;
        check.containers()?;
        check.volumes()?;
        #[cfg(feature = "bridge")]
        check.networks()?;
        check.aids(mountpoints)?;
        Ok(check.done)
    }
}

impl Check<'_> {
    /// Looks, and looks again under the lock before it says that something is wrong.
    fn look(&mut self, look: &mut dyn FnMut(&Store) -> Result<Option<Fault>>) -> Result<bool> {
        signal::check()?;
        if look(self.store)?.is_none() {
            return Ok(false);
        }
        // A store that cannot be written to has no lock, and nobody who changes it.
        let _lock = if self.lock.is_none() { self.store.lock().ok() } else { None };
        let found = look(self.store)?;
        let is_bad = found.is_some();
        self.done.faults.extend(found);
        Ok(is_bad)
    }

    /// Something without an owner, if it is still there.
    fn stray(&mut self, path: &str) -> Result<bool> {
        let found = "something that is not lath's";
        self.look(&mut |store| Ok(store.exists(path)?.then(|| fault(path, "nothing", found))))
    }

    fn root(&mut self) -> Result<()> {
        for name in DIRECTORIES {
            self.look(&mut |store| {
                let is_bad = !is_dir(store.fd(), name);
                let fault = || fault(name, "a directory", "none");
                Ok(is_bad.then(|| Fault { remedy: Remedy::Make, ..fault() }))
            })?;
        }
        self.look(&mut |store| {
            let fault = || fault("VERSION", "the store's format", "something else");
            let remedy = Remedy::Write(super::version::text(store.marks_by_name));
            Ok((!store.has_whole_version()?).then(|| Fault { remedy, ..fault() }))
        })?;
        let mut strays = Vec::new();
        self.store.entries(".", &mut |name, _| {
            if !DIRECTORIES.contains(&name) && !OTHERS.contains(&name) {
                strays.push(name.to_owned());
            }
            Ok(())
        })?;
        for stray in strays {
            self.stray(&stray)?;
        }
        Ok(())
    }

    /// Each name in a directory, told from strays by a rule.
    fn each(
        &mut self,
        dir: &str,
        belongs: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(&mut Self, &str) -> Result<()>,
    ) -> Result<()> {
        let store = self.store;
        store.entries(dir, &mut |name, _| match belongs(name) {
            true => each(self, name),
            false => self.stray(&format!("{dir}/{name}")).map(drop),
        })
    }
}

impl Store {
    /// All names in a directory, dot files too, with their kinds; none when there is no directory.
    fn entries(&self, dir: &str, each: &mut dyn FnMut(&str, FileType) -> Result<()>) -> Result<()> {
        let says = || format!("read {dir:?} in the store");
        let flags = super::DIRECTORY | OFlags::NOFOLLOW;
        let fd = match rustix::fs::openat(self.fd(), dir, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => other.context(says)?,
        };
        for entry in rustix::fs::Dir::new(fd).context(says)? {
            let entry = entry.context(says)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                each(&name, entry.file_type())?;
            }
        }
        Ok(())
    }

    fn exists(&self, path: &str) -> Result<bool> {
        match rustix::fs::statat(self.fd(), path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(other) => Err(other).context(|| format!("stat {path:?} in the store")),
        }
    }

    /// Opens a regular file. What the medium no longer gives is the file's fault, what this
    /// machine lacks is not.
    fn open_plain(&self, path: &str) -> Result<std::result::Result<File, Unreadable>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(self.fd(), path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Err("nothing".into())),
            Err(errno) if is_damage(errno) => return Ok(Err("a file that cannot be read".into())),
            Err(other) => return Err(other).context(|| format!("open {path:?} in the store")),
        };
        match file.metadata()?.is_file() {
            true => Ok(Ok(file)),
            false => Ok(Err("no file".into())),
        }
    }

    /// The text of a small file.
    fn plain(&self, path: &str, limit: usize) -> Result<std::result::Result<Vec<u8>, Unreadable>> {
        let file = match self.open_plain(path)? {
            Ok(file) => file,
            Err(found) => return Ok(Err(found)),
        };
        let length = file.metadata()?.len();
        if length > limit as u64 {
            return Ok(Err(format!("{length} bytes")));
        }
        let mut probe = [0];
        match rustix::io::pread(&file, &mut probe, 0) {
            Err(errno) if is_damage(errno) => return Ok(Err("a file that cannot be read".into())),
            _ => {}
        }
        match read_bounded(&file, limit) {
            Ok(text) => Ok(Ok(text)),
            Err(error) if error.kind() == Kind::Input => Ok(Err(error.text().to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// What is wrong with a file itself, and not with this machine.
fn is_damage(errno: Errno) -> bool {
    // EUCLEAN and EBADMSG are what file systems say of their own checksums.
    [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::LOOP, Errno::ISDIR, Errno::NXIO]
        .contains(&errno)
}

fn fault(object: &str, expected: &str, found: &str) -> Fault {
    Fault {
        object: object.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        remedy: Remedy::Remove,
    }
}
