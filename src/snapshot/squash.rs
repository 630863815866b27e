//! All that some layers change of the ones below them, as one layer: their own merged view is put
//! over a view of the layers below, from which all that they have removed is taken away first.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::commit::new_layer;
use super::{Chain, Snapshot};
use crate::error::Result;
use crate::image::digest::ChainId;
use crate::layer::walk::{Visit, Walk};
use crate::layer::{View, node, transfer};
use crate::store::{NewLayer, Scratch, Store};
use crate::sys::mount::{Overlay, overlay};
use crate::sys::signal;

/// Makes the layer that changes the first `below` of these chains' layers as all others do.
pub fn squash(
    store: &Store,
    scratch: &Scratch,
    chains: &[ChainId],
    below: usize,
) -> Result<NewLayer> {
    let chains_below = chains.get(..below).unwrap_or_default();
    let whole = Chain::open(store, Some(scratch), chains)?;
    let mut base = Chain::open(store, Some(scratch), chains_below)?;
    base.driver = whole.driver;
    let mut own = Chain::new(store);
    own.trees.extend(whole.trees.iter().skip(base.trees.len()).cloned());
    let mut snapshot = Snapshot::prepare(scratch, &base)?;
    if let Snapshot::Copy(tree) = &mut snapshot {
        tree.put(&own)?;
        let (_, content) = snapshot.finish(scratch, None)?;
        return new_layer(chains_below.last(), content, base.form());
    }
    let workspace = scratch.workspace()?;
    let empty = workspace.make_dir("empty", 0o755)?;
    // Always a mount, also of one layer: its marks must not be seen as files.
    let view = |chain: &Chain| {
        let mut lowers = chain.highest_first();
        lowers.push(empty.as_fd());
        overlay(&Overlay { lowers: &lowers, writable: None, is_volatile: true })
    };
    let (whole, own) = (view(&whole)?, view(&own)?);
    let mounted = snapshot.mount(None)?;
    clear(own.as_fd(), whole.as_fd(), mounted.as_fd())?;
    let view = View { root: own.as_fd(), spill: scratch.dir(), newest: None };
    transfer(&view, mounted.as_fd(), None)?;
    drop(mounted);
    let (_, content) = snapshot.finish(scratch, None)?;
    new_layer(chains_below.last(), content, base.form())
}

/// In each directory that the upper layers have: what the whole does not show goes.
fn clear(own: BorrowedFd<'_>, whole: BorrowedFd<'_>, into: BorrowedFd<'_>) -> Result<()> {
    let root = |fd| node::open_directory(fd, b".");
    let mut levels: Vec<Option<(OwnedFd, OwnedFd)>> = vec![Some((root(whole)?, root(into)?))];
    clear_one(levels.last())?;
    let mut walk = Walk::new(own, None)?;
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        match visit {
            Visit::Leave { .. } => drop(levels.pop()),
            Visit::Enter(found) if found.directory.is_some() => {
                // Where there is no directory below, nothing shows through.
                let level = match levels.last() {
                    Some(Some((whole, into))) => {
                        let open = |fd: &OwnedFd| node::open_directory(fd.as_fd(), found.name).ok();
                        open(whole).zip(open(into))
                    }
                    _ => None,
                };
                levels.push(level);
                clear_one(levels.last())?;
            }
            Visit::Enter(_) => {}
        }
    }
    Ok(())
}

fn clear_one(level: Option<&Option<(OwnedFd, OwnedFd)>>) -> Result<()> {
    let Some(Some((whole, into))) = level else { return Ok(()) };
    node::names(into.as_fd(), &mut |name| match node::exists(whole.as_fd(), name)? {
        true => Ok(()),
        false => node::remove(into.as_fd(), name, &mut |_, _, _| Ok(())),
    })
}
