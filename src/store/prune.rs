//! Taking away what only spares work, the least recently used first, and images without a name.
//! Images with a name stay, and what living processes use.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FlockOperation};

use super::Store;
use crate::error::Result;
use crate::image::digest::ImageId;
use crate::sort::{sort, sort_by};
use crate::sys::fs::{open_dir, random_name, remove_tree};
use crate::sys::usage::usage;

/// What may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// So many bytes of it may stay.
    pub keep: u64,
    /// Only what was last used before that time, seconds since 1970.
    pub before: Option<i64>,
    /// Steps that led to an image stay.
    pub is_vain: bool,
    /// Images without a name go too.
    pub nameless: bool,
}

/// What went.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Images.
    pub images: Vec<ImageId>,
    /// What else: ids of steps, and paths in the store.
    pub cache: Vec<String>,
    /// What all that took on the disk.
    pub bytes: u64,
}

/// More steps on top of each other are a circle.
const MOST: usize = 10_000;

/// When something was used: seconds and nanoseconds.
type Time = (i64, i64);

/// A step, or an image.
struct Step {
    id: ImageId,
    parent: Option<ImageId>,
    records: Vec<String>,
    used: Time,
    /// How many steps led to it: of two that were used at once, the later one goes first.
    depth: usize,
    /// It led to an image, or is one.
    has_led: bool,
}

/// All of them, sorted by their ids.
struct Steps(Vec<Step>);

impl Steps {
    fn get(&mut self, id: &ImageId) -> Option<&mut Step> {
        let at = self.0.partition_point(|step| step.id < *id);
        self.0.get_mut(at).filter(|step| step.id == *id)
    }
}

/// Something that may go.
enum Item {
    /// With its records.
    Step(ImageId, Vec<String>),
    Mount(String),
    File(String),
}

impl Store {
    /// Removes what may go, in the order of its last use, until no more than `keep` bytes of cache
    /// are left; and the layers that nothing needs after that.
    pub fn prune(&self, wanted: &Wanted) -> Result<Pruned> {
        self.remove_by(&mut || self.prune_locked(wanted))
    }

    fn prune_locked(&self, wanted: &Wanted) -> Result<Pruned> {
        let mut pruned = Pruned { bytes: self.collect(true)?.bytes, ..Pruned::default() };
        let (leased, names) = (self.leased()?, self.own_names()?);
        let is_named = |id: &ImageId| names.iter().any(|name| name.image == *id);
        let mut steps = self.all_steps()?;
        let mut order = Vec::new();
        for step in steps.0.iter_mut() {
            let mut is_used = leased.contains(&step.id.hex());
            if let Some(top) = self.chains_of(&step.id)?.last() {
                is_used |= leased.contains(&self.layer_name(top)?) || leased.contains(&top.hex());
            }
            let is_named = is_named(&step.id);
            // A loaded image with a name has no records, and so nothing that could go.
            let is_kept = match is_named {
                true => step.records.is_empty() || wanted.is_vain,
                false if wanted.nameless => false,
                false => self.has_own_image(&step.id) || (wanted.is_vain && step.has_led),
            };
            if !is_used && !is_kept {
                let records = std::mem::take(&mut step.records);
                order.push((step.used, step.depth, Item::Step(step.id, records)));
            }
        }
        self.aids(&mut order)?;
        sort_by(&mut order, &mut |one, other| (one.0, other.1).cmp(&(other.0, one.1)));
        let sizes = self.sizes()?;
        let enough = (sizes.cache + sizes.unfinished).saturating_sub(wanted.keep) + pruned.bytes;
        let (mut batch, mut done) = (Vec::new(), 0);
        for ((used, _), _, item) in order {
            if pruned.bytes >= enough {
                break;
            }
            if wanted.before.is_some_and(|before| used >= before) {
                continue;
            }
            match item {
                Item::Step(id, records) => {
                    if !is_named(&id)
                        && self.drop_file(&format!("images/{}", id.hex()), &mut pruned)?
                    {
                        pruned.images.push(id);
                    }
                    for path in records {
                        self.drop_file(&path, &mut pruned)?;
                        self.drop_parent(&path);
                    }
                    batch.push(id);
                }
                Item::Mount(name) => self.drop_mount(&name, &mut pruned)?,
                Item::File(path) => {
                    self.drop_file(&path, &mut pruned)?;
                    pruned.cache.push(path);
                }
            }
            // What layers go with it is known when they are collected, which takes long for many.
            if wanted.keep > 0 && batch.len() > done / 4 {
                done += batch.len();
                self.drop_steps(std::mem::take(&mut batch), &mut pruned)?;
            }
        }
        self.drop_steps(batch, &mut pruned)?;
        Ok(pruned)
    }

