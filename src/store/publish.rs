//! Making finished things visible: all data on the medium first, then each name, in the order in
//! which names point at each other: layers, chains, images, cache records, references.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::layers::EMPTY;
use super::{CacheKey, Layer, Record, Scratch, Store, Workspace, manifests, refs};
use crate::error::{Context, Error, Result};
use crate::image::config::ImageConfig;
use crate::image::digest::{ChainId, Digest, ImageId};
use crate::image::reference::Reference;
use crate::sys::fs::{random_name, write_all, write_new};

/// A layer that is finished in a workspace: `diff/`, perhaps `tar` and `kept/`, and nothing else
/// that should stay. No workspace means a layer without entries.
pub struct NewLayer {
    /// Where it lies now.
    pub workspace: Option<Workspace>,
    /// What it is; the name is given when it is published.
    pub layer: Layer,
    /// How many entries its tar has.
    pub entries: u64,
    /// Its name in the store, once an attempt to publish it has begun.
    pub name: Option<String>,
}

/// An image's config to be stored.
pub struct NewImage {
    /// The config, byte for byte.
    pub text: Vec<u8>,
    /// It is an image; otherwise a step on the way to one.
    pub is_final: bool,
}

/// A cache record to be stored.
pub struct NewRecord {
    /// Under which key.
    pub key: CacheKey,
    /// What.
    pub record: Record,
}

/// Things to be made visible together. Several steps' things may be gathered in one.
#[derive(Default)]
pub struct Publication {
    /// Layers, lower ones first.
    pub layers: Vec<NewLayer>,
    /// Images.
    pub images: Vec<NewImage>,
    /// Cache records.
    pub records: Vec<NewRecord>,
    /// Manifests, byte for byte.
    pub manifests: Vec<Vec<u8>>,
    /// Names.
    pub names: Vec<(Reference, ImageId)>,
}

impl Publication {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
            && self.images.is_empty()
            && self.records.is_empty()
            && self.manifests.is_empty()
            && self.names.is_empty()
    }
}

/// A file that is written in the scratch and will be renamed into the store.
struct Pending {
    from: String,
    dir: String,
    name: String,
    /// It has become visible by this.
    is_shown: Cell<bool>,
}

/// All such files of one publication, by the order in which they become visible.
#[derive(Default)]
struct Staged {
    chains: Vec<Pending>,
    images: Vec<Pending>,
    records: Vec<Pending>,
    manifests: Vec<Pending>,
    names: Vec<Pending>,
}

impl Staged {
    /// Removes those that are still in the scratch.
    fn discard(&self, scratch: &Scratch) {
        let Staged { chains, images, records, manifests, names } = self;
        for file in [chains, images, records, manifests, names].into_iter().flatten() {
            // One that was renamed is not there; another goes with the scratch at the latest.
            let _ = rustix::fs::unlinkat(scratch.dir(), &file.from, AtFlags::empty());
        }
    }
}

impl Store {
    /// Makes everything visible. When this returns it is on the medium; when it fails or the
    /// power does, each name that is visible points at whole data. After a failure, for want of
    /// space perhaps, it may be tried again.
    pub fn publish(&self, scratch: &Scratch, publication: &mut Publication) -> Result<()> {
        if publication.is_empty() {
            return Ok(());
        }
        // Each of them is a file, perhaps in a directory of its own.
        let Publication { layers, images, records, manifests, names } = &*publication;
        let images = images.len() + manifests.len();
        let files = 2 * layers.len() + images + 2 * records.len() + 2 * names.len();
        self.room(4096 * files as u64)?;
        let mut staged = Staged::default();
        let published = self.publish_staged(scratch, publication, &mut staged);
        if published.is_err() {
            scratch.has_failed();
            // The next attempt writes them anew, and a full disk needs their room.
            staged.discard(scratch);
        }
        published
    }

