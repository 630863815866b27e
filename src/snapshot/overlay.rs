//! The overlay driver: the upper directory of a mount over the chain's layers is the new layer.

use std::os::fd::{AsFd, OwnedFd};

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
    empty: Option<OwnedFd>,
    chain: Chain,
}

impl Snapshot {
    /// Makes an empty upper directory over a chain.
    pub fn prepare(scratch: &Scratch, chain: &Chain) -> Result<Snapshot> {
        let workspace = scratch.workspace()?;
        let upper = workspace.make_dir("diff", 0o755)?;
        let work = workspace.make_dir("work", 0o700)?;
        // overlayfs wants at least one lower directory.
        let empty = match chain.trees.is_empty() {
            true => Some(workspace.make_dir("empty", 0o755)?),
            false => None,
        };
        Ok(Snapshot { workspace, upper, work, empty, chain: chain.clone() })
    }

    /// Mounts the view, attached nowhere.
    pub fn mount(&self) -> Result<OwnedFd> {
        let mut lowers = self.chain.highest_first();
        lowers.extend(self.empty.as_ref().map(AsFd::as_fd));
        let writable = Some((self.upper.as_fd(), self.work.as_fd()));
        overlay(&Overlay { lowers: &lowers, writable })
    }

    /// Ends the writing: the upper directory becomes canonical and is from now on only read.
    /// Nothing may be mounted any more. Gives the chain with the new layer on top (the old one,
    /// when nothing has changed) and the workspace that holds `diff/` alone. `newest`: the newest time
    /// that files may have, seconds since 1970.
    pub fn finish(
        self,
        scratch: &Scratch,
        newest: Option<i64>,
    ) -> Result<(Chain, Option<Workspace>)> {
        let is_empty = settle::settle(self.upper.as_fd(), &self.chain.highest_first(), newest)
            .context(|| "compare the step's changes")?;
        drop((self.work, self.empty));
        if is_empty {
            drop(self.upper);
            scratch.discard(self.workspace)?;
            return Ok((self.chain, None));
        }
        remove_tree(self.workspace.dir.as_fd(), "work")?;
        remove_tree(self.workspace.dir.as_fd(), "empty")?;
        let mut chain = self.chain;
        chain.push(self.upper);
        Ok((chain, Some(self.workspace)))
    }

    /// Throws everything away.
    pub fn discard(self, scratch: &Scratch) -> Result<()> {
        drop((self.upper, self.work, self.empty));
        scratch.discard(self.workspace)
    }
}