    /// All steps with their records, and all images; each at least as recently used as what was
    /// made of it.
    fn all_steps(&self) -> Result<Steps> {
        let mut ids = self.own_images()?;
        let images = ids.len();
        ids.extend(self.own_steps()?);
        let mut parents: Vec<ImageId> = ids.iter().take(images).copied().collect();
        self.each_record(true, &mut |_, record| {
            ids.push(record.image);
            Ok(true)
        })?;
        sort(&mut ids);
        ids.dedup();
        let mut steps = Vec::new();
        for id in ids {
            let used = |dir: &str| self.last_used(&format!("{dir}/{}", id.hex()));
            let used = used("images").max(used("steps")).unwrap_or_default();
            let (parent, records) = (None, Vec::new());
            steps.push(Step { id, parent, records, used, depth: 0, has_led: false });
        }
        let mut steps = Steps(steps);
        self.each_record(true, &mut |path, record| {
            if let Some(step) = steps.get(&record.image) {
                step.parent = record.parent.or(step.parent);
                step.used = step.used.max(self.last_used(path).unwrap_or_default());
                step.records.push(path.to_owned());
            }
            Ok(true)
        })?;
        for at in 0..steps.0.len() {
            let Some(Step { used, parent, .. }) = steps.0.get(at) else { continue };
            let (used, mut above, mut depth) = (*used, *parent, 0);
            // No longer than there are steps, should they go in a circle.
            while let Some(step) = above.and_then(|id| steps.get(&id))
                && depth < MOST
            {
                step.used = step.used.max(used);
                depth += 1;
                above = step.parent;
            }
            if let Some(step) = steps.0.get_mut(at) {
                step.depth = depth;
            }
        }
        while let Some(id) = parents.pop() {
            if let Some(step) = steps.get(&id).filter(|step| !step.has_led) {
                step.has_led = true;
                parents.extend(step.parent);
            }
        }
        Ok(steps)
    }

    /// Cache mounts, and files that only spare work.
    fn aids(&self, order: &mut Vec<(Time, usize, Item)>) -> Result<()> {
        let mut add = |path: String| {
            if let Some(used) = self.last_used(&path) {
                let is_mount = path.starts_with("mounts/");
                let item = if is_mount { Item::Mount(path) } else { Item::File(path) };
                order.push((used, 0, item));
            }
        };
        for dir in ["mounts", "context", "urls", "partial"] {
            self.each_name(dir, &mut |name| {
                add(format!("{dir}/{name}"));
                Ok(true)
            })?;
        }
        add("contents".to_owned());
        Ok(())
    }

    /// Takes steps away whose records are gone (one that is there promises that its image is), and
    /// the layers that nothing needs then.
    fn drop_steps(&self, ids: Vec<ImageId>, pruned: &mut Pruned) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.sync_dir("images")?;
        self.sync_dir("cache")?;
        for id in ids {
            if self.drop_file(&format!("steps/{}", id.hex()), pruned)? {
                pruned.cache.push(id.to_string());
            }
        }
        pruned.bytes += self.collect(true)?.bytes;
        Ok(())
    }

    fn drop_file(&self, path: &str, pruned: &mut Pruned) -> Result<bool> {
        pruned.bytes += usage(self.fd(), path)?;
        self.unlink(path)
    }

    /// Removes the directory of a record that is gone; it stays when there are other records.
    pub(super) fn drop_parent(&self, path: &str) {
        if let Some((dir, _)) = path.rsplit_once('/') {
            let _ = rustix::fs::unlinkat(self.fd(), dir, AtFlags::REMOVEDIR);
        }
    }

    /// Removes a cache mount that nobody has open.
    fn drop_mount(&self, path: &str, pruned: &mut Pruned) -> Result<()> {
        let Ok(dir) = open_dir(self.fd(), path) else { return Ok(()) };
        if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        pruned.bytes += usage(self.fd(), path)?;
        let tmp = self.dir("tmp")?;
        let aside = random_name()?;
        // All at once, so that nobody finds half of it; on a full disk there may be no room for that.
        match rustix::fs::renameat(self.fd(), path, &tmp, &aside) {
            Ok(()) => remove_tree(tmp.as_fd(), &aside)?,
            Err(_) => remove_tree(self.fd(), path)?,
        }
        pruned.cache.push(path.to_owned());
        Ok(())
    }
}
