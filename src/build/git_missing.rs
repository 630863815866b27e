//! What stands for git where the binary was built without `net`: an error that says so.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::source::{Found, Tree};
use crate::error::{Error, Result};
use crate::store::Scratch;

/// Nothing.
#[derive(Default)]
pub struct Known {}

/// There is none.
pub enum Repository {}

impl Repository {
    /// Refuses.
    pub fn ask(_: &str, _: bool, _: Option<&str>, _: &Known) -> Result<Repository> {
        Err(Error::unsupported("this lath was built without net")
            .hint("clone the repository into the build context and COPY it"))
    }

    /// Never called.
    pub fn digest(&self, _: &mut blake3::Hasher) {
        match *self {}
    }

    /// Never called.
    pub fn shown(&self) -> String {
        match *self {}
    }

    /// Never called.
    pub fn check_out(&self, _: &Arc<Scratch>, _: Option<&Known>) -> Result<()> {
        match *self {}
    }

    /// Never called.
    pub fn found(&self) -> Result<(&Tree, Found)> {
        match *self {}
    }
}

/// Refuses.
pub fn fetch(address: &str, _: &Scratch) -> Result<OwnedFd> {
    match Repository::ask(address, false, None, &Known {})? {}
}
