//! What stands for the work after a build where the binary was built without `outputs`: nothing. The
//! command line refuses what would ask for it.

use super::Request;
use super::shared::Shared;
use super::walk::Walk;
use super::work::Kept;
use crate::error::Result;
use crate::event::Listener;
use crate::image::digest::ImageId;
use crate::session::Session;
use crate::snapshot::{Done, StepImage};
use crate::store::CacheKey;

/// Has nothing to look at.
pub fn look(_: &Request, _: &mut dyn Listener) {}

/// None.
pub fn makes_another(_: &Request) -> bool {
    false
}

/// Nobody asks.
pub fn ends(_: &Shared<'_>, _: &Request, _: ImageId) -> Result<()> {
    Ok(())
}

/// The image as it is.
pub fn finish(
    _: &Session,
    _: &Request,
    image: ImageId,
    _: &(),
    _: Kept,
    _: &mut dyn Listener,
) -> Result<ImageId> {
    Ok(image)
}

impl Walk<'_, '_> {
    /// There are no other stores.
    pub(super) fn imported(
        &mut self,
        _: &Done,
        _: &CacheKey,
        _: &mut StepImage,
    ) -> Result<Option<Done>> {
        Ok(None)
    }
}
