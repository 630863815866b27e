//! What the store takes on its disk, and for what. Every byte under the root is counted once.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::AtFlags;

use super::Store;
use crate::error::{Context, Kind, Result};
use crate::image::digest::{ChainId, ImageId};
use crate::sys::usage::{share, usage};

/// Bytes of blocks, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Images, their names and their layers.
    pub images: u64,
    /// Of that, the layers of images that nobody uses now.
    pub idle: u64,
    /// Steps, cache mounts and what else spares work.
    pub cache: u64,
    /// Containers: what they have changed, and their logs.
    pub containers: u64,
    /// Volumes, those of containers too.
    pub volumes: u64,
    /// Unfinished work.
    pub unfinished: u64,
}

impl Sizes {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.images + self.cache + self.containers + self.volumes + self.unfinished
    }
}

impl Store {
    /// Measures the store.
    pub fn sizes(&self) -> Result<Sizes> {
        let leased = self.leased()?;
        let [mut in_use, mut of_image] = [const { BTreeSet::new() }; 2];
        for id in self.own_images()? {
            for chain in self.chains_of(&id)? {
                let layer = self.layer_name(&chain)?;
                if leased.contains(&id.hex()) {
                    in_use.insert(layer.clone());
                }
                of_image.insert(layer);
            }
        }
        let mut sizes = Sizes::default();
        let own = |name: &str| match rustix::fs::statat(self.fd(), name, AtFlags::empty()) {
            Ok(stat) => Ok(share(&stat)),
            Err(other) => Err(other).context(|| "measure the store"),
        };
        sizes.images += own(".")? + own("layers")?;
        let dir = self.dir("layers")?;
        each_entry(dir.as_fd(), &mut |name| {
            let bytes = usage(dir.as_fd(), name)?;
            let name = name.to_str().unwrap_or_default();
            let row = if of_image.contains(name) { &mut sizes.images } else { &mut sizes.cache };
            *row += bytes;
            if of_image.contains(name) && !in_use.contains(name) {
                sizes.idle += bytes;
            }
            Ok(())
        })?;
        each_entry(self.fd(), &mut |name| {
            let row = match name.to_str() {
                Some("layers") => return Ok(()),
                Some("images" | "chains" | "refs" | "manifests" | "lists" | "networks") => {
                    &mut sizes.images
                }
                Some("containers") => &mut sizes.containers,
                Some("volumes") => &mut sizes.volumes,
                Some("tmp") => &mut sizes.unfinished,
                _ => &mut sizes.cache,
            };
            *row += usage(self.fd(), name)?;
            Ok(())
        })?;
        Ok(sizes)
    }

    /// What the stores below take on their disks.
    pub fn bytes_below(&self) -> Result<u64> {
        match self.below() {
            Some(below) => Ok(usage(below.fd(), ".")? + below.bytes_below()?),
            None => Ok(0),
        }
    }

    /// How many things the cache has: steps, cache mounts, and files of the context's.
    pub fn cached_things(&self) -> Result<usize> {
        let mut count = 0;
        for dir in ["steps", "mounts", "context", "urls"] {
            if let Ok(dir) = self.dir(dir) {
                each_entry(dir.as_fd(), &mut |_| {
                    count += 1;
                    Ok(())
                })?;
            }
        }
        Ok(count)
    }

    /// The images that a process works with now.
    pub fn images_in_use(&self) -> Result<Vec<ImageId>> {
        let leased = self.leased()?;
        let mut images = self.own_images()?;
        images.retain(|id| leased.contains(&id.hex()));
        Ok(images)
    }

    /// The chains of an image or a step; of one that is damaged none: nobody can use it any more,
    /// and it must not be in the way of the others.
    pub(super) fn chains_of(&self, id: &ImageId) -> Result<Vec<ChainId>> {
        // Read again before it is taken for damaged: what it leads to would be lost with it.
        match self.config(id).or_else(|_| self.config(id)) {
            Ok(config) => Ok(config.map(|config| config.chains()).unwrap_or_default()),
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Input) => {
                log::warn!("{error}");
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// The name of a chain's layer; `empty` for one without entries.
    pub(super) fn layer_name(&self, chain: &ChainId) -> Result<String> {
        Ok(self.chain_record(chain)?.unwrap_or_default())
    }
}

/// All entries, also those that are not lath's.
fn each_entry(dir: BorrowedFd<'_>, each: &mut dyn FnMut(&OsStr) -> Result<()>) -> Result<()> {
    for entry in rustix::fs::Dir::read_from(dir).context(|| "read the store")? {
        let entry = entry.context(|| "read the store")?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            each(OsStr::from_bytes(name))?;
        }
    }
    Ok(())
}
