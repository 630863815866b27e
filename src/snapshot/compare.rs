//! What a layer holds is what a tar would show: two entries compared by that, and times that are not
//! newer than they may be.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};

use crate::error::{Context, Result};
use crate::layer::node::xattrs;
use crate::sys::signal;

/// Takes a time back that is newer than it may be; whether it was.
pub fn clamp(dir: BorrowedFd<'_>, name: &[u8], stat: &Stat, newest: Option<i64>) -> Result<bool> {
    let Some(newest) = newest.filter(|newest| stat.st_mtime > *newest) else { return Ok(false) };
    let time = Timespec { tv_sec: newest, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).context(|| "set times")?;
    Ok(true)
}

/// Whether two entries, of the same name in two directories, are the same as a tar would show them.
pub fn same_entry(
    upper: BorrowedFd<'_>,
    lower: BorrowedFd<'_>,
    name: &[u8],
    new: &Stat,
    old: &Stat,
) -> Result<bool> {
    let kind = FileType::from_raw_mode(new.st_mode);
    if new.st_mode != old.st_mode
        || new.st_uid != old.st_uid
        || new.st_gid != old.st_gid
        || new.st_mtime != old.st_mtime
    {
        return Ok(false);
    }
    match kind {
        FileType::Symlink => {
            let target = |dir| rustix::fs::readlinkat(dir, name, Vec::new());
            return Ok(target(upper)? == target(lower)?);
        }
        FileType::RegularFile if new.st_size != old.st_size => return Ok(false),
        FileType::BlockDevice | FileType::CharacterDevice => return Ok(new.st_rdev == old.st_rdev),
        FileType::RegularFile | FileType::Directory => {}
        _ => return Ok(true),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |dir| rustix::fs::openat(dir, name, flags, Mode::empty());
    let (new, old) = (open(upper)?, open(lower)?);
    Ok(same_attributes(new.as_fd(), old.as_fd())?
        && (kind != FileType::RegularFile || same_content(new.as_fd(), old.as_fd())?))
}

/// The attributes that a layer's tar holds.
fn same_attributes(new: BorrowedFd<'_>, old: BorrowedFd<'_>) -> Result<bool> {
    Ok(xattrs(new)? == xattrs(old)?)
}

fn same_content(new: BorrowedFd<'_>, old: BorrowedFd<'_>) -> Result<bool> {
    let mut ours = vec![0u8; 64 << 10];
    let mut theirs = vec![0u8; 64 << 10];
    let mut offset = 0u64;
    loop {
        signal::check()?;
        let count = rustix::io::pread(new, &mut ours[..], offset)?;
        if count == 0 {
            return Ok(true);
        }
        let mut filled = 0;
        while filled < count {
            let part = theirs.get_mut(filled..count).unwrap_or_default();
            match rustix::io::pread(old, part, offset + filled as u64)? {
                0 => return Ok(false),
                more => filled += more,
            }
        }
        if ours.get(..count) != theirs.get(..count) {
            return Ok(false);
        }
        offset += count as u64;
    }
}
