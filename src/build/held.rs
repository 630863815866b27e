//! Files that were fetched, for as long as a step needs them.

use std::sync::Arc;

use super::source::Tree;
use crate::store::{Scratch, Workspace};

/// Files in the scratch, removed when this is dropped.
pub struct Held {
    /// The files.
    pub tree: Tree,
    scratch: Arc<Scratch>,
    workspace: Option<Workspace>,
}

impl Held {
    /// The files of a workspace.
    pub fn new(tree: Tree, scratch: Arc<Scratch>, workspace: Workspace) -> Held {
        Held { tree, scratch, workspace: Some(workspace) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.workspace.take().map(|made| self.scratch.discard(made)) {
            // They go with the scratch at the latest.
            log::warn!("fetched files are still there: {error}");
        }
    }
}
