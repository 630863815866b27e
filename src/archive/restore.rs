//! Brings back what the store has lost, from an archive or from wherever else an image can be had:
//! layers and configs with the very digests that are missing, and nothing else.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use crate::archive::load::{candidates, config, fill};
use crate::archive::stack::Stack;
use crate::archive::tape::Tape;
use crate::error::Result;
use crate::event::Listener;
use crate::image::config::ImageConfig;
use crate::image::digest::{ChainId, Digest, ImageId};
use crate::sort::sort;
use crate::store::{Checked, NewImage, Publication, Scratch, Store};

/// What a check has found missing, and what of it is there again.
pub struct Restoration<'a> {
    /// The store.
    pub store: &'a Store,
    scratch: &'a Scratch,
    bad_chains: BTreeSet<ChainId>,
    bad_images: &'a BTreeSet<ImageId>,
    /// Images that have names.
    named: Vec<ImageId>,
    /// Chains that are there again.
    pub chains: Vec<ChainId>,
    /// Images that are there again.
    pub images: Vec<ImageId>,
}

impl<'a> Restoration<'a> {
    /// Nothing is there again yet.
    pub fn new(
        store: &'a Store,
        scratch: &'a Scratch,
        checked: &'a Checked,
    ) -> Result<Restoration<'a>> {
        let mut named: Vec<ImageId> = store.names()?.into_iter().map(|name| name.image).collect();
        sort(&mut named);
        let (bad_chains, bad_images) = (checked.bad_chains.clone(), &checked.bad_images);
        let (chains, images) = (Vec::new(), Vec::new());
        Ok(Restoration { store, scratch, bad_chains, bad_images, named, chains, images })
    }

    /// Whether an image that the store knows lacks its config or a layer.
    #[cfg(feature = "net")]
    pub fn lacks(&self, image: &ImageId) -> bool {
        let is_back = self.images.contains(image);
        !is_back && (self.bad_images.contains(image) || !self.store.has_image(image))
    }

    /// Brings back what is missing of an image with this config. `fill` puts its layers on a stack.
    pub fn image(
        &mut self,
        text: Vec<u8>,
        config: &ImageConfig,
        fill: &mut dyn FnMut(&mut Stack<'_>) -> Result<()>,
    ) -> Result<()> {
        let id = Digest::of(&text);
        let lacks_image = self.named.binary_search(&id).is_ok() && !self.store.has_image(&id);
        let wants_image = lacks_image || self.bad_images.contains(&id);
        let chains = config.chains().into_iter();
        let own: Vec<ChainId> = chains.filter(|chain| self.bad_chains.contains(chain)).collect();
        if own.is_empty() && !wants_image {
            return Ok(());
        }
        let mut stack = Stack::new(self.store, self.scratch);
        stack.bad = self.bad_chains.clone();
        fill(&mut stack)?;
        let mut publication = Publication { layers: stack.new, ..Publication::default() };
        if wants_image {
            let is_final = lacks_image || self.store.has_image(&id);
            publication.images.push(NewImage { text, is_final });
        }
        self.store.forget(&own, wants_image.then_some(&id))?;
        self.store.publish(self.scratch, &mut publication)?;
        self.bad_chains.retain(|chain| !own.contains(chain));
        self.chains.extend(own);
        self.images.extend(wants_image.then_some(id));
        Ok(())
    }
}

/// Restores what an archive has.
pub fn restore(
    lost: &mut Restoration<'_>,
    input: OwnedFd,
    listener: &mut dyn Listener,
) -> Result<()> {
    let tape = Tape::open(input, lost.store, lost.scratch)?;
    for candidate in &candidates(&tape, None)? {
        let (text, config) = config(&tape, candidate)?;
        lost.image(text, &config, &mut |stack| fill(stack, &tape, candidate, &config, listener))?;
    }
    Ok(())
}
