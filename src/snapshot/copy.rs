//! The copy driver: steps change a tree of their own, and what differs from its index afterwards is
//! the new layer.
//!
//! A change always shows in the index: the kernel sets the time of the last change of an inode, and
//! no program can, but by setting the clock. What was changed so shortly before a step that the
//! clock may not have moved between is compared with the layers below, as is all that was touched.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Chain;
use super::compare::{clamp, same_entry};
use super::index::{self, Index, MARGIN, Reader, Stamp, Writer};
use super::root::{Root, like};
use crate::error::{Context, Error, Result};
use crate::layer::entry::show;
use crate::layer::walk::{Found, Visit, Walk, is_whiteout};
use crate::layer::{Changes, node};
use crate::store::{Scratch, Workspace};
use crate::sys::mount::clone_tree;
use crate::sys::signal;

/// A chain's tree that may be changed.
pub struct Snapshot {
    root: Root,
    chain: Chain,
    /// When the changes began.
    since: i64,
}

impl Snapshot {
    /// Takes the chain's tree, or makes one.
    pub fn prepare(scratch: &Scratch, chain: &Chain) -> Result<Snapshot> {
        let mut root = match chain.slot.take() {
            Some(root) => root,
            None => chain.copied(scratch.another()?)?,
        };
        if let Some(top) = chain.top() {
            like(top, root.dir.as_fd())?;
        }
        let index = match root.index.take() {
            Some(index) => index,
            None => Index::of(root.dir.as_fd(), root.scratch.nameless_file()?)?,
        };
        let since = moved_on(index.last);
        root.index = Some(index);
        Ok(Snapshot { root, chain: chain.clone(), since })
    }

    /// The tree, as a mount that is attached nowhere.
    pub fn mount(&self) -> Result<OwnedFd> {
        clone_tree(self.root.dir.as_fd()).context(|| "mount the root")
    }

    /// Puts the layers of another chain over the tree.
    pub fn put(&mut self, layers: &Chain) -> Result<()> {
        let index = self.root.index.take();
        for layer in &layers.trees {
            self.root.add(layer.dir.as_fd(), layer.form)?;
        }
        self.root.index = index;
        Ok(())
    }

    /// See `super::Snapshot::finish`.
    pub fn finish(
        mut self,
        scratch: &Scratch,
        newest: Option<i64>,
    ) -> Result<(Chain, Option<Workspace>)> {
        let workspace = match scratch.spare_workspace() {
            Some(workspace) => workspace,
            None => scratch.workspace()?,
        };
        let diff = workspace.make_dir("diff", 0o755)?;
        like(self.root.dir.as_fd(), diff.as_fd())?;
        let is_empty =
            self.record(diff.as_fd(), newest).context(|| "look for the step's changes")?;
        if is_empty {
            scratch.keep_spare(workspace);
            self.chain.slot.put(self.root);
            return Ok((self.chain, None));
        }
        let mut chain = self.chain;
        chain.add(diff, chain.form);
        chain.slot = Default::default();
        chain.slot.put(self.root);
        Ok((chain, Some(workspace)))
    }

    /// Writes what has changed to `diff`, and the tree's new index. Whether nothing has.
    fn record(&mut self, diff: BorrowedFd<'_>, newest: Option<i64>) -> Result<bool> {
        let Root { scratch, dir, index } = &mut self.root;
        let tree = dir.as_fd();
        let old = index.take().ok_or_else(|| Error::corrupt("the tree has no index"))?;
        let form = self.chain.form;
        let mut work = Work {
            below: Below { trees: self.chain.highest_first(), path: None, open: Vec::new() },
            old: old.reader()?,
            changes: Changes::new(tree, diff, scratch.dir(), form, newest)?,
            levels: vec![Level { path: 0, is_known: true, is_changed: false }],
            path: Vec::new(),
            since: self.since,
            newest,
            is_changed: false,
        };
        let mut new = Writer::new(scratch.nameless_file()?);
        let mut walk = Walk::new(tree, None)?;
        while let Some(visit) = walk.next_visit()? {
            signal::check()?;
            match visit {
                Visit::Enter(found) => {
                    let stamp = work.enter(&found).context(|| show(found.path))?;
                    new.enter(found.name, &stamp)?;
                }
                Visit::Leave { parent, name } => {
                    new.leave()?;
                    if work.leave()?
                        && let Some(stat) = node::stat(parent, name)?
                    {
                        clamp(parent, name, &stat, newest)?;
                    }
                }
            }
        }
        work.leave()?;
        let is_changed = work.is_changed;
        work.changes.finish()?;
        *index = Some(new.finish()?);
        Ok(!is_changed)
    }
}

