//! Read-only stores below this one (`LATH_STORES`), such as a firmware brings along. They are only
//! looked into: no lock is taken there, since nobody removes anything.
//!
//! Layers and configs, which are the same wherever they lie, are taken from there first. Names and
//! cache records may change, and so the writable store's win. Where an image of the writable store
//! stands on a layer below, `chains/` says in which store: so what is missing can be named later.

use std::path::Path;

use super::Store;
use crate::error::{Error, Result};
use crate::image::digest::ChainId;
use crate::sys::fs::read_small;

/// The longest record of a chain, in bytes: a path.
pub(super) const RECORD: usize = 4096;

/// Whether a chain's record says that its layer lies in another store.
pub(super) fn is_place(record: &str) -> bool {
    record.starts_with('/')
}

impl Store {
    /// Puts the store at a path below this one and those that are there. A store is never below
    /// itself.
    pub fn put_below(&mut self, path: &Path) -> Result<()> {
        let mut at = self;
        loop {
            if at.path.as_os_str() == path.as_os_str() {
                return Ok(());
            }
            match &mut at.below {
                Some(below) => at = below,
                end => {
                    *end = Some(Box::new(Store::open_as(path, true).map_err(|error| {
                        error
                            .during(format!("use the store {path:?}, which LATH_STORES names"))
                            .hint("mount it first, or take it out of LATH_STORES")
                    })?));
                    return Ok(());
                }
            }
        }
    }

    /// The next store below.
    pub fn below(&self) -> Option<&Store> {
        self.below.as_deref()
    }

    /// Where this one and those below are, as `LATH_STORES` has it.
    pub fn paths(&self) -> String {
        let own = self.path.display();
        match self.below() {
            Some(below) => format!("{own}:{}", below.paths()),
            None => own.to_string(),
        }
    }

    /// The path of the store below that has a chain's layer. A path that is no text cannot be
    /// written into a record.
    pub(super) fn place_below(&self, chain: &ChainId) -> Option<&str> {
        let below = self.below()?;
        match below.own_layer(chain) {
            Ok(Some(_)) => below.path.to_str(),
            _ => below.place_below(chain),
        }
    }

    /// What this store says of a chain: the name of its layer, `empty`, or the path of the store
    /// where that lies; nothing of a chain that it does not know.
    pub(super) fn chain_record(&self, chain: &ChainId) -> Result<Option<String>> {
        let text = read_small(self.fd(), format!("chains/{}", chain.hex()), RECORD)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).trim_end().to_owned()))
    }

    /// Why the layer of a chain that an image needs is not there.
    pub(super) fn missing(&self, chain: &ChainId) -> Error {
        let place = self.layer_name(chain).unwrap_or_default();
        let named = self.below().map(Store::paths).unwrap_or_default();
        let mut text = format!("the layer of chain {} is not in the store", chain.short());
        if is_place(&place) {
            text = format!("{text}: it was in {place}, and LATH_STORES is {named:?}");
        }
        Error::corrupt(text).hint(
            "load, pull or build the image again, or name the read-only store that has it in \
             LATH_STORES",
        )
    }

    /// Whether the store at a path is one of those below.
    #[cfg(feature = "fsck")]
    pub(super) fn is_below(&self, place: &str) -> bool {
        let is_it = |below: &Store| below.path.to_str() == Some(place) || below.is_below(place);
        self.below().is_some_and(is_it)
    }
}
