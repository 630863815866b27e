//! In the place of `pull` in a lath without the feature `net`.

use crate::error::{Error, Result};
use crate::event::Listener;
use crate::image::digest::{Digest, ImageId};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::session::Session;

/// What a pull would have brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// What the registry calls it.
    pub digest: Digest,
    /// The name did not mean this image before.
    pub is_new: bool,
}

/// Says that nothing is pulled.
pub fn pull(
    _: &Session,
    _: &Reference,
    _: Option<&Platform>,
    _: bool,
    _: &mut dyn Listener,
) -> Result<Pulled> {
    Err(Error::unsupported("this lath was built without net")
        .hint("take a lath that has this feature"))
}
