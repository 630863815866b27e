//! One tree over another, as if it went there in a tar: the same attributes and the same order,
//! hard links kept, and the same care about what stands there already.

use std::os::fd::BorrowedFd;
use std::rc::Rc;

use crate::error::{Context, Result};
use crate::layer::entry::show;
use crate::layer::links::Links;
use crate::layer::pack::{View, describe};
use crate::layer::unpack::{Content, Rules, Unpacker};
use crate::layer::walk::{Visit, Walk};
use crate::sys::signal;

/// Puts all that a view shows over what is in the directory `into`. A link that stands where the
/// view has a directory is replaced and not followed, and so is all else of another kind. Each
/// file is there in full or not at all. All belong to `owner`, if there is one.
pub fn transfer(view: &View<'_>, into: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> Result<()> {
    let rules = Rules { is_layer: false, under: Rc::new([]), owner, is_over: true };
    let mut unpacker = Unpacker::new(into, None, None, rules)?;
    let mut links = Links::new(view.spill);
    let mut walk = Walk::new(view.root, false)?;
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        let Visit::Enter(found) = visit else { continue };
        let put = describe(&mut links, &found, view.newest).and_then(|entry| match entry {
            Some((entry, content)) => unpacker.entry(&entry, &mut Content::File(content)),
            None => Ok(()),
        });
        put.context(|| show(found.path))?;
    }
    unpacker.finish().map(drop)
}
