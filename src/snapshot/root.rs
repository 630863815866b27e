//! The merged tree of a chain of layers as files of its own, for where nothing can be mounted over
//! the layers. One is kept for each chain and handed on: a step changes it, and what it has then is
//! the tree of the chain with the new layer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::Mode;

use super::index::Index;
use crate::error::{Context, Result};
use crate::layer::{Form, View, merge};
use crate::store::Scratch;
use crate::sys::fs::set_owner;

/// A tree on its own, in a folder of its own; removed when it is dropped.
pub struct Root {
    pub scratch: Scratch,
    pub dir: OwnedFd,
    /// What is in it, once that was needed.
    pub index: Option<Index>,
}

impl Root {
    /// An empty one.
    pub fn new(scratch: Scratch) -> Result<Root> {
        let dir = scratch.workspace()?.make_dir("root", 0o755)?;
        Ok(Root { scratch, dir, index: None })
    }

    /// Puts a layer over what is there.
    pub fn add(&mut self, layer: BorrowedFd<'_>, form: Form) -> Result<()> {
        self.index = None;
        let view = View { root: layer, spill: self.scratch.dir(), newest: None };
        merge(&view, form, self.dir.as_fd()).context(|| "copy a layer's files")?;
        like(layer, self.dir.as_fd())
    }
}

/// Gives a root the owner and the mode of another: the root has no entry in a layer's tar.
pub fn like(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).context(|| "stat the root")?;
    set_owner(to, stat.st_uid, stat.st_gid).context(|| "chown the root")?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).context(|| "chmod the root")
}

/// Where a chain's tree is kept, when there is one.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Arc<Root>>>>);

impl Slot {
    /// Takes the tree to change it; nothing when there is none or somebody looks at it.
    pub fn take(&self) -> Option<Root> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match Arc::try_unwrap(kept.take()?) {
            Ok(root) => Some(root),
            Err(shared) => {
                *kept = Some(shared);
                None
            }
        }
    }

    /// Keeps a tree.
    pub fn put(&self, root: Root) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(root));
    }

    /// The tree to look at it, made by `make` when there is none.
    pub fn look(&self, make: &dyn Fn() -> Result<Root>) -> Result<Arc<Root>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let root = match kept.take() {
            Some(root) => root,
            None => Arc::new(make()?),
        };
        *kept = Some(root.clone());
        Ok(root)
    }
}
