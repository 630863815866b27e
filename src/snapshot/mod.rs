//! A writable view of a chain of layers, and what was changed in it as a new layer.
//!
//! There are two drivers: `overlay`, whose upper directory `settle` makes canonical, and `copy`,
//! which keeps a chain's tree on its own (`root`) with an `index` of it. `commit` turns finished
//! steps into published layers in the background.

#[cfg(feature = "containers")]
pub mod changed;
mod commit;
mod compare;
mod copy;
mod index;
pub mod kept;
mod overlay;
mod queue;
mod root;
mod settle;
mod squash;
#[cfg(feature = "containers")]
pub mod volume;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use commit::{Committer, Done, Finished, KeyMaker, StepImage, StepKeys, Ticket};
pub use squash::squash;

use crate::error::Result;
use crate::image::digest::ChainId;
use crate::layer::Form;
#[cfg(feature = "outputs")]
use crate::layer::node::set_mtime;
use crate::store::{Driver, Scratch, Store, Workspace};
use crate::sys::mount;
use root::{Root, Slot};

/// The open trees of a stack of layers, lowest first. Layers without entries are left out.
#[derive(Clone)]
pub struct Chain {
    trees: Vec<Arc<Tree>>,
    driver: Driver,
    /// Of new layers.
    form: Form,
    slot: Slot,
}

/// A layer's tree, and how it says what is gone: stores on other file systems may do it otherwise.
struct Tree {
    dir: OwnedFd,
    form: Form,
}

impl Chain {
    /// No layers.
    pub fn new(store: &Store) -> Chain {
        let (driver, form) = (store.driver().driver, Form::new(store.marks_by_name()));
        Chain { trees: Vec::new(), driver, form, slot: Slot::default() }
    }

    /// Opens the layers of an image and, with a scratch, says that this process uses them. To
    /// look at them for a moment needs no lease: whoever removes them makes that look fail.
    pub fn open(store: &Store, scratch: Option<&Scratch>, chains: &[ChainId]) -> Result<Chain> {
        let mut opened = Chain::new(store);
        for chain in chains {
            let layer = store.needed_layer(chain)?;
            if let Some(name) = layer.name {
                if let Some(scratch) = scratch {
                    scratch.uses(&name)?;
                }
                let (tree, by_name) = store.open_layer(&name)?;
                opened.add(tree, Form::new(by_name));
            }
        }
        Ok(opened)
    }

    /// Puts a layer on top. A tree that is kept gets its files too.
    pub fn push(&mut self, layer: OwnedFd, form: Form) -> Result<()> {
        let slot = Slot::default();
        if let Some(mut root) = self.slot.take() {
            root.add(layer.as_fd(), form)?;
            slot.put(root);
        }
        self.slot = slot;
        self.add(layer, form);
        Ok(())
    }

    fn add(&mut self, dir: OwnedFd, form: Form) {
        // Overlayfs would show marks by name as files. Two lower directories are not the image's.
        let is_full = self.trees.len() + 3 > mount::LOWERS_IN_ONE;
        if form == Form::Names || is_full && !mount::takes_more_lowers() {
            self.driver = Driver::Copy;
        }
        self.trees.push(Arc::new(Tree { dir, form }));
    }

    /// How layers say what is gone.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether its view is a plain directory and no mount.
    pub fn is_plain(&self) -> bool {
        self.trees.len() == 1 || self.driver == Driver::Copy
    }

