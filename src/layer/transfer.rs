//! One tree over another, as if it went there in a tar: the same attributes and the same order,
//! hard links kept, and the same care about what stands there already.

use std::os::fd::BorrowedFd;
use std::rc::Rc;

use crate::error::{Context, Result};
use crate::layer::entry::{Attributes, Entry, Node, OPAQUE, show};
use crate::layer::links::Links;
use crate::layer::marks::Form;
use crate::layer::pack::{View, beside, describe, links_to};
use crate::layer::unpack::{Content, Rules, Unpacker, Way};
use crate::layer::walk::{Visit, Walk};
use crate::sys::signal;

/// Puts all that a view shows over what is in the directory `into`. A link that stands where the
/// view has a directory is replaced and not followed, and so is all else of another kind. Each
/// file is there in full or not at all. All belong to `owner`, if there is one.
pub fn transfer(view: &View<'_>, into: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> Result<()> {
    let rules = Rules { is_layer: false, owner, is_over: true, ..Rules::layer(Rc::new([])) };
    run(view, into, rules, None)
}

/// Puts a layer, whose marks have the form, over the merged view of the layers below it, which is
/// a tree of its own: what the layer says is gone goes.
pub fn merge(layer: &View<'_>, form: Form, into: BorrowedFd<'_>) -> Result<()> {
    let rules = Rules { form, way: Way::Merge, ..Rules::layer(Rc::new([])) };
    run(layer, into, rules, Some(form))
}

fn run(view: &View<'_>, into: BorrowedFd<'_>, rules: Rules, marks: Option<Form>) -> Result<()> {
    let mut unpacker = Unpacker::new(into, None, None, rules)?;
    let mut links = Links::new(view.spill);
    let mut walk = Walk::new(view.root, marks)?;
    let mark = |unpacker: &mut Unpacker<'_>, path| {
        let entry = Entry { path, node: Node::File(0), attributes: Attributes::default() };
        unpacker.entry(&entry, &mut Content::File(None))
    };
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        let Visit::Enter(found) = visit else { continue };
        let mut put = || {
            if found.whiteout {
                return mark(&mut unpacker, beside(found.path, found.name));
            }
            let first = links_to(&mut links, &found)?;
            let Some((entry, content)) = describe(first, &found, view.newest)? else {
                return Ok(());
            };
            unpacker.entry(&entry, &mut Content::File(content))?;
            match (found.directory, marks) {
                (Some(directory), Some(form)) if form.is_opaque(directory)? => {
                    mark(&mut unpacker, [found.path, b"/", OPAQUE].concat())
                }
                _ => Ok(()),
            }
        };
        put().context(|| show(found.path))?;
    }
    unpacker.finish().map(drop)
}
