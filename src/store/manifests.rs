//! Manifests: `manifests/<sha256>` holds what a registry gave, byte for byte, so that a reference
//! with a digest can be proved, and pushed again as it was.

use std::collections::BTreeSet;

use rustix::fs::AtFlags;

use super::Store;
use crate::error::Result;
use crate::image::descriptor::Manifest;
use crate::image::digest::Digest;
use crate::image::json;
use crate::sys::fs::read_small;

/// Where they are.
pub(super) const FOLDER: &str = "manifests";

impl Store {
    /// The bytes of a manifest or an index. What is damaged is not there.
    #[cfg(feature = "net")]
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        match (self.own_manifest(digest)?, self.below()) {
            (None, Some(below)) => below.manifest(digest),
            (own, _) => Ok(own),
        }
    }

    /// The same in this store alone.
    fn own_manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let text = read_small(self.fd(), format!("{FOLDER}/{}", digest.hex()), json::MAX_BYTES)?;
        Ok(text.filter(|text| Digest::of(text) == *digest))
    }

    /// Removes those that no name with a digest leads to. The lock is held by the caller.
    pub(super) fn collect_manifests(&self) -> Result<()> {
        if rustix::fs::statat(self.fd(), FOLDER, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Ok(());
        }
        let mut live = BTreeSet::new();
        let named = self.own_digests()?;
        let mut open: Vec<Digest> = named.iter().filter_map(|name| name.reference.digest).collect();
        while let Some(digest) = open.pop() {
            if live.insert(digest)
                && let Some(text) = self.own_manifest(&digest)?
                && let Ok(Manifest::Index(entries)) = Manifest::parse(&text)
            {
                open.extend(entries.iter().map(|entry| entry.digest));
            }
        }
        let dir = self.dir(FOLDER)?;
        self.each_name(FOLDER, &mut |name| {
            if !Digest::parse_hex(name).is_some_and(|digest| live.contains(&digest)) {
                let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
            }
            Ok(true)
        })
    }
}