    /// The highest layer's tree.
    pub fn top(&self) -> Option<BorrowedFd<'_>> {
        self.trees.last().map(|tree| tree.dir.as_fd())
    }

    /// The trees, highest first.
    fn highest_first(&self) -> Vec<BorrowedFd<'_>> {
        self.trees.iter().rev().map(|tree| tree.dir.as_fd()).collect()
    }

    /// A read-only view of the whole chain; `None` for a chain without layers.
    pub fn view(&self, store: &Store) -> Result<Option<Merged>> {
        let lowers = self.highest_first();
        let (dir, root) = match lowers.as_slice() {
            [] => return Ok(None),
            // The view of one is the one; a detached copy of its mount needs no overlayfs.
            [one] => (one.try_clone_to_owned()?, None),
            lowers if self.driver == Driver::Overlay => (
                mount::overlay(&mount::Overlay { lowers, writable: None, is_volatile: false })?,
                None,
            ),
            _ => {
                let root = self.slot.look(&|| self.copied(store.scratch()?))?;
                (root.dir.try_clone()?, Some(root))
            }
        };
        Ok(Some(Merged { dir, root }))
    }

    /// The same for somebody who looks at the root itself: it was last changed at this time, and no
    /// mark of a layer is to be seen.
    #[cfg(feature = "outputs")]
    pub fn dated_view(&self, store: &Store, scratch: &Scratch, time: i64) -> Result<Merged> {
        let mtime = rustix::fs::Timespec { tv_sec: time, tv_nsec: 0 };
        let root = match self.driver {
            Driver::Overlay => {
                let cover = scratch.workspace()?.make_dir("root", 0o755)?;
                if let Some(top) = self.top() {
                    root::like(top, cover.as_fd())?;
                }
                set_mtime(cover.as_fd(), mtime)?;
                let mut lowers = vec![cover.as_fd()];
                lowers.extend(self.highest_first());
                let parts = mount::Overlay { lowers: &lowers, writable: None, is_volatile: false };
                return Ok(mount::overlay(&parts)?.into());
            }
            Driver::Copy => self.slot.look(&|| self.copied(store.scratch()?))?,
        };
        set_mtime(root.dir.as_fd(), mtime)?;
        Ok(Merged { dir: root.dir.try_clone()?, root: Some(root) })
    }

    /// A new tree with the files of all layers.
    fn copied(&self, scratch: Scratch) -> Result<Root> {
        let mut root = Root::new(scratch)?;
        for tree in &self.trees {
            root.add(tree.dir.as_fd(), tree.form)?;
        }
        Ok(root)
    }
}

/// What a chain of layers shows, not to be changed.
pub struct Merged {
    dir: OwnedFd,
    #[cfg_attr(
        not(feature = "outputs"),
        expect(dead_code, reason = "as long as it is held nobody changes the tree")
    )]
    root: Option<Arc<Root>>,
}

impl Merged {
    /// Whether it is a mount that `Chain::dated_view` has made.
    #[cfg(feature = "outputs")]
    pub fn is_mount(&self) -> bool {
        self.root.is_none()
    }

    /// The directory alone.
    pub fn into_dir(self) -> OwnedFd {
        self.dir
    }
}

impl From<OwnedFd> for Merged {
    fn from(dir: OwnedFd) -> Merged {
        Merged { dir, root: None }
    }
}

impl AsFd for Merged {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A writable view of a chain.
pub enum Snapshot {
    /// A mount over the layers.
    Overlay(overlay::Snapshot),
    /// A tree on its own.
    Copy(Box<copy::Snapshot>),
}

impl Snapshot {
    /// Makes it, with nothing changed.
    pub fn prepare(scratch: &Scratch, chain: &Chain) -> Result<Snapshot> {
        Ok(match chain.driver {
            Driver::Overlay => Snapshot::Overlay(overlay::Snapshot::prepare(scratch, chain)?),
            Driver::Copy => Snapshot::Copy(Box::new(copy::Snapshot::prepare(scratch, chain)?)),
        })
    }

    /// The view as a mount, attached nowhere; it goes with its descriptor. `under`: a directory that
    /// shows through, if the driver can, where no layer has anything; it never gets into the layer.
    pub fn mount(&self, under: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
        match self {
            Snapshot::Overlay(snapshot) => snapshot.mount(under),
            Snapshot::Copy(snapshot) => snapshot.mount(),
        }
    }

    /// Ends the writing; nothing may be mounted any more. Gives the chain with the new layer on top
    /// (the old one, when nothing has changed) and the workspace that holds `diff/` alone, which is
    /// canonical and from now on only read. `newest`: the newest time that files may have, seconds
    /// since 1970.
    pub fn finish(
        self,
        scratch: &Scratch,
        newest: Option<i64>,
    ) -> Result<(Chain, Option<Workspace>)> {
        match self {
            Snapshot::Overlay(snapshot) => snapshot.finish(scratch, newest),
            Snapshot::Copy(snapshot) => snapshot.finish(scratch, newest),
        }
    }

    /// Throws everything away.
    pub fn discard(self, scratch: &Scratch) -> Result<()> {
        match self {
            Snapshot::Overlay(snapshot) => snapshot.discard(scratch),
            Snapshot::Copy(_) => Ok(()),
        }
    }
}
