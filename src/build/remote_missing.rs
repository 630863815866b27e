//! In the place of `remote` in a lath without the network: nothing is fetched.

use std::sync::Arc;

use super::source::{Found, Tree};
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::instruction::{CopyEffect, Source};
use crate::sys::flow::Inflow;

fn missing() -> Error {
    Error::unsupported("this lath was built without the network")
}

/// An error.
pub fn stream(_: &str) -> Result<Box<dyn Inflow>> {
    Err(missing().hint("download it first"))
}

/// There is none.
pub enum Remote {}

/// There is none.
pub struct Held {
    /// The files.
    pub tree: Tree,
}

impl Remote {
    /// Not called.
    pub fn digest(&self, _: &mut blake3::Hasher) {
        match *self {}
    }

    /// Not called.
    pub fn found(&self) -> Result<(Arc<Held>, Found)> {
        match *self {}
    }
}

impl Walk<'_, '_> {
    /// No addresses, or an error.
    pub(super) fn remotes(&mut self, copy: &CopyEffect, _: bool) -> Result<Vec<Arc<Remote>>> {
        match copy.sources.iter().any(|source| matches!(source, Source::Url(_))) {
            true => Err(missing().hint("download the file beside the Dockerfile and ADD it")),
            false => Ok(Vec::new()),
        }
    }

    /// Not called.
    pub(super) fn fetch(&mut self, remote: &Remote) -> Result<()> {
        match *remote {}
    }
}
