//! The files of a container: made once from the layers of its image, and changed each time that it
//! runs. They lie in the container's own folder and no layer is made of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Chain;
use super::root::like;
use crate::error::{Context, Result};
use crate::layer::{View, merge};
use crate::store::Driver;
use crate::sys::fs::{open_dir, remove_tree};
use crate::sys::mount::{Overlay, clone_tree, overlay};

/// What was changed, for the overlay driver; all files, for the copy driver.
pub(super) const OVERLAY: &str = "diff";
pub(super) const COPY: &str = "root";

/// Makes the files of a new container in its folder. `is_brief`: nobody needs them after a power cut.
pub fn make(folder: BorrowedFd<'_>, chain: &Chain, is_brief: bool) -> Result<()> {
    if chain.driver == Driver::Overlay {
        let diff = make_dir(folder, OVERLAY)?;
        return match chain.top() {
            Some(top) => like(top, diff.as_fd()),
            None => Ok(()),
        };
    }
    let root = make_dir(folder, COPY)?;
    for tree in &chain.trees {
        let view = View { root: tree.dir.as_fd(), spill: folder, newest: None };
        merge(&view, tree.form, root.as_fd()).context(|| "copy a layer's files")?;
        like(tree.dir.as_fd(), root.as_fd())?;
    }
    match is_brief {
        true => Ok(()),
        // Before there is a container that has them.
        false => rustix::fs::syncfs(folder).context(|| "sync a container's files"),
    }
}

/// Mounts them, attached nowhere. `under`: a directory that shows through, if the driver can, where
/// there is nothing. `is_brief`: nobody needs them after a power cut.
pub fn mount(
    folder: BorrowedFd<'_>,
    chain: &Chain,
    under: BorrowedFd<'_>,
    is_brief: bool,
) -> Result<OwnedFd> {
    // As they were made, whatever would be chosen now.
    if let Ok(root) = open_dir(folder, COPY) {
        return clone_tree(root.as_fd()).context(|| "mount the root");
    }
    let upper = open_dir(folder, OVERLAY).context(|| "open the container's files")?;
    // Fresh each time: overlayfs refuses the one of a volatile mount that was cut off.
    remove_tree(folder, "work")?;
    let work = make_dir(folder, "work")?;
    let mut lowers = chain.highest_first();
    lowers.push(under);
    let writable = Some((upper.as_fd(), work.as_fd()));
    overlay(&Overlay { lowers: &lowers, writable, is_volatile: is_brief })
}

/// Shows them to be read, also while they are mounted.
#[cfg(feature = "containers")]
pub fn view(folder: BorrowedFd<'_>, chain: &Chain) -> Result<OwnedFd> {
    if let Ok(root) = open_dir(folder, COPY) {
        return Ok(root);
    }
    let upper = open_dir(folder, OVERLAY).context(|| "open the container's files")?;
    let lowers = [vec![upper.as_fd()], chain.highest_first()].concat();
    match lowers.len() {
        1 => Ok(upper),
        _ => overlay(&Overlay { lowers: &lowers, writable: None, is_volatile: false }),
    }
}

fn make_dir(folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let says = || format!("make {name:?} of a container");
    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(other) => return Err(other).context(says),
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let dir = rustix::fs::openat(folder, name, flags, Mode::empty()).context(says)?;
    // mkdir is cut by the umask.
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o755)).context(says)?;
    Ok(dir)
}
