//! Taking images away: the name, the image, the cached steps that only led to it, their layers.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{Freed, Name, Store};
use crate::error::{Context, Error, Kind, Result};
use crate::image::digest::ImageId;
use crate::image::reference::Reference;

/// What a removal took away, in the order in which it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Names.
    pub untagged: Vec<Reference>,
    /// Images and steps.
    pub deleted: Vec<ImageId>,
    /// Layers.
    pub freed: Freed,
}

/// That something lies where nothing is written.
fn read_only(what: &str) -> Error {
    Error::new(Kind::Conflict, format!("{what} is in a read-only store, one of LATH_STORES"))
        .hint("it cannot be removed; lath tag gives its name to another image")
}

impl Store {
    /// Takes a name away, and the image with its steps and layers when that was its last name.
    pub fn remove_name(&self, reference: &Reference) -> Result<Removal> {
        self.remove_by(&mut || self.remove_name_locked(reference))
    }

    fn remove_name_locked(&self, reference: &Reference) -> Result<Removal> {
        let mut removal = Removal::default();
        let Some(image) = self.own_named(reference)? else {
            return match self.named(reference)? {
                Some(_) => Err(read_only(&reference.to_string())),
                None => Ok(removal),
            };
        };
        if self.unname(reference)? {
            removal.untagged.push(reference.clone());
        }
        let is_here =
            |name: &Name| name.image == image && name.reference.is_same_repository(reference);
        // What the registry calls it goes with its last tag there.
        if !self.own_names()?.iter().any(is_here) {
            for name in self.own_digests()?.into_iter().filter(is_here) {
                self.unname(&name.reference)?;
                removal.untagged.push(name.reference);
            }
        }
        if !self.own_names()?.iter().any(|name| name.image == image) {
            self.remove_image_locked(image, &mut removal)?;
            removal.freed = self.collect(false)?;
        }
        self.sync_dir("refs")?;
        Ok(removal)
    }

    /// Takes an image away with all its names, its steps and its layers. No free space is needed.
    pub fn remove_image(&self, image: ImageId) -> Result<Removal> {
        if self.is_known_below(&image) && !self.has_own_config(&image) {
            return Err(read_only(&image.to_string()));
        }
        self.remove_by(&mut || self.remove_all(&[image], None))
    }

    /// The same for several that nobody has asked for by name: those stay that a process uses, and
    /// those that have got a name meanwhile, unless `all`. Says what they took on the disk.
    pub fn prune_images(&self, images: &[ImageId], all: bool) -> Result<Removal> {
        self.remove_by(&mut || self.remove_all(images, Some(all)))
    }

    fn remove_all(&self, images: &[ImageId], prune: Option<bool>) -> Result<Removal> {
        let mut removal = Removal::default();
        let leased = if prune.is_some() { self.leased()? } else { BTreeSet::new() };
        let names = self.own_names()?;
        for image in images.iter().filter(|image| !leased.contains(&image.hex())) {
            let mut own = names.iter().filter(|name| name.image == *image).peekable();
            if prune == Some(false) && own.peek().is_some() {
                continue;
            }
            for name in own {
                self.unname(&name.reference)?;
                removal.untagged.push(name.reference.clone());
            }
            // A name must not be left that points at nothing.
            self.sync_dir("refs")?;
            self.remove_image_locked(*image, &mut removal)?;
        }
        removal.freed = self.collect(prune.is_some())?;
        Ok(removal)
    }

    fn remove_image_locked(&self, image: ImageId, removal: &mut Removal) -> Result<()> {
        // What it was called by registries goes with its last name.
        for name in self.own_digests()?.into_iter().filter(|name| name.image == image) {
            self.unname(&name.reference)?;
            removal.untagged.push(name.reference);
        }
        self.sync_dir("refs")?;
        let is_gone = self.unlink(&format!("images/{}", image.hex()))?;
        // It stays below, and with it what was made of it here.
        if self.is_known_below(&image) {
            return Ok(());
        }
        if is_gone {
            removal.deleted.push(image);
        }
        self.remove_steps(image, removal)
    }

    /// The steps that were made from the image go when they led to no other image: builds that
    /// failed leave them, and no list shows them. Then, as docker does, those that led to it, up
    /// to one that is an image itself or that led to something else too.
    fn remove_steps(&self, image: ImageId, removal: &mut Removal) -> Result<()> {
        let mut parents: BTreeMap<ImageId, Option<ImageId>> = BTreeMap::new();
        let mut children: BTreeMap<ImageId, usize> = BTreeMap::new();
        self.each_record(true, &mut |_, record| {
            // A step that makes a layer has two records.
            let is_new = parents.insert(record.image, record.parent).is_none();
            if let Some(parent) = record.parent.filter(|_| is_new) {
                *children.entry(parent).or_default() += 1;
            }
            Ok(true)
        })?;
        let mut doomed = self.vain_steps(image, &parents)?;
        for step in &doomed {
            if let Some(Some(parent)) = parents.get(step)
                && let Some(count) = children.get_mut(parent)
            {
                *count = count.saturating_sub(1);
            }
        }
        let mut at = image;
        while !self.has_own_image(&at) && children.get(&at).copied().unwrap_or(0) == 0 {
            doomed.push(at);
            match parents.get(&at) {
                Some(Some(parent)) => {
                    let parent = *parent;
                    if let Some(count) = children.get_mut(&parent) {
                        *count = count.saturating_sub(1);
                    }
                    at = parent;
                }
                _ => break,
            }
        }
        let mut records = Vec::new();
        self.each_record(true, &mut |path, record| {
            if doomed.contains(&record.image) {
                records.push(path.to_owned());
            }
            Ok(true)
        })?;
        // The records first: one that is there promises that its image and layer are.
        for path in &records {
            self.unlink(path)?;
            self.drop_parent(path);
        }
        for step in doomed {
            if self.unlink(&format!("steps/{}", step.hex()))? && step != image {
                removal.deleted.push(step);
            }
        }
        Ok(())
    }

    /// Steps made from an image, directly or not, from which no image was made.
    fn vain_steps(
        &self,
        image: ImageId,
        parents: &BTreeMap<ImageId, Option<ImageId>>,
    ) -> Result<Vec<ImageId>> {
        let before = |id: &ImageId| parents.get(id).copied().flatten();
        let mut led_to_images = BTreeSet::new();
        for id in self.own_images()? {
            let mut at = Some(id);
            while let Some(id) = at.filter(|id| led_to_images.insert(*id)) {
                at = before(&id);
            }
        }
        let came_from_it = |step: &ImageId| {
            let mut at = before(step);
            // No longer than there are records, should they go in a circle.
            for _ in 0..parents.len() {
                match at {
                    Some(id) if id == image => return true,
                    Some(id) => at = before(&id),
                    None => break,
                }
            }
            false
        };
        let steps = parents.keys().filter(|step| !led_to_images.contains(step));
        Ok(steps.filter(|step| came_from_it(step)).copied().collect())
    }

    pub(super) fn unlink(&self, path: &str) -> Result<bool> {
        match rustix::fs::unlinkat(self.fd(), path, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(other) => Err(other).context(|| format!("remove {path} from the store")),
        }
    }
}
