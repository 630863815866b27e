//! Brings an image in from its registry.

use std::path::Path;

use crate::error::Result;
use crate::event::Listener;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
pub use crate::registry::Pulled;
use crate::registry::{self, Access, Mirror};
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
    let access = access(session, may_be_plain)?;
    let scratch = session.scratch()?;
    registry::pull(&session.store, &scratch, reference, platform, &access, listener)
}

/// How registries are asked for what is here.
pub fn access(session: &Session, may_be_plain: bool) -> Result<Access> {
    let passed = session.store.changed_at();
    Ok(Access { may_be_plain, passed, mirrors: mirrors(session)? })
}

/// Those of the command line, then those of the store, then those of the device.
fn mirrors(session: &Session) -> Result<Vec<Mirror>> {
    let (given, file) = &session.mirrors;
    let given = given.iter().map(|text| Mirror::parse(text));
    let mut all = given.collect::<Result<Vec<_>>>()?;
    for path in [file, Path::new("/etc/lath/registries")] {
        all.extend(Mirror::read(path)?);
    }
    Ok(all)
}
