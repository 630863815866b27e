//! Garbage: layers that no image, no cached step and no living process needs.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::{Store, layers};
use crate::error::{Context, Kind, Result};
use crate::image::digest::ChainId;
use crate::sys::fs::{read_small, remove_tree};

/// What a collection took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Chains whose layer is gone.
    pub chains: Vec<ChainId>,
}

impl Store {
    /// Removes every layer that nothing needs. The lock is held by the caller.
    pub(super) fn collect(&self) -> Result<Freed> {
        let mut live = BTreeSet::new();
        for id in self.images()?.into_iter().chain(self.steps()?) {
            match self.config(&id) {
                Ok(Some(config)) => live.extend(config.chains()),
                Ok(None) => {}
                // Nobody can use it any more, and it must not be in the way of the others.
                Err(error) if error.kind() == Kind::Corrupt => log::warn!("{error}"),
                Err(error) => return Err(error),
            }
        }
        let mut used: BTreeSet<String> = BTreeSet::new();
        used.extend(self.leased()?);
        let mut dead = Vec::new();
        self.each_name("chains", &mut |name| {
            let Some(chain) = ChainId::parse_hex(name) else { return Ok(true) };
            let content = read_small(self.fd(), format!("chains/{name}"), 256)?.unwrap_or_default();
            let layer = String::from_utf8_lossy(&content).trim_end().to_owned();
            if live.contains(&chain) || (layer != layers::EMPTY && used.contains(&layer)) {
                used.insert(layer);
            } else {
                dead.push(chain);
            }
            Ok(true)
        })?;
        for chain in &dead {
            rustix::fs::unlinkat(self.fd(), format!("chains/{}", chain.hex()), AtFlags::empty())
                .context(|| "remove a chain")?;
        }
        // The names are gone for good before the data goes.
        if !dead.is_empty() {
            self.sync_dir("chains")?;
        }
        let mut unused = Vec::new();
        self.each_name("layers", &mut |name| {
            if !used.contains(name) {
                unused.push(name.to_owned());
            }
            Ok(true)
        })?;
        self.collect_manifests()?;
        let dir = self.dir("layers")?;
        for name in unused {
            remove_tree(dir.as_fd(), &name)?;
        }
        Ok(Freed { chains: dead })
    }
}
