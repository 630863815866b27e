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
        let path = format!("images/{}", id.hex());
        rustix::fs::statat(self.fd(), path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// All image ids, sorted.
    pub fn images(&self) -> Result<Vec<ImageId>> {
        self.ids("images")
    }

    /// The ids of all steps' images, sorted.
    pub fn steps(&self) -> Result<Vec<ImageId>> {
        self.ids("steps")
    }

    fn ids(&self, dir: &str) -> Result<Vec<ImageId>> {
        let mut ids = Vec::new();
        self.each_name(dir, &mut |name| {
            ids.extend(Digest::parse_hex(name));
            Ok(true)
        })?;
        sort(&mut ids);
        Ok(ids)
    }

    /// The images whose ids begin with some hex digits: those of `images`, or, when there is
    /// none, of `steps`. Two are enough to know that it is not unique.
    pub fn images_by_prefix(&self, prefix: &str) -> Result<Vec<ImageId>> {
        let mut found = Vec::new();
        for dir in ["images", "steps"] {
            self.each_name(dir, &mut |name| {
                if name.starts_with(prefix) {
                    found.extend(Digest::parse_hex(name));
                }
                Ok(found.len() < 2)
            })?;
            if !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}
