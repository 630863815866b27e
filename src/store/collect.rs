//! Garbage: layers that no image, no cached step and no living process needs.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::below::is_place;
use super::{Store, layers};
use crate::error::{Context, Result};
use crate::image::digest::ChainId;
use crate::sys::fs::remove_tree;
use crate::sys::usage::usage;

/// What a collection took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Chains whose layer is gone.
    pub chains: Vec<ChainId>,
    /// What they took on the disk, where that was asked for.
    pub bytes: u64,
}

impl Store {
    /// Removes every layer that nothing needs, and measures it before when `measure`. Nobody looks
    /// (`removing`), and the caller holds the lock.
    pub(super) fn collect(&self, measure: bool) -> Result<Freed> {
        let mut live = BTreeSet::new();
        for id in self.own_images()?.into_iter().chain(self.own_steps()?) {
            live.extend(self.chains_of(&id)?);
        }
        let mut used = self.leased()?;
        let (mut freed, mut gone) = (Freed::default(), Vec::new());
        self.each_name("chains", &mut |name| {
            let Some(chain) = ChainId::parse_hex(name) else { return Ok(true) };
            let layer = self.layer_name(&chain)?;
            let is_own = layer != layers::EMPTY && !is_place(&layer);
            let is_used = used.contains(name) || (is_own && used.contains(&layer));
            if live.contains(&chain) || is_used {
                used.insert(layer);
            } else {
                // Of one whose layer lies below this is all that was here.
                if !is_place(&layer) {
                    freed.chains.push(chain);
                }
                gone.push(chain);
            }
            Ok(true)
        })?;
        // What needed them is gone for good before they go. Images, steps and cache records lie in
        // many directories, and not every file system syncs one of them with the others.
        rustix::fs::syncfs(self.fd()).context(|| "sync the store")?;
        for chain in &gone {
            rustix::fs::unlinkat(self.fd(), format!("chains/{}", chain.hex()), AtFlags::empty())
                .context(|| "remove a chain")?;
        }
        // The names are gone for good before the data goes.
        if !gone.is_empty() {
            self.sync_dir("chains")?;
        }
        self.collect_manifests()?;
        freed.bytes = self.remove_layers(&used, measure)?;
        Ok(freed)
    }

    /// Removes the folders of layers that no chain names and that nobody works on. The caller holds
    /// the lock.
    pub(super) fn collect_nameless(&self) -> Result<()> {
        let mut used = self.leased()?;
        self.each_name("chains", &mut |name| {
            if let Some(chain) = ChainId::parse_hex(name) {
                used.insert(self.layer_name(&chain)?);
            }
            Ok(true)
        })?;
        self.remove_layers(&used, false).map(drop)
    }

    /// Removes all layers but these; gives what they took on the disk, where that is asked for.
    fn remove_layers(&self, used: &BTreeSet<String>, measure: bool) -> Result<u64> {
        let mut unused = Vec::new();
        self.each_name("layers", &mut |name| {
            if !used.contains(name) {
                unused.push(name.to_owned());
            }
            Ok(true)
        })?;
        let mut bytes = 0;
        let dir = self.dir("layers")?;
        for name in unused {
            if measure {
                bytes += usage(dir.as_fd(), &name)?;
            }
            remove_tree(dir.as_fd(), &name)?;
        }
        Ok(bytes)
    }
}
