//! Names: `refs/<registry%repository>/<tag>` holds an image id.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Store;
use crate::error::{Context, Result};
use crate::image::digest::{Digest, ImageId};
use crate::image::reference::Reference;
use crate::sort::sort;
use crate::sys::fs::read_small;

/// A name and what it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The name; always with a tag, never with a digest.
    pub reference: Reference,
    /// The image.
    pub image: ImageId,
}

/// The folder of a reference. A repository has no `%`, so nothing collides; no component of it
/// begins with a dot.
pub(super) fn folder(reference: &Reference) -> String {
    format!("refs/{}", reference.full_name().replace('/', "%"))
}

impl Store {
    /// The image that a name means.
    pub fn named(&self, reference: &Reference) -> Result<Option<ImageId>> {
        let path = format!("{}/{}", folder(reference), reference.tag_or_latest());
        let text = read_small(self.fd(), path, 256)?;
        Ok(text.and_then(|text| Digest::parse(String::from_utf8_lossy(&text).trim_end()).ok()))
    }

    /// All names, sorted.
    pub fn names(&self) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        self.each_name("refs", &mut |repository| {
            self.each_name(&format!("refs/{repository}"), &mut |tag| {
                let text = format!("{}:{tag}", repository.replace('%', "/"));
                if let Ok(reference) = Reference::parse(&text)
                    && let Some(image) = self.named(&reference)?
                {
                    names.push(Name { reference, image });
                }
                Ok(true)
            })?;
            Ok(true)
        })?;
        sort(&mut names);
        Ok(names)
    }

    /// Takes a name away; whether it was there.
    pub(super) fn unname(&self, reference: &Reference) -> Result<bool> {
        let folder = folder(reference);
        let path = format!("{folder}/{}", reference.tag_or_latest());
        match rustix::fs::unlinkat(self.fd(), &path, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(other) => return Err(other).context(|| format!("remove the name {reference}")),
        }
        // Stays when there are other tags.
        let _ = rustix::fs::unlinkat(self.fd(), &folder, AtFlags::REMOVEDIR);
        Ok(true)
    }
}
