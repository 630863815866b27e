//! Images: `images/<sha256>` holds a config byte for byte; `steps/<sha256>` those of a build's
//! steps, which go with the cache.

use super::Store;
use crate::error::{Error, Result};
use crate::image::config::ImageConfig;
use crate::image::digest::{Digest, ImageId};
use crate::image::json;
use crate::sort::sort;
use crate::sys::fs::read_small;

impl Store {
    /// The bytes of an image's config, also of a step's; checked against the id.
    pub fn config_text(&self, id: &ImageId) -> Result<Option<Vec<u8>>> {
        match self.below().map(|below| below.config_text(id)) {
            None | Some(Ok(None)) => self.own_config_text(id),
            Some(found) => found,
        }
    }

    /// The same in this store alone.
    fn own_config_text(&self, id: &ImageId) -> Result<Option<Vec<u8>>> {
        for dir in ["images", "steps"] {
            let path = format!("{dir}/{}", id.hex());
            let Some(text) = read_small(self.fd(), &path, json::MAX_BYTES)? else { continue };
            if Digest::of(&text) != *id {
                let place = self.path().join(path);
                return Err(Error::corrupt(format!("{place:?} is not what was stored there"))
                    .hint("remove it with lath rmi and build or load the image again"));
            }
            return Ok(Some(text));
        }
        Ok(None)
    }

    /// An image's config, also of a step's.
    pub fn config(&self, id: &ImageId) -> Result<Option<ImageConfig>> {
        match self.config_text(id)? {
            Some(text) => ImageConfig::parse(&text).map(Some),
            None => Ok(None),
        }
    }

    /// Whether it is an image and not only a step's.
    pub fn has_image(&self, id: &ImageId) -> bool {
        self.has_own_image(id) || self.below().is_some_and(|below| below.has_image(id))
    }

    /// The same in this store alone.
    pub(super) fn has_own_image(&self, id: &ImageId) -> bool {
        self.has("images", id)
    }

    /// Whether this store alone has its config, also of a step.
    pub(super) fn has_own_config(&self, id: &ImageId) -> bool {
        self.has("images", id) || self.has("steps", id)
    }

    /// Whether a store below has it.
    pub(super) fn is_known_below(&self, id: &ImageId) -> bool {
        self.below().is_some_and(|below| below.has_own_config(id) || below.is_known_below(id))
    }

    /// Whether this store has a file of that name.
    pub(super) fn has(&self, dir: &str, id: &Digest) -> bool {
        let path = format!("{dir}/{}", id.hex());
        rustix::fs::statat(self.fd(), path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// All image ids, sorted.
    pub fn images(&self) -> Result<Vec<ImageId>> {
        self.ids("images", false)
    }

    /// The ids of all steps' images, sorted.
    pub fn steps(&self) -> Result<Vec<ImageId>> {
        self.ids("steps", false)
    }

    /// The ids of the images in this store alone, sorted.
    pub fn own_images(&self) -> Result<Vec<ImageId>> {
        self.ids("images", true)
    }

    /// The ids of the steps' images in this store alone, sorted.
    pub(super) fn own_steps(&self) -> Result<Vec<ImageId>> {
        self.ids("steps", true)
    }

    /// All ids in a folder, each once.
    fn ids(&self, dir: &str, is_own: bool) -> Result<Vec<ImageId>> {
        let mut ids = match self.below() {
            Some(below) if !is_own => below.ids(dir, false)?,
            _ => Vec::new(),
        };
        self.each_name(dir, &mut |name| {
            ids.extend(Digest::parse_hex(name));
            Ok(true)
        })?;
        sort(&mut ids);
        ids.dedup();
        Ok(ids)
    }

    /// The images whose ids begin with some hex digits: those of `images`, or, when there is
    /// none, of `steps`. Two are enough to know that it is not unique.
    pub fn images_by_prefix(&self, prefix: &str) -> Result<Vec<ImageId>> {
        let mut found = Vec::new();
        for dir in ["images", "steps"] {
            let mut at = Some(self);
            while let Some(store) = at {
                store.each_name(dir, &mut |name| {
                    let id = Digest::parse_hex(name).filter(|id| !found.contains(id));
                    found.extend(id.filter(|_| name.starts_with(prefix)));
                    Ok(found.len() < 2)
                })?;
                at = store.below();
            }
            if !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}
