//! What a container has changed: its own tree beside the layers of its image, entry by entry. With
//! the overlay driver only what was written is looked at, with the copy driver the whole tree.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};

use super::Chain;
use super::commit::new_layer;
use super::compare::same_entry;
use super::kept::{COPY, OVERLAY};
use crate::error::{Context, Result};
use crate::image::digest::ChainId;
use crate::layer::entry::{WHITEOUT, show};
use crate::layer::walk::{Found, Visit, Walk, is_whiteout};
use crate::layer::{Changes, Form, node};
use crate::store::{NewLayer, Scratch};
use crate::sys::fs::open_dir;
use crate::sys::signal;

/// An entry of the container's tree, or a name that is gone from it.
pub enum Entry<'a> {
    /// It is there, and what the layers have under its name, with their directory.
    There(&'a Found<'a>, Option<(BorrowedFd<'a>, Stat)>),
    /// The layers have it, and the container has not.
    Gone(&'a [u8]),
}

/// Says of a path whether it is only a place where something is mounted: new and empty, it is
/// nothing that the container has changed.
pub type IsPlace<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Calls `each` with what the container has that may have changed, directories before what is in
/// them, and with what is gone.
pub fn changed(
    folder: BorrowedFd<'_>,
    chain: &Chain,
    is_place: IsPlace<'_>,
    each: &mut dyn FnMut(&Entry<'_>) -> Result<()>,
) -> Result<()> {
    let (tree, is_whole) = tree(folder)?;
    let layers = chain.trees.iter().rev();
    let layers = layers.map(|tree| Ok((open_dir(tree.dir.as_fd(), ".")?, tree.form)));
    let below = Below(layers.collect::<Result<_>>()?);
    if is_whole {
        below.missing(tree.as_fd(), b"", each)?;
    }
    let mut levels = vec![(below, is_whole)];
    let mut walk = Walk::new(tree.as_fd(), (!is_whole).then_some(Form::Overlay))?;
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        let found = match visit {
            Visit::Leave { .. } => {
                levels.pop();
                continue;
            }
            Visit::Enter(found) => found,
        };
        let Some((below, is_whole)) = levels.last() else { break };
        let there = below.find(found.name)?;
        let said = match found.whiteout {
            true if there.is_none() => Ok(()),
            true => each(&Entry::Gone(found.path)),
            false if there.is_none() && is_bare(&found) && is_place(found.path) => Ok(()),
            false => each(&Entry::There(&found, there)),
        };
        said.context(|| show(found.path))?;
        if let Some(directory) = found.directory {
            let inner = below.enter(found.name)?;
            // One that was made anew shows nothing from below, and says nothing of what is gone.
            let is_whole = *is_whole || is_opaque(directory)?;
            if is_whole {
                inner.missing(directory, found.path, each)?;
            }
            levels.push((inner, is_whole));
        }
    }
    Ok(())
}

/// Makes a layer of what the container has changed.
pub fn layer_of(
    folder: BorrowedFd<'_>,
    chain: &Chain,
    is_place: IsPlace<'_>,
    top: Option<&ChainId>,
    scratch: &Scratch,
) -> Result<NewLayer> {
    let workspace = scratch.workspace()?;
    let diff = workspace.make_dir("diff", 0o755)?;
    let (tree, _) = tree(folder)?;
    super::root::like(tree.as_fd(), diff.as_fd())?;
    let form = chain.form;
    let mut changes = Changes::new(tree.as_fd(), diff.as_fd(), scratch.dir(), form, None)?;
    let mut is_empty = true;
    changed(folder, chain, is_place, &mut |entry| {
        match entry {
            Entry::Gone(path) => changes.hide(path)?,
            Entry::There(found, below) => {
                let is_same = match below {
                    Some((directory, stat)) => {
                        same_entry(found.parent, *directory, found.name, &found.stat, stat)?
                    }
                    None => false,
                };
                if !changes.put(found, is_same)? {
                    return Ok(());
                }
            }
        }
        is_empty = false;
        Ok(())
    })?;
    changes.finish()?;
    new_layer(top, (!is_empty).then_some(workspace), form)
}

/// Overlayfs's own mark only: a program in the container can set the one of users.
fn is_opaque(directory: BorrowedFd<'_>) -> Result<bool> {
    Ok(node::xattr(directory, b"trusted.overlay.opaque")?.as_deref() == Some(b"y"))
}

fn is_bare(found: &Found<'_>) -> bool {
    found.directory.is_some() || found.stat.st_size == 0
}

/// The container's own tree, and whether it has all files.
fn tree(folder: BorrowedFd<'_>) -> Result<(OwnedFd, bool)> {
    match open_dir(folder, COPY) {
        Ok(root) => Ok((root, true)),
        Err(_) => {
            let diff = open_dir(folder, OVERLAY).context(|| "open the container's files")?;
            Ok((diff, false))
        }
    }
}

/// The directories of the layers at one place, highest first.
#[derive(Default)]
struct Below(Vec<(OwnedFd, Form)>);

impl Below {
    /// What they show under a name.
    fn find(&self, name: &[u8]) -> Result<Option<(BorrowedFd<'_>, Stat)>> {
        for (directory, form) in &self.0 {
            let directory = directory.as_fd();
            match node::stat(directory, name)? {
                Some(stat) if *form == Form::Overlay && is_whiteout(&stat) => return Ok(None),
                Some(stat) => return Ok(Some((directory, stat))),
                None if form.hides(directory, name)? => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// The directories that are merged under a name.
    fn enter(&self, name: &[u8]) -> Result<Below> {
        let mut inner = Vec::new();
        for (directory, form) in &self.0 {
            let directory = directory.as_fd();
            match node::stat(directory, name)? {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    let opened = node::open_directory(directory, name)?;
                    let ends = form.is_opaque(opened.as_fd())?;
                    inner.push((opened, *form));
                    if ends {
                        break;
                    }
                }
                Some(_) => break,
                None if form.hides(directory, name)? => break,
                None => {}
            }
        }
        Ok(Below(inner))
    }

    /// Calls `each` with the names that they show and a directory has not.
    fn missing(
        &self,
        directory: BorrowedFd<'_>,
        path: &[u8],
        each: &mut dyn FnMut(&Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        for (layer, form) in &self.0 {
            let layer = layer.as_fd();
            node::names(layer, &mut |name| {
                let is_mark = *form == Form::Names && name.starts_with(WHITEOUT);
                if is_mark || node::exists(directory, name)? {
                    return Ok(());
                }
                // Each once: by the highest layer that has it.
                let shown = self.find(name)?;
                match shown.is_some_and(|(by, _)| by.as_raw_fd() == layer.as_raw_fd()) {
                    true if path.is_empty() => each(&Entry::Gone(name)),
                    true => each(&Entry::Gone(&[path, b"/", name].concat())),
                    false => Ok(()),
                }
            })?;
        }
        Ok(())
    }
}