/// Now, or a moment later: when what is changed from then on has a later time than the last change.
fn moved_on(last: i64) -> i64 {
    // A time of the future comes from another clock: then the layers below must be asked.
    for _ in 0..40 {
        let now = index::now();
        if last < now - MARGIN || last > now + MARGIN {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    index::now()
}

/// A directory on the way.
struct Level {
    /// The length of its path.
    path: usize,
    /// It was there before, so the index says what was in it.
    is_known: bool,
    /// Something in it is in the layer.
    is_changed: bool,
}

/// The walk of a tree beside its index.
struct Work<'a> {
    below: Below<'a>,
    old: Reader,
    changes: Changes<'a>,
    levels: Vec<Level>,
    /// Of the directory at hand.
    path: Vec<u8>,
    since: i64,
    newest: Option<i64>,
    /// Something is in the layer.
    is_changed: bool,
}

impl Work<'_> {
    /// Gives what the new index is to say of it.
    fn enter(&mut self, found: &Found<'_>) -> Result<Stamp> {
        let stamp = Stamp::of(found);
        let old = self.old(found.name)?;
        let is_directory = found.directory.is_some();
        let mut is_known = false;
        let is_changed = match &old {
            Some(old) if *old == stamp && old.would_show(self.since) => {
                is_known = is_directory;
                false
            }
            Some(old) => {
                let was_directory = old.is_directory();
                is_known = is_directory && was_directory && old.is_same_directory(&stamp);
                let may_be_same =
                    (is_known || !is_directory) && old.shows_same(&stamp, self.newest);
                let is_same = may_be_same && self.below.has(found)?;
                let is_changed = self.changes.put(found, is_same)?;
                if is_directory && was_directory && !is_known {
                    self.changes.cover(found.path)?;
                }
                is_changed
            }
            None => self.changes.put(found, false)?,
        };
        if old.is_some_and(|old| old.is_directory()) && !is_known {
            self.old.leave()?;
        }
        if is_directory {
            found.path.clone_into(&mut self.path);
            self.levels.push(Level { path: self.path.len(), is_known, is_changed });
        } else if is_changed {
            self.change();
            if clamp(found.parent, found.name, &found.stat, self.newest)?
                && let Some(stat) = node::stat(found.parent, found.name)?
            {
                return Ok(Stamp::new(&stat, None));
            }
        }
        Ok(stamp)
    }

    /// What the index says of a name; those in front of it are gone.
    fn old(&mut self, name: &[u8]) -> Result<Option<Stamp>> {
        if !self.levels.last().is_some_and(|level| level.is_known) {
            return Ok(None);
        }
        while let Some(old) = self.old.peek()? {
            if old > name {
                break;
            }
            if old == name {
                return self.old.take().map(Some);
            }
            self.gone()?;
        }
        Ok(None)
    }

    /// The next entry of the index is not there any more.
    fn gone(&mut self) -> Result<()> {
        let name = self.old.peek()?.unwrap_or_default();
        let slash: &[u8] = if self.path.is_empty() { b"" } else { b"/" };
        let path = [&self.path, slash, name].concat();
        if self.old.take()?.is_directory() {
            self.old.leave()?;
        }
        self.change();
        self.changes.hide(&path).context(|| show(&path))
    }

    fn change(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.is_changed = true;
        }
    }

    /// Leaves a directory; whether something in it is in the layer.
    fn leave(&mut self) -> Result<bool> {
        if self.levels.last().is_some_and(|level| level.is_known) {
            while self.old.peek()?.is_some() {
                self.gone()?;
            }
            self.old.leave()?;
        }
        let is_changed = self.levels.pop().is_some_and(|level| level.is_changed);
        match self.levels.last_mut() {
            Some(level) => {
                level.is_changed |= is_changed;
                self.path.truncate(level.path);
            }
            None => self.is_changed = is_changed,
        }
        Ok(is_changed)
    }
}

/// The layers below, looked into for what was touched.
struct Below<'a> {
    /// Highest first.
    trees: Vec<BorrowedFd<'a>>,
    /// A directory's path, and the layers' directories there.
    path: Option<Vec<u8>>,
    open: Vec<OwnedFd>,
}

impl Below<'_> {
    /// Whether the layers show the same under the path. It was there, so it is the highest one's.
    fn has(&mut self, found: &Found<'_>) -> Result<bool> {
        let end = found.path.len().saturating_sub(found.name.len());
        let parent = found.path.get(..end).unwrap_or_default();
        if self.path.as_deref() != Some(parent) {
            self.path = Some(parent.to_vec());
            let open = self.trees.iter().filter_map(|tree| open_path(*tree, parent));
            self.open = open.collect();
        }
        for directory in &self.open {
            let Some(stat) = node::stat(directory.as_fd(), found.name)? else { continue };
            let is_there = !is_whiteout(&stat);
            let directory = directory.as_fd();
            return Ok(
                is_there && same_entry(found.parent, directory, found.name, &found.stat, &stat)?
            );
        }
        Ok(false)
    }
}

fn open_path(tree: BorrowedFd<'_>, path: &[u8]) -> Option<OwnedFd> {
    let mut at = node::open_directory(tree, b".").ok()?;
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        at = node::open_directory(at.as_fd(), part).ok()?;
    }
    Some(at)
}

#[cfg(test)]
mod tests;
