//! Brings back from an archive what the store has lost: layers and configs with the very digests
//! that are missing, and nothing else.

use std::os::fd::OwnedFd;

use crate::archive::load::{candidates, config, fill};
use crate::archive::stack::Stack;
use crate::archive::tape::Tape;
use crate::error::Result;
use crate::event::Listener;
use crate::image::digest::{ChainId, Digest, ImageId};
use crate::sort::sort;
use crate::store::{Checked, NewImage, Publication, Scratch, Store};

/// Restores what it can of what a check has found missing; gives the chains and the images that
/// are there again.
pub fn restore(
    store: &Store,
    scratch: &Scratch,
    input: OwnedFd,
    checked: &Checked,
    listener: &mut dyn Listener,
) -> Result<(Vec<ChainId>, Vec<ImageId>)> {
    let tape = Tape::open(input, store, scratch)?;
    let mut bad = checked.bad_chains.clone();
    let mut named: Vec<ImageId> = store.names()?.into_iter().map(|name| name.image).collect();
    sort(&mut named);
    let (mut chains, mut images) = (Vec::new(), Vec::new());
    for candidate in &candidates(&tape, None)? {
        let (text, config) = config(&tape, candidate)?;
        let id = Digest::of(&text);
        let lacks_image = named.binary_search(&id).is_ok() && !store.has_image(&id);
        let wants_image = lacks_image || checked.bad_images.contains(&id);
        let own: Vec<ChainId> =
            config.chains().into_iter().filter(|chain| bad.contains(chain)).collect();
        if own.is_empty() && !wants_image {
            continue;
        }
        let mut stack = Stack::new(store, scratch);
        stack.bad = std::mem::take(&mut bad);
        fill(&mut stack, &tape, candidate, &config, listener)?;
        bad = stack.bad;
        let mut publication = Publication { layers: stack.new, ..Publication::default() };
        if wants_image {
            let is_final = lacks_image || store.has_image(&id);
            publication.images.push(NewImage { text, is_final });
        }
        store.forget(&own, wants_image.then_some(&id))?;
        store.publish(scratch, &mut publication)?;
        bad.retain(|chain| !own.contains(chain));
        chains.extend(own);
        images.extend(wants_image.then_some(id));
    }
    Ok((chains, images))
}
