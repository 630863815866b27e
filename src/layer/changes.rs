//! What was changed in a tree, entry by entry -> a layer's tree.
//!
//! Parents are made as they are in the changed tree. Names of one file stay names of one file.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use rustix::fs::Stat;

use crate::error::{Context, Result};
use crate::layer::entry::{Attributes, Entry, Node, OPAQUE, WHITEOUT, show};
use crate::layer::links::Links;
use crate::layer::marks::{Form, reserved};
use crate::layer::node;
use crate::layer::pack::{beside, describe};
use crate::layer::place::{Missing, Place};
use crate::layer::unpack::{Content, Rules, Unpacker, Way};
use crate::layer::walk::Found;

/// A layer under way.
pub struct Changes<'a> {
    tree: BorrowedFd<'a>,
    diff: BorrowedFd<'a>,
    unpacker: Unpacker<'a>,
    links: Links<'a>,
    newest: Option<i64>,
}

impl<'a> Changes<'a> {
    /// Nothing yet: `tree` is what was changed, `diff` gets the layer. Nameless files are made in
    /// `spill`. `newest`: the newest time that an entry may have, seconds since 1970.
    pub fn new(
        tree: BorrowedFd<'a>,
        diff: BorrowedFd<'a>,
        spill: BorrowedFd<'a>,
        form: Form,
        newest: Option<i64>,
    ) -> Result<Changes<'a>> {
        let rules = Rules { form, way: Way::Keep, newest, ..Rules::layer(Rc::new([])) };
        let unpacker = Unpacker::new(diff, Some(tree), None, rules)?;
        Ok(Changes { tree, diff, unpacker, links: Links::new(spill), newest })
    }

    /// Puts an entry into the layer. One that `is_same` as in the layers below is only put there
    /// with another name of its file that is not. Whether it is there.
    pub fn put(&mut self, found: &Found<'_>, is_same: bool) -> Result<bool> {
        let first = match found.directory {
            None => self.links.first(&found.stat, found.path)?,
            Some(_) => None,
        };
        if let Some(first) = &first
            && !self.has(first)?
        {
            if is_same {
                return Ok(false);
            }
            self.put_path(first).context(|| show(first))?;
        }
        if first.is_none() && is_same {
            return Ok(false);
        }
        self.entry(first, found)
    }

    /// A name is gone.
    pub fn hide(&mut self, path: &[u8]) -> Result<()> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.mark(beside(path, name))
    }

    /// A directory, which is in the layer, is another than the one below it.
    pub fn cover(&mut self, path: &[u8]) -> Result<()> {
        self.mark([path, b"/", OPAQUE].concat())
    }

    /// The times of the last directories.
    pub fn finish(self) -> Result<()> {
        self.unpacker.finish().map(drop)
    }

    fn entry(&mut self, first: Option<Vec<u8>>, found: &Found<'_>) -> Result<bool> {
        if found.name.starts_with(WHITEOUT) {
            return Err(reserved());
        }
        let Some((entry, content)) = describe(first, found, self.newest)? else {
            return Ok(false);
        };
        self.unpacker.entry(&entry, &mut Content::File(content))?;
        Ok(true)
    }

    fn mark(&mut self, path: Vec<u8>) -> Result<()> {
        let entry = Entry { path, node: Node::File(0), attributes: Attributes::default() };
        self.unpacker.entry(&entry, &mut Content::File(None::<File>))
    }

    /// Whether the layer has something at a path.
    fn has(&self, path: &[u8]) -> Result<bool> {
        Ok(parent(self.diff, path)?.is_some_and(|(_, there)| there.is_some()))
    }

    fn put_path(&mut self, path: &[u8]) -> Result<()> {
        let Some((place, Some(stat))) = parent(self.tree, path)? else { return Ok(()) };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let parent = place.upper().unwrap_or(self.tree);
        let found = Found { parent, name, path, stat, directory: None, whiteout: false };
        self.entry(None, &found).map(drop)
    }
}

/// The directory that a path is in, and what is there; nothing when the directory is not there.
fn parent(tree: BorrowedFd<'_>, path: &[u8]) -> Result<Option<(Place, Option<Stat>)>> {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let name = parts.pop().unwrap_or_default();
    let mut place = Place::new(tree, None, Missing::Report, Form::default())?;
    if !place.enter(&parts)? {
        return Ok(None);
    }
    let there = match place.upper() {
        Some(upper) => node::stat(upper, name)?,
        None => None,
    };
    Ok(Some((place, there)))
}
