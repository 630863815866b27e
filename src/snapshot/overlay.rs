//! The overlay driver: the upper directory of a mount over the chain's layers is the new layer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::AtFlags;

use super::root::like;
use super::{Chain, settle};
use crate::error::{Context, Result};
use crate::store::{Scratch, Workspace};
use crate::sys::fs::remove_tree;
use crate::sys::mount::{Overlay, overlay};

/// A writable view of a chain. Nothing is mounted until `mount`, and the mount goes with the
/// descriptor that `mount` gives.
pub struct Snapshot {
    workspace: Workspace,
    upper: OwnedFd,
    work: OwnedFd,
    chain: Chain,
}

impl Snapshot {
    /// Makes an empty upper directory over a chain. What an earlier step has left empty is used
    /// again: ext4 looks long for a free inode where many were just removed.
    pub fn prepare(scratch: &Scratch, chain: &Chain) -> Result<Snapshot> {
        let (workspace, upper) = match scratch.spare_workspace() {
            Some(workspace) => {
                let upper = workspace.open_dir("diff")?;
                (workspace, upper)
            }
            None => {
                let workspace = scratch.workspace()?;
                let upper = workspace.make_dir("diff", 0o755)?;
                (workspace, upper)
            }
        };
        // The root that a view shows is that of its highest layer.
        if let Some(top) = chain.top() {
            like(top, upper.as_fd())?;
        }
        let work = scratch.work_dir()?;
        Ok(Snapshot { workspace, upper, work, chain: chain.clone() })
    }

    /// Mounts the view, attached nowhere. `under`: a directory that shows through where no layer
    /// has anything, and never gets into the new layer.
    pub fn mount(&self, under: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
        let mut lowers = self.chain.highest_first();
        lowers.extend(under);
        let empty;
        if lowers.is_empty() {
            // overlayfs wants at least one lower directory.
            empty = self.workspace.make_dir("empty", 0o755)?;
            lowers.push(empty.as_fd());
        }
        let writable = Some((self.upper.as_fd(), self.work.as_fd()));
        overlay(&Overlay { lowers: &lowers, writable, is_volatile: true })
    }

    /// See `super::Snapshot::finish`.
    pub fn finish(
        self,
        scratch: &Scratch,
        newest: Option<i64>,
    ) -> Result<(Chain, Option<Workspace>)> {
        let is_empty = settle::settle(self.upper.as_fd(), &self.chain.highest_first(), newest)
            .context(|| "compare the step's changes")?;
        give_back(scratch, self.work)?;
        remove_tree(self.workspace.dir.as_fd(), "empty")?;
        if is_empty {
            scratch.keep_spare(self.workspace);
            return Ok((self.chain, None));
        }
        let mut chain = self.chain;
        let form = chain.form;
        chain.push(self.upper, form)?;
        Ok((chain, Some(self.workspace)))
    }

    /// Throws everything away.
    pub fn discard(self, scratch: &Scratch) -> Result<()> {
        drop(self.upper);
        give_back(scratch, self.work)?;
        scratch.discard(self.workspace)
    }
}

/// A work directory serves again when what its mount has put into it is gone: overlayfs refuses
/// one with the mark of a volatile mount.
fn give_back(scratch: &Scratch, work: OwnedFd) -> Result<()> {
    let mark = [
        ("work/incompat/volatile/dirty", AtFlags::empty()),
        ("work/incompat/volatile", AtFlags::REMOVEDIR),
        ("work/incompat", AtFlags::REMOVEDIR),
        ("work", AtFlags::REMOVEDIR),
    ];
    // The usual case by name; whatever else is there as a tree.
    if mark.iter().any(|(path, flags)| rustix::fs::unlinkat(&work, *path, *flags).is_err()) {
        remove_tree(work.as_fd(), "work")?;
    }
    scratch.keep_work_dir(work);
    Ok(())
}