    fn publish_staged(
        &self,
        scratch: &Scratch,
        publication: &mut Publication,
        staged: &mut Staged,
    ) -> Result<()> {
        let Staged { chains, images, records, manifests, names } = staged;
        let mut layers = Vec::new();
        for new in &mut publication.layers {
            // Also by its chain: another process may have made the same layer before.
            scratch.uses(&new.layer.chain.hex())?;
            // It has been made again; this one goes with the scratch.
            if self.place_below(&new.layer.chain).is_some() {
                continue;
            }
            let content = match (&new.workspace, &new.name) {
                (None, _) => EMPTY.to_owned(),
                (Some(workspace), known) => {
                    let name = match known {
                        Some(name) => name.clone(),
                        None => random_name()?,
                    };
                    let meta = new.layer.meta(new.entries);
                    write_again(workspace.dir.as_fd(), "meta", meta.as_bytes())?;
                    scratch.uses(&name)?;
                    layers.push((workspace.name.clone(), name.clone(), new.layer.chain));
                    new.name = Some(name.clone());
                    name
                }
            };
            let text = format!("{content}\n");
            stage(scratch, chains, "chains", &new.layer.chain.hex(), text)?;
        }
        let (mut needed, mut seen) = (Vec::new(), BTreeSet::new());
        for new in &publication.images {
            let id = Digest::of(&new.text);
            let dir = if new.is_final { "images" } else { "steps" };
            needed.push(ImageConfig::parse(&new.text)?);
            stage(scratch, images, dir, &id.hex(), &new.text)?;
        }
        // Where the layers lie that they stand on, if that is not here.
        for config in &needed {
            for chain in config.chains() {
                if let Some(place) = self.place_below(&chain)
                    && seen.insert(chain)
                    && !self.has_own_chain(&chain)
                {
                    stage(scratch, chains, "chains", &chain.hex(), format!("{place}\n"))?;
                }
            }
        }
        for new in &publication.records {
            let (dir, name) = new.key.path();
            stage(scratch, records, &dir, &name, new.record.to_text())?;
        }
        for text in &publication.manifests {
            stage(scratch, manifests, manifests::FOLDER, &Digest::of(text).hex(), text)?;
        }
        for (reference, image) in &publication.names {
            let (dir, name) = (refs::folder(reference), refs::file(reference));
            stage(scratch, names, &dir, &name, format!("{image}\n"))?;
        }
        rustix::fs::syncfs(self.fd()).context(|| "sync the store")?;

        let _lock = self.lock()?;
        // The same layer may have been made before: then that one stays and this one goes with the
        // scratch. A record that leads to no layer is replaced.
        chains.retain(|file| {
            let chain = Digest::parse_hex(&file.name);
            let is_there = chain.is_some_and(|chain| matches!(self.own_layer(&chain), Ok(Some(_))));
            layers.retain(|(_, _, new)| !is_there || Some(*new) != chain);
            !is_there
        });
        for (from, name, _) in &layers {
            let to = format!("layers/{name}");
            match rustix::fs::renameat(scratch.dir(), from, self.fd(), &to) {
                Ok(()) => {}
                // The attempt before this one has come so far.
                Err(Errno::NOENT) if is_there(self.fd(), &to) => {}
                Err(other) => return Err(other).context(|| format!("publish {to}")),
            }
        }
        if !layers.is_empty() {
            self.sync_dir("layers")?;
        }
        self.reveal(scratch, chains, true)?;
        let mut seen = BTreeSet::new();
        for config in &needed {
            self.whole(config, &mut seen)?;
        }
        let shown = self
            .reveal(scratch, images, false)
            .and_then(|()| self.reveal(scratch, records, true))
            .and_then(|()| self.reveal(scratch, manifests, true))
            .and_then(|()| self.reveal(scratch, names, true));
        if shown.is_err() {
            self.take_back(publication, staged);
        }
        shown
    }

    /// Takes back images and steps that have become visible without what was to lead to them:
    /// nobody would find them, and their layers stayed for them.
    fn take_back(&self, publication: &Publication, staged: &Staged) {
        let records = publication.records.iter().zip(&staged.records);
        let shown = |file: &Pending| file.is_shown.get();
        let steps: Vec<ImageId> =
            records.filter(|(_, file)| shown(file)).map(|(new, _)| new.record.image).collect();
        let names = publication.names.iter().zip(&staged.names);
        let images: Vec<ImageId> =
            names.filter(|(_, file)| shown(file)).map(|((_, image), _)| *image).collect();
        for file in staged.images.iter().filter(|file| shown(file)) {
            let led_to = if file.dir == "images" { &images } else { &steps };
            if Digest::parse_hex(&file.name).is_some_and(|id| !led_to.contains(&id)) {
                // What cannot be taken back is whole, and in nobody's way.
                let _ = self.unlink(&format!("{}/{}", file.dir, file.name));
            }
        }
    }

    /// Names an image that is there. Durable when it returns.
    pub fn name(&self, scratch: &Scratch, reference: &Reference, image: ImageId) -> Result<()> {
        let names = vec![(reference.clone(), image)];
        self.publish(scratch, &mut Publication { names, ..Publication::default() })
    }

