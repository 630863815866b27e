//! Checks the store and mends it.

use std::os::fd::OwnedFd;

use crate::archive;
use crate::error::Result;
use crate::event::{Event, Listener};
use crate::image::reference::Reference;
use crate::sandbox::{DIRS, FILES};
use crate::session::Session;
pub use crate::store::{Checked, Counts, Fault, Lost, Remedy, Source};

/// Checks every file of the store. A `quick` check does not read what is in layers.
pub fn check(session: &Session, quick: bool, listener: &mut dyn Listener) -> Result<Checked> {
    let store = &session.store;
    let mut content = |layer: &crate::store::Layer| {
        if quick {
            return Ok(None);
        }
        let what = format!("layer {}", layer.diff_id.short());
        let mut moved = |done_bytes| {
            let total_bytes = Some(layer.tar_bytes);
            listener.event(&Event::Moved { what: &what, done_bytes, total_bytes });
        };
        moved(0);
        let found = archive::differs(store, layer);
        moved(layer.tar_bytes);
        found
    };
    store.check(&mut content, (DIRS, FILES))
}

/// Where a repair brings back from what is lost.
pub enum From {
    /// An archive.
    Archive(OwnedFd),
    /// What a registry has under a name; without TLS if need be.
    Registry(Reference, bool),
}

/// Takes away what a check has found bad, or brings it back from somewhere. Gives what was mended
/// without that.
pub fn repair(
    session: &Session,
    checked: &Checked,
    from: Option<From>,
    listener: &mut dyn Listener,
) -> Result<Repaired> {
    let mut repaired = Repaired::default();
    if let Some(from) = from {
        let scratch = session.scratch()?;
        let mut lost = archive::Restoration::new(&session.store, &scratch, checked)?;
        match from {
            From::Archive(archive) => archive::restore(&mut lost, archive, listener)?,
            From::Registry(name, may_be_plain) => {
                fetch(session, &mut lost, &name, may_be_plain, listener)?
            }
        }
        repaired.restored = [lost.chains.len(), lost.images.len()];
    }
    repaired.faults = session.store.repair(&checked.bad_layers, (DIRS, FILES))?;
    Ok(repaired)
}

#[cfg(feature = "net")]
fn fetch(
    session: &Session,
    lost: &mut archive::Restoration<'_>,
    name: &Reference,
    may_be_plain: bool,
    listener: &mut dyn Listener,
) -> Result<()> {
    let access = super::pull::access(session, may_be_plain)?;
    crate::registry::restore(lost, &session.store, name, &access, listener)
}

#[cfg(not(feature = "net"))]
fn fetch(
    _: &Session,
    _: &mut archive::Restoration<'_>,
    _: &Reference,
    _: bool,
    _: &mut dyn Listener,
) -> Result<()> {
    Err(crate::error::Error::built_without("net"))
}

/// What a repair has done.
#[derive(Default)]
pub struct Repaired {
    /// What was taken away or written anew.
    pub faults: Vec<Fault>,
    /// How many layers and images came back from elsewhere.
    pub restored: [usize; 2],
}
