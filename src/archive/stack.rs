//! The layers of an image that comes in, lowest first: those that the store has are used, the
//! others are unpacked into the scratch, each on the merged view of what is below it.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use crate::error::{Context, Error, Result};
use crate::image::digest::{ChainId, DiffId, Digest};
use crate::layer::verify::HashingReader;
use crate::layer::{Form, Record, outline, unpack};
use crate::snapshot::Chain;
use crate::store::{Announced, Layer, NewLayer, Scratch, Store};
use crate::sys::flow::Inflow;
use crate::sys::fs::write_new;

/// Layers under way.
pub struct Stack<'a> {
    store: &'a Store,
    scratch: &'a Scratch,
    chain: Option<ChainId>,
    layers: Chain,
    /// Chains that the store has and that are not to be used.
    pub bad: BTreeSet<ChainId>,
    /// What is not in the store yet, lowest first.
    pub new: Vec<NewLayer>,
}

impl<'a> Stack<'a> {
    /// No layers.
    pub fn new(store: &'a Store, scratch: &'a Scratch) -> Stack<'a> {
        let (chain, layers, bad, new) = (None, Chain::new(store), BTreeSet::new(), Vec::new());
        Stack { store, scratch, chain, layers, bad, new }
    }

    /// Layers of the store; an error when it lacks one.
    pub fn on(store: &'a Store, scratch: &'a Scratch, below: &[DiffId]) -> Result<Stack<'a>> {
        let mut stack = Stack::new(store, scratch);
        for below in below {
            if !stack.reuse(below)? {
                return Err(Error::not_found("a layer below it is not in the store"));
            }
        }
        Ok(stack)
    }

    /// Puts the layer on top if the store has it there; whether it has.
    pub fn reuse(&mut self, diff_id: &DiffId) -> Result<bool> {
        let chain = Digest::chain(self.chain.as_ref(), diff_id);
        if self.bad.contains(&chain) {
            return Ok(false);
        }
        let _look = self.store.look()?;
        let Some(layer) = self.store.layer(&chain)? else { return Ok(false) };
        self.scratch.uses(&chain.hex())?;
        if let Some(name) = &layer.name {
            let (tree, by_name) = self.store.open_layer(name)?;
            self.layers.push(tree, Form::new(by_name))?;
        }
        self.chain = Some(chain);
        Ok(true)
    }

    /// Unpacks a layer's tar, decompressed already, and puts it on top. It must have the diff id,
    /// if one is given.
    pub fn add(&mut self, tar: &mut dyn Inflow, expected: Option<&DiffId>) -> Result<DiffId> {
        let workspace = self.scratch.workspace()?;
        let diff = workspace.make_dir("diff", 0o755)?;
        let kept = workspace.make_dir("kept", 0o700)?;
        let mut recipe = File::from(write_new(workspace.dir.as_fd(), "tar", b"")?);
        let view = self.layers.view(self.store)?;
        let mut tar = Announced { store: self.store, from: tar };
        let mut hashing = HashingReader::new(&mut tar);
        let record = Record { recipe: &mut recipe, kept: kept.as_fd() };
        let below = view.as_ref().map(AsFd::as_fd);
        let unpacked = unpack(&mut hashing, diff.as_fd(), below, self.layers.form(), Some(record))?;
        drop(view);
        let (diff_id, tar_bytes) = hashing.finish();
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(Error::corrupt(format!(
                "its tar is {diff_id}; the config says {expected}"
            )));
        }
        if unpacked.kept == 0 {
            drop(kept);
            rustix::fs::unlinkat(&workspace.dir, "kept", AtFlags::REMOVEDIR)
                .context(|| "rmdir \"kept\" in the store's tmp")?;
        }
        let chain = Digest::chain(self.chain.as_ref(), &diff_id);
        let size_bytes = unpacked.file_bytes;
        // Other programs' layers may have what no tar of lath's can hold.
        let tree = outline(diff.as_fd(), self.layers.form()).ok();
        let layer = Layer { name: None, chain, diff_id, size_bytes, tar_bytes, tree };
        let is_empty = diff_id == Digest::of(&[0; 1024]);
        let workspace = match is_empty {
            true => {
                self.scratch.discard(workspace)?;
                None
            }
            false => {
                self.layers.push(diff, self.layers.form())?;
                Some(workspace)
            }
        };
        self.new.push(NewLayer { workspace, layer, entries: unpacked.entries, name: None });
        self.chain = Some(chain);
        Ok(diff_id)
    }
}
