//! The first files of a volume: those that the image has in its place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode};
use rustix::io::Errno;

use super::root::like;
use crate::error::{Context, Result};
use crate::layer::{View, transfer};
use crate::store::Store;
use crate::store::volumes::{BRIEF, DATA};
use crate::sys::fs::{open_dir, remove_tree, write_new};
use crate::sys::signal;
use crate::sys::usage::usage;

/// In the folder of one that is being filled: what is in it is not whole.
const FILLING: &str = "filling";
/// Between two looks at a lock that somebody else holds.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Fills a volume, whose folder this is, from a directory of an image, as docker does; one with files
/// in it stays as it is. Gives its files.
pub fn fill(store: &Store, folder: BorrowedFd<'_>, from: BorrowedFd<'_>) -> Result<OwnedFd> {
    // One fills, the others wait for it.
    let lock = open_dir(folder, ".").context(|| "open a volume")?;
    while let Err(problem) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        match problem {
            Errno::WOULDBLOCK | Errno::INTR => {
                signal::check()?;
                std::thread::sleep(PAUSE);
            }
            other => return Err(other).context(|| "lock a volume"),
        }
    }
    let was_cut_off = is_there(folder, FILLING);
    if was_cut_off {
        remove_tree(folder, DATA)?;
        rustix::fs::mkdirat(folder, DATA, Mode::from_raw_mode(0o755))?;
    }
    let data = open_dir(folder, DATA).context(|| "open a volume")?;
    if !is_empty(data.as_fd())? {
        return Ok(data);
    }
    // Nobody makes it smaller later: what is in it is its user's.
    if store.limit().is_some() {
        store.room(usage(from, ".")?)?;
    }
    let is_brief = is_there(folder, BRIEF);
    if !was_cut_off {
        write_new(folder, FILLING, b"")?;
    }
    if !is_brief {
        rustix::fs::fsync(folder).context(|| "sync a volume")?;
    }
    transfer(&View { root: from, spill: folder, newest: None }, data.as_fd(), None)?;
    like(from, data.as_fd())?;
    if !is_brief {
        rustix::fs::syncfs(folder).context(|| "sync a volume")?;
    }
    rustix::fs::unlinkat(folder, FILLING, AtFlags::empty()).context(|| "fill a volume")?;
    if !is_brief {
        // Or after a power cut it would be filled again, in the place of what was written to it since.
        rustix::fs::fsync(folder).context(|| "sync a volume")?;
    }
    Ok(data)
}

fn is_there(at: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_empty(dir: BorrowedFd<'_>) -> Result<bool> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
