//! What stands for git where the binary was built without `net`: an error that says so.

use std::os::fd::OwnedFd;

use super::source::{Found, Tree};
use crate::error::{Error, Result};
use crate::store::Scratch;

/// There is none.
pub enum Repository {}

/// There is none.
pub struct Checkout {
    /// The files.
    pub tree: Tree,
}

impl Repository {
    /// Refuses.
    pub fn ask(_: &str, _: bool, _: Option<&str>) -> Result<Repository> {
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
    pub fn check_out(&self, _: &Scratch) -> Result<Checkout> {
        match *self {}
    }
}

impl Checkout {
    /// Never called.
    pub fn found(&self) -> Result<Found> {
        Err(Error::unsupported("this lath was built without net"))
    }

    /// Never called.
    pub fn discard(self, _: &Scratch) -> Result<()> {
        Ok(())
    }
}

/// Refuses.
pub fn fetch(address: &str, _: &Scratch) -> Result<OwnedFd> {
    Repository::ask(address, false, None)?;
    Err(Error::unsupported("this lath was built without net"))
}
