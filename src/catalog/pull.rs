//! Brings an image in from its registry.

use crate::error::Result;
use crate::event::Listener;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
pub use crate::registry::Pulled;
use crate::registry::{self, Access};
use crate::session::Session;

/// Pulls what a name means for a platform, or for this machine's when none is asked for.
/// `may_be_plain`: without TLS if need be.
pub fn pull(
    session: &Session,
    reference: &Reference,
    platform: Option<&Platform>,
    may_be_plain: bool,
    listener: &mut dyn Listener,
) -> Result<Pulled> {
    let access = Access { may_be_plain };
    let scratch = session.scratch()?;
    registry::pull(&session.store, &scratch, reference, platform, access, listener)
}
