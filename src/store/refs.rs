//! Names: `refs/<registry%repository>/<tag>` holds an image id, and so does `@<sha256>` there for
//! an image that was pulled: the digest is that of what the registry gave.

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
    /// The name; with a tag or, from `digests`, with a digest and no tag.
    pub reference: Reference,
    /// The image.
    pub image: ImageId,
}

/// The folder of a reference. A repository has no `%`, so nothing collides; no component of it
/// begins with a dot.
pub(super) fn folder(reference: &Reference) -> String {
    format!("refs/{}", reference.full_name().replace('/', "%"))
}

/// The file's name in its folder. No tag begins with `@`.
pub(super) fn file(reference: &Reference) -> String {
    match &reference.digest {
        Some(digest) => format!("@{}", digest.hex()),
        None => reference.tag_or_latest().to_owned(),
    }
}

fn tagged(repository: &str, file: &str) -> String {
    format!("{repository}:{file}")
}

fn by_digest(repository: &str, file: &str) -> String {
    match file.strip_prefix('@') {
        Some(hex) => format!("{repository}@sha256:{hex}"),
        None => String::new(),
    }
}

impl Store {
    /// The image that a name means; one with a digest means it whatever its tag.
    pub fn named(&self, reference: &Reference) -> Result<Option<ImageId>> {
        match (self.own_named(reference)?, self.below()) {
            (None, Some(below)) => below.named(reference),
            (found, _) => Ok(found),
        }
    }

    /// The same in this store alone.
    pub(super) fn own_named(&self, reference: &Reference) -> Result<Option<ImageId>> {
        let path = format!("{}/{}", folder(reference), file(reference));
        let text = read_small(self.fd(), path, 256)?;
        Ok(text.and_then(|text| Digest::parse(String::from_utf8_lossy(&text).trim_end()).ok()))
    }

    /// All names with tags, sorted.
    pub fn names(&self) -> Result<Vec<Name>> {
        self.list(false, &tagged)
    }

    /// Those of this store alone.
    pub fn own_names(&self) -> Result<Vec<Name>> {
        self.list(true, &tagged)
    }

    /// All names with digests, sorted.
    pub fn digests(&self) -> Result<Vec<Name>> {
        self.list(false, &by_digest)
    }

    /// Those of this store alone.
    pub(super) fn own_digests(&self) -> Result<Vec<Name>> {
        self.list(true, &by_digest)
    }

    /// Names of one kind: `text` makes them of a folder and a file; what is none is not taken.
    fn list(&self, is_own: bool, text: &dyn Fn(&str, &str) -> String) -> Result<Vec<Name>> {
        let mut names = match self.below() {
            Some(below) if !is_own => below.list(false, text)?,
            _ => Vec::new(),
        };
        self.each_name("refs", &mut |folder| {
            let repository = folder.replace('%', "/");
            self.each_name(&format!("refs/{folder}"), &mut |file| {
                if let Ok(reference) = Reference::parse(&text(&repository, file))
                    && let Some(image) = self.own_named(&reference)?
                {
                    // It hides the same one below.
                    names.retain(|name: &Name| name.reference != reference);
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
        let path = format!("{folder}/{}", file(reference));
        match rustix::fs::unlinkat(self.fd(), &path, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(other) => return Err(other).context(|| format!("remove the name {reference}")),
        }
        // Stays when there are other tags; the caller syncs what it lies in.
        if rustix::fs::unlinkat(self.fd(), &folder, AtFlags::REMOVEDIR).is_err() {
            self.sync_dir(&folder)?;
        }
        Ok(true)
    }
}
