//! Where what is lost can be had again, as far as the store's records tell.

use super::{Checked, Lost};
use crate::error::{Kind, Result};
use crate::image::config::ImageConfig;
use crate::image::digest::{ChainId, DiffId, ImageId};
use crate::image::reference::Reference;
use crate::store::Store;
use crate::store::refs::Name;

/// Where something can be had again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the registry that gave the image of this name, by its digest.
    Registry(Reference),
    /// A build made it, and can make it again: of the image of this name, if it has one.
    Build(Option<Reference>),
    /// From an archive, if anybody has one.
    Archive,
}

impl Store {
    /// Where to get what a check has found lost.
    pub fn source(&self, checked: &Checked, lost: &Lost) -> Result<Source> {
        match lost {
            Lost::Layer(Some(chain)) => self.source_of_layer(chain),
            Lost::Layer(None) => Ok(Source::Archive),
            Lost::Image(id) => self.source_of_image(checked, id),
            Lost::Name(name) => match self.named(name)? {
                Some(id) => self.source_of_image(checked, &id),
                None => Ok(Source::Archive),
            },
        }
    }

    fn source_of_image(&self, checked: &Checked, id: &ImageId) -> Result<Source> {
        // With the layer it is whole again.
        if let Some(config) = self.whole_config(id)?
            && let Some(chain) =
                config.chains().iter().find(|chain| checked.bad_chains.contains(*chain))
        {
            return self.source_of_layer(chain);
        }
        let is_it = |names: Vec<Name>| names.into_iter().find(|name| name.image == *id);
        if let Some(name) = is_it(self.digests()?) {
            return Ok(Source::Registry(repository(name)));
        }
        match self.is_recorded(&mut |image, _| image == id)? {
            true => Ok(Source::Build(is_it(self.names()?).map(|name| name.reference))),
            false => Ok(Source::Archive),
        }
    }

    fn source_of_layer(&self, chain: &ChainId) -> Result<Source> {
        for name in self.digests()? {
            if self.diff_of(&name, chain)?.is_some() {
                return Ok(Source::Registry(repository(name)));
            }
        }
        for name in self.names()? {
            let Some(diff) = self.diff_of(&name, chain)? else { continue };
            return Ok(match self.is_recorded(&mut |_, made| made == Some(&diff))? {
                true => Source::Build(Some(name.reference)),
                false => Source::Archive,
            });
        }
        // Of steps that led to no name yet.
        Ok(Source::Build(None))
    }

    /// The diff id of a chain's layer, if the image of a name has it.
    fn diff_of(&self, name: &Name, chain: &ChainId) -> Result<Option<DiffId>> {
        let Some(config) = self.whole_config(&name.image)? else { return Ok(None) };
        let place = config.chains().iter().position(|own| own == chain);
        Ok(place.and_then(|place| config.diff_ids.get(place)).copied())
    }

    /// A config, if it is there and not damaged.
    fn whole_config(&self, id: &ImageId) -> Result<Option<ImageConfig>> {
        match self.config(id) {
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Input) => Ok(None),
            other => other,
        }
    }

    /// Whether a step's record has such an image after it, or such a layer.
    fn is_recorded(
        &self,
        is_it: &mut dyn FnMut(&ImageId, Option<&DiffId>) -> bool,
    ) -> Result<bool> {
        let mut is_there = false;
        self.each_record(false, &mut |_, record| {
            is_there = is_it(&record.image, record.diff_id.as_ref());
            Ok(!is_there)
        })?;
        Ok(is_there)
    }
}

/// A name's repository: its records say which digests it gave.
fn repository(name: Name) -> Reference {
    Reference { tag: None, digest: None, ..name.reference }
}
