//! Layers: `layers/<id>/{diff,meta,tar,kept}`, found by chain id through `chains/<chain>`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::below::is_place;
use super::{DIRECTORY, Fields, Store, is_dir, seal};
use crate::error::{Context, Error, Result};
use crate::image::digest::{ChainId, DiffId, Digest};
use crate::sys::fs::read_small;

/// A layer's short name in the store.
pub type LayerName = String;

/// In a chain's record: a layer without any entry, which has no folder.
pub(super) const EMPTY: &str = "empty";

/// A published layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its folder's name; nothing for a layer without entries.
    pub name: Option<LayerName>,
    /// The stack that it is the top of.
    pub chain: ChainId,
    /// Digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Length of its tar.
    pub tar_bytes: u64,
    /// Digest of its tree without the contents of files, for a foreign layer: the recipe for its
    /// tar knows the contents only.
    pub tree: Option<Digest>,
}

impl Layer {
    /// A layer without entries.
    pub(super) fn empty(chain: ChainId) -> Layer {
        let diff_id = Digest::of(&[0u8; 1024]);
        Layer { name: None, chain, diff_id, size_bytes: 0, tar_bytes: 1024, tree: None }
    }

    pub(super) fn meta(&self, entries: u64) -> String {
        let mut text = format!(
            "chain {}\ndiff {}\nsize {}\ntar {}\nentries {entries}\n",
            self.chain, self.diff_id, self.size_bytes, self.tar_bytes
        );
        if let Some(tree) = &self.tree {
            text.push_str(&format!("tree {tree}\n"));
        }
        seal::seal(&text)
    }

    pub(super) fn parse_meta(name: &str, text: &str) -> Option<Layer> {
        let fields = Fields(seal::unseal(text)?);
        let digest = |key| fields.get(key).and_then(|text| Digest::parse(text).ok());
        let number = |key| fields.get(key).and_then(|text| text.parse().ok());
        Some(Layer {
            name: Some(name.to_owned()),
            chain: digest("chain")?,
            diff_id: digest("diff")?,
            size_bytes: number("size")?,
            tar_bytes: number("tar")?,
            tree: digest("tree"),
        })
    }
}

/// Whether a text can be a layer's name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Store {
    /// The layer that is the top of a chain.
    pub fn layer(&self, chain: &ChainId) -> Result<Option<Layer>> {
        match self.below() {
            Some(below) => match below.layer(chain)? {
                None => self.own_layer(chain),
                found => Ok(found),
            },
            None => self.own_layer(chain),
        }
    }

    /// The same in this store alone.
    pub(super) fn own_layer(&self, chain: &ChainId) -> Result<Option<Layer>> {
        let name = match self.chain_record(chain)? {
            Some(record) if !is_place(&record) => record,
            _ => return Ok(None),
        };
        let bad = |what: &str| {
            let (hex, path) = (chain.hex(), self.path());
            Error::corrupt(format!("chains/{hex} in the store {path:?}: {what}"))
                .hint("remove the images that use it with lath rmi, and build or load them again")
        };
        if name == EMPTY {
            return Ok(Some(Layer::empty(*chain)));
        }
        if !is_name(&name) {
            return Err(bad("no layer's name"));
        }
        match self.meta(&name)? {
            Some(layer) if layer.chain == *chain => Ok(Some(layer)),
            _ => Err(bad("its layer's meta is not there or does not fit")),
        }
    }

    /// The layer that is the top of a chain and that an image needs.
    pub fn needed_layer(&self, chain: &ChainId) -> Result<Layer> {
        self.layer(chain)?.ok_or_else(|| self.missing(chain))
    }

    /// What a layer's folder says of it; nothing when that is not there or damaged.
    fn meta(&self, name: &str) -> Result<Option<Layer>> {
        let text = read_small(self.fd(), format!("layers/{name}/meta"), 4096)?.unwrap_or_default();
        Ok(Layer::parse_meta(name, &String::from_utf8_lossy(&text)))
    }

    /// Whether a chain is there, without reading its layer.
    pub fn has_chain(&self, chain: &ChainId) -> bool {
        self.has_own_chain(chain) || self.below().is_some_and(|below| below.has_chain(chain))
    }

    /// The same in this store alone.
    pub(super) fn has_own_chain(&self, chain: &ChainId) -> bool {
        self.has("chains", chain)
    }

    /// The store that has a layer's folder. Names are random, so that no two have the same one; in
    /// copies of a store they mean the same.
    fn store_of(&self, name: &str) -> &Store {
        match self.below() {
            Some(below) if !is_dir(self.fd(), &format!("layers/{name}")) => below.store_of(name),
            _ => self,
        }
    }

    /// Opens a layer's tree; says too whether it has marks by name (`marks_by_name`).
    pub fn open_layer(&self, name: &str) -> Result<(OwnedFd, bool)> {
        let (store, path) = (self.store_of(name), format!("layers/{name}/diff"));
        let tree = rustix::fs::openat(store.fd(), &path, DIRECTORY, Mode::empty())
            .context(|| format!("open {path} in the store"))?;
        Ok((tree, store.marks_by_name))
    }

    /// Opens the recipe for a foreign layer's very tar, and the folder of payloads that its tree
    /// no longer has; nothing for a layer that lath made.
    pub fn open_recipe(&self, name: &str) -> Result<Option<(OwnedFd, Option<OwnedFd>)>> {
        let layer = rustix::fs::openat(
            self.store_of(name).fd(),
            format!("layers/{name}"),
            DIRECTORY,
            Mode::empty(),
        )
        .context(|| format!("open layers/{name} in the store"))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let recipe = match rustix::fs::openat(&layer, "tar", flags, Mode::empty()) {
            Ok(recipe) => recipe,
            Err(Errno::NOENT) => return Ok(None),
            Err(other) => return Err(other).context(|| format!("open layers/{name}/tar")),
        };
        let kept = match rustix::fs::openat(layer.as_fd(), "kept", DIRECTORY, Mode::empty()) {
            Ok(kept) => Some(kept),
            Err(Errno::NOENT) => None,
            Err(other) => return Err(other).context(|| format!("open layers/{name}/kept")),
        };
        Ok(Some((recipe, kept)))
    }
}
