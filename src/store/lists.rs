//! Manifest lists under way: `lists/<hash>` holds what a user has put together under a name and
//! not pushed yet. They name no image of the store.

use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::{Scratch, Store};
use crate::error::{Context, Result};
use crate::image::json;
use crate::image::reference::Reference;
use crate::sys::fs::{read_small, write_new};

/// By hash: a name may be longer than a file's.
fn path(name: &Reference) -> String {
    format!("lists/{}", blake3::hash(name.to_string().as_bytes()).to_hex())
}

impl Store {
    /// The list of this name.
    pub fn list_text(&self, name: &Reference) -> Result<Option<Vec<u8>>> {
        read_small(self.fd(), path(name), json::MAX_BYTES)
    }

    /// Keeps it.
    pub fn keep_list(&self, scratch: &Scratch, name: &Reference, text: &[u8]) -> Result<()> {
        let says = || format!("keep the list {name}");
        self.make_dir("lists")?;
        let workspace = scratch.workspace()?;
        let file = write_new(workspace.dir.as_fd(), "list", text).context(says)?;
        rustix::fs::fsync(&file).context(says)?;
        rustix::fs::renameat(&workspace.dir, "list", self.fd(), path(name)).context(says)?;
        self.sync_dir("lists")?;
        scratch.discard(workspace)
    }

    /// Forgets it; whether it was there.
    pub fn forget_list(&self, name: &Reference) -> Result<bool> {
        match rustix::fs::unlinkat(self.fd(), path(name), AtFlags::empty()) {
            Ok(()) => self.sync_dir("lists").map(|()| true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(other) => Err(other).context(|| format!("forget the list {name}")),
        }
    }
}
