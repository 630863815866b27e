//! A writable view of a chain of layers, and what was changed in it as a new layer.
//!
//! `overlay` is the driver; `settle` makes an upper directory canonical; `commit` turns finished
//! steps into published layers in the background.

mod commit;
mod overlay;
mod queue;
mod settle;
mod squash;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use commit::{Committer, Done, Finished, KeyMaker, StepImage, StepKeys, Ticket};
pub use overlay::Snapshot;
pub use squash::squash;

use crate::error::{Error, Result};
use crate::image::digest::ChainId;
use crate::store::{Scratch, Store};

/// The open trees of a stack of layers, lowest first. Layers without entries are left out.
#[derive(Clone, Default)]
pub struct Chain {
    trees: Vec<Arc<OwnedFd>>,
}

impl Chain {
    /// Opens the layers of an image and, with a scratch, says that this process uses them. To
    /// look at them for a moment needs no lease: whoever removes them makes that look fail.
    pub fn open(store: &Store, scratch: Option<&Scratch>, chains: &[ChainId]) -> Result<Chain> {
        let mut trees = Vec::new();
        for chain in chains {
            let layer = store.needed_layer(chain)?;
            if let Some(name) = layer.name {
                if let Some(scratch) = scratch {
                    scratch.uses(&name)?;
                }
                trees.push(Arc::new(store.open_layer(&name)?));
            }
        }
        Ok(Chain { trees })
    }

    /// Puts a layer on top.
    pub fn push(&mut self, tree: OwnedFd) {
        self.trees.push(Arc::new(tree));
    }

    /// Whether its view is the tree of one layer and no mount.
    pub fn is_single(&self) -> bool {
        self.trees.len() == 1
    }

    /// The highest layer's tree.
    pub fn top(&self) -> Option<BorrowedFd<'_>> {
        self.trees.last().map(|tree| tree.as_fd())
    }

    /// The trees, highest first.
    fn highest_first(&self) -> Vec<BorrowedFd<'_>> {
        self.trees.iter().rev().map(|tree| tree.as_fd()).collect()
    }

    /// A read-only view of the whole chain; `None` for a chain without layers.
    pub fn view(&self) -> Result<Option<OwnedFd>> {
        let lowers = self.highest_first();
        match lowers.as_slice() {
            [] => Ok(None),
            // An overlay of one is the one; a detached copy of its mount needs no overlayfs.
            [one] => Ok(Some(one.try_clone_to_owned().map_err(Error::from)?)),
            lowers => {
                let parts = crate::sys::mount::Overlay { lowers, writable: None };
                crate::sys::mount::overlay(&parts).map(Some)
            }
        }
    }
}
