//! What a container has changed of its image's files, and all of its files as a tar.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use super::Container;
use crate::error::{Context, Result};
use crate::layer::{View, pack_view};
use crate::sandbox::{DIRS, FILES};
use crate::session::Session;
use crate::snapshot::changed::{Entry, changed};
use crate::snapshot::kept;
use crate::sys::flow::Outflow;

/// What has become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another, or something in it is.
    Changed,
    /// It is gone.
    Deleted,
}

impl Container {
    /// Calls `each` with every path that has changed, from the root on without a slash in front. A
    /// directory comes before what is in it.
    pub fn diff(
        &self,
        session: &Session,
        each: &mut dyn FnMut(Change, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut last: Vec<u8> = Vec::new();
        let mut say = |change, path: &[u8]| {
            // The directories that it is in have changed with it. One in which the last path was has
            // been told.
            for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                let above = path.get(..at).unwrap_or_default();
                let was_in = last.strip_prefix(above);
                if !was_in.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
                    each(Change::Changed, above)?;
                }
            }
            path.clone_into(&mut last);
            each(change, path)
        };
        let chain = self.chain(session)?;
        changed(self.folder.dir(), &chain, &is_place, &mut |entry| match entry {
            Entry::Gone(path) => say(Change::Deleted, path),
            Entry::There(found, None) => say(Change::Added, found.path),
            Entry::There(found, Some((_, old))) if is_other(&found.stat, old) => {
                say(Change::Changed, found.path)
            }
            Entry::There(..) => Ok(()),
        })
    }

    /// Writes its files as a tar, without what is mounted in it.
    pub fn export(&self, session: &Session, out: &mut dyn Outflow) -> Result<()> {
        let root = kept::view(self.folder.dir(), &self.chain(session)?)
            .context(|| "show the container's files")?;
        let scratch = session.scratch()?;
        let view = View { root: root.as_fd(), spill: scratch.dir(), newest: None };
        pack_view(&view, out).map(drop)
    }
}

/// Whether it is another, as docker sees it: of a directory neither size nor time tell.
fn is_other(new: &Stat, old: &Stat) -> bool {
    let is_directory = FileType::from_raw_mode(new.st_mode) == FileType::Directory;
    let ids = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    ids(new) != ids(old) || (!is_directory && content(new) != content(old))
}

/// Whether something of the kernel's or of lath's is mounted there in every container.
pub(super) fn is_place(path: &[u8]) -> bool {
    DIRS.iter().chain(FILES).any(|place| place.as_bytes() == path)
}