    /// Renames files to their places. An image or a step that is there already has the same
    /// meaning and stays; all else is replaced.
    fn reveal(&self, scratch: &Scratch, files: &[Pending], replace: bool) -> Result<()> {
        let mut dirs: Vec<&str> = Vec::new();
        let mut parents: Vec<&str> = Vec::new();
        for file in files {
            let to = format!("{}/{}", file.dir, file.name);
            let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            loop {
                match rustix::fs::renameat_with(scratch.dir(), &file.from, self.fd(), &to, flags) {
                    Ok(()) => {
                        file.is_shown.set(true);
                        break;
                    }
                    Err(Errno::EXIST) => break,
                    Err(Errno::NOENT) => {
                        self.make_parent(&file.dir)?;
                        let parent = file.dir.split('/').next().unwrap_or(&file.dir);
                        if !parents.contains(&parent) {
                            parents.push(parent);
                        }
                    }
                    // A file system or a kernel without RENAME_NOREPLACE; the lock is held.
                    Err(Errno::INVAL | Errno::NOSYS) if !replace => {
                        rustix::fs::renameat(scratch.dir(), &file.from, self.fd(), &to)
                            .context(|| format!("publish {to}"))?;
                        file.is_shown.set(true);
                        break;
                    }
                    Err(other) => return Err(other).context(|| format!("publish {to}")),
                }
            }
            if !dirs.contains(&file.dir.as_str()) {
                dirs.push(&file.dir);
            }
        }
        // On the medium before anything that points at it. Each fsync flushes the disk's cache once
        // more; for many directories one sync of all is less.
        dirs.extend(parents);
        if dirs.len() > 4 {
            return rustix::fs::syncfs(self.fd()).context(|| "sync the store");
        }
        for dir in dirs {
            self.sync_dir(dir)?;
        }
        Ok(())
    }

    fn make_parent(&self, dir: &str) -> Result<()> {
        match rustix::fs::mkdirat(self.fd(), dir, Mode::from_raw_mode(0o700)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                Err(Error::corrupt(format!("{dir} in the store is not a directory")))
            }
            Err(other) => Err(other).context(|| format!("mkdir {dir} in the store")),
        }
    }

    /// An image is only named when all its layers are there: another process may have removed
    /// one since this one looked.
    fn whole(&self, config: &ImageConfig, seen: &mut BTreeSet<ChainId>) -> Result<()> {
        let mut chains = config.chains().into_iter();
        match chains.find(|chain| seen.insert(*chain) && !self.has_chain(chain)) {
            None => Ok(()),
            Some(chain) => Err(Error::not_found(format!(
                "the layers up to {} were removed by another command meanwhile",
                chain.short()
            ))
            .hint("run it again")),
        }
    }
}

fn is_there(at: BorrowedFd<'_>, path: &str) -> bool {
    rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Writes a file that an earlier attempt may have begun.
fn write_again(at: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o600))
        .context(|| format!("create {name:?}"))?;
    write_all(file.as_fd(), bytes).context(|| format!("write {name:?}"))
}

fn stage(
    scratch: &Scratch,
    staged: &mut Vec<Pending>,
    dir: &str,
    name: &str,
    text: impl AsRef<[u8]>,
) -> Result<()> {
    let from = random_name()?;
    // Noted before it is written: what a full disk lets begin is removed too.
    let pending = Pending {
        from: from.clone(),
        dir: dir.to_owned(),
        name: name.to_owned(),
        is_shown: Cell::new(false),
    };
    staged.push(pending);
    write_new(scratch.dir(), &from, text.as_ref()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_that_fails_leaves_nothing_staged() {
        let path = std::env::temp_dir().join(format!("lath-publish-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let store = Store::open(&path).unwrap();
        let scratch = store.scratch().unwrap();
        // Its layer is not there, so it must not become visible.
        let image = ImageConfig { diff_ids: vec![Digest::of(b"gone")], ..ImageConfig::default() };
        let text = image.to_text().into_bytes();
        let id = Digest::of(&text);
        let mut publication = Publication::default();
        publication.images.push(NewImage { text, is_final: true });
        publication.names.push((Reference::parse("a").unwrap(), id));
        store.publish(&scratch, &mut publication).unwrap_err();
        assert!(!store.has_image(&id));
        let tmp = std::fs::read_dir(path.join("tmp")).unwrap().next().unwrap().unwrap().path();
        let left = std::fs::read_dir(tmp).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["uses"]);
        let _ = std::fs::remove_dir_all(&path);
    }
}
