//! Checks the store and mends it.

use std::os::fd::OwnedFd;

use crate::archive;
use crate::error::Result;
use crate::event::{Event, Listener};
use crate::sandbox::{DIRS, FILES};
use crate::session::Session;
pub use crate::store::{Checked, Counts, Fault, Lost, Remedy};

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

/// Takes away what a check has found bad, or brings it back from an archive. Gives what was
/// mended without one.
pub fn repair(
    session: &Session,
    checked: &Checked,
    archive: Option<OwnedFd>,
    listener: &mut dyn Listener,
) -> Result<Repaired> {
    let mut repaired = Repaired::default();
    if let Some(archive) = archive {
        let scratch = session.scratch()?;
        let (layers, images) =
            archive::restore(&session.store, &scratch, archive, checked, listener)?;
        repaired.restored = [layers.len(), images.len()];
    }
    repaired.faults = session.store.repair(&checked.bad_layers, (DIRS, FILES))?;
    Ok(repaired)
}

/// What a repair has done.
#[derive(Default)]
pub struct Repaired {
    /// What was taken away or written anew.
    pub faults: Vec<Fault>,
    /// How many layers and images came back from the archive.
    pub restored: [usize; 2],
}
