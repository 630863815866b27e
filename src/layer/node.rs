//! One node of a tree on disk: its attributes read and set, made new, taken away.
//!
//! Always by the open directory and one name in it, never through a link.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::layer::entry::{Attributes, MODE_BITS, Xattr, holds_xattr, show};
use crate::layer::walk::{DIRECTORY, Visit, Walk};
use crate::sort::sort;
use crate::sys::copy::copy_data;

/// Opens a directory by its name in another, not through a link.
pub fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
}

/// Opens a regular file for reading, not through a link, and without waiting for a pipe.
pub fn open_file(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::input("it is not a regular file any more"));
    }
    Ok(fd)
}

/// Whether a directory has this name.
pub fn exists(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    Ok(stat(parent, name)?.is_some())
}

/// What stat says of a name; nothing when it is not there. Links are not followed.
pub fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => Ok(Some(stat?)),
    }
}

/// Calls `each` with all names of a directory, in no order.
pub fn names(directory: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let own = open_directory(directory, b".")?;
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(own, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => each(name)?,
        }
    }
    Ok(())
}

/// The extended attributes of an open file that a layer holds, sorted.
pub fn xattrs(fd: BorrowedFd<'_>) -> Result<Vec<Xattr>> {
    let mut kept = Vec::new();
    let names = xattr_names(fd)?;
    for name in names.split(|byte| *byte == 0) {
        // A directory that overlayfs moved has its content elsewhere: its tar would be a lie.
        if name.ends_with(b".overlay.redirect") || name.ends_with(b".overlay.metacopy") {
            return Err(Error::corrupt(format!("the mark {} of overlayfs is on it", show(name))));
        }
        if holds_xattr(name)
            && let Some(value) = xattr(fd, name)?
        {
            kept.push(Xattr { name: name.to_vec(), value });
        }
    }
    sort(&mut kept);
    Ok(kept)
}

fn xattr_names(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    loop {
        let size = match rustix::fs::flistxattr_query(fd) {
            Err(Errno::OPNOTSUPP) => 0,
            size => size?,
        };
        let mut names = vec![0; size];
        if size > 0 {
            match rustix::fs::flistxattr(fd, names.as_mut_slice()) {
                Err(Errno::RANGE) => continue,
                length => names.truncate(length?),
            }
        }
        return Ok(names);
    }
}

/// The value of an extended attribute, where there is one.
pub fn xattr(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    loop {
        let size = match rustix::fs::fgetxattr_query(fd, name) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            size => size?,
        };
        let mut value = vec![0; size];
        match rustix::fs::fgetxattr(fd, name, value.as_mut_slice()) {
            Err(Errno::RANGE) => continue,
            length => value.truncate(length?),
        }
        return Ok(Some(value));
    }
}

/// Takes the extended attributes away that a layer holds, but for those to be kept.
pub fn drop_xattrs(fd: BorrowedFd<'_>, kept: &[Xattr]) -> Result<()> {
    for Xattr { name, .. } in xattrs(fd)? {
        if !kept.iter().any(|xattr| xattr.name == name) {
            rustix::fs::fremovexattr(fd, name.as_slice())?;
        }
    }
    Ok(())
}

/// Sets the attributes of an open file or directory; what is so already is not touched, since a
/// change of the owner takes capabilities away.
pub fn set_attributes(fd: BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    if (stat.st_uid, stat.st_gid) != (attributes.uid, attributes.gid) {
        rustix::fs::fchown(fd, Some(uid(attributes.uid)), Some(gid(attributes.gid)))?;
    }
    for Xattr { name, value } in &attributes.xattrs {
        if xattr(fd, name)?.as_ref() == Some(value) {
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            // What a small file system cannot hold is no reason to fail; a tar keeps it.
            Err(Errno::OPNOTSUPP) => {}
            set => set
                .context(|| format!("set the attribute {} of {} bytes", show(name), value.len()))?,
        }
    }
    let stat = rustix::fs::fstat(fd)?;
    if stat.st_mode & MODE_BITS != attributes.mode & MODE_BITS {
        rustix::fs::fchmod(fd, Mode::from_raw_mode(attributes.mode & MODE_BITS))?;
    }
    Ok(rustix::fs::futimens(fd, &times(attributes))?)
}

/// Sets the attributes of something that cannot be opened: a link, a device or a pipe that this
/// process has just made, or knows not to be a regular file or directory.
pub fn set_attributes_at(
    parent: BorrowedFd<'_>,
    name: &[u8],
    attributes: &Attributes,
    is_link: bool,
) -> Result<()> {
    let (owner, group) = (uid(attributes.uid), gid(attributes.gid));
    rustix::fs::chownat(parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    if !is_link {
        let mode = Mode::from_raw_mode(attributes.mode & MODE_BITS);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    }
    let times = times(attributes);
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn uid(raw: u32) -> Uid {
    Uid::from_raw(raw)
}

fn gid(raw: u32) -> Gid {
    Gid::from_raw(raw)
}

/// Access and modification time as one: a tar knows only the latter.
fn times(attributes: &Attributes) -> Timestamps {
    let time = Timespec { tv_sec: attributes.mtime, tv_nsec: attributes.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Puts the modification time of a directory back.
pub fn set_mtime(directory: BorrowedFd<'_>, mtime: Timespec) -> Result<()> {
    let keep = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let times = Timestamps { last_access: keep, last_modification: mtime };
    Ok(rustix::fs::futimens(directory, &times)?)
}

/// Makes a file that is not there yet.
pub fn create_file(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Makes a directory that is not there yet, and opens it.
pub fn create_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    Ok(open_directory(parent, name)?)
}

/// Makes a copy, with the attributes that a layer holds, of a node that is no directory.
pub fn copy(
    from: BorrowedFd<'_>,
    from_name: &[u8],
    to: BorrowedFd<'_>,
    to_name: &[u8],
) -> Result<()> {
    let stat = rustix::fs::statat(from, from_name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut attributes = Attributes::of(&stat);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let source = open_file(from, from_name)?;
            attributes.xattrs = xattrs(source.as_fd())?;
            let target = create_file(to, to_name)?;
            copy_data(source.as_fd(), target.as_fd(), &mut |_| Ok(()))?;
            set_attributes(target.as_fd(), &attributes)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, from_name, Vec::new())?;
            rustix::fs::symlinkat(target, to, to_name)?;
            set_attributes_at(to, to_name, &attributes, true)
        }
        kind @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo) => {
            rustix::fs::mknodat(to, to_name, kind, Mode::empty(), stat.st_rdev)?;
            set_attributes_at(to, to_name, &attributes, false)
        }
        _ => Err(Error::new(Kind::Unsupported, "copy this kind of file")),
    }
}

/// Sees a regular file before it is removed: its directory, its name there, and its path from
/// the removed name on.
pub type Before<'a> = dyn FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<()> + 'a;

/// Takes away whatever has this name, with all that is in it. `each` sees every regular file
/// first, and may move it.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8], each: &mut Before<'_>) -> Result<()> {
    let Some(stat) = stat(parent, name)? else { return Ok(()) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let directory = open_directory(parent, name)?;
            let mut walk = Walk::new(directory.as_fd(), None)?;
            while let Some(visit) = walk.next_visit()? {
                match visit {
                    Visit::Enter(found) if found.directory.is_none() => {
                        if FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile {
                            each(found.parent, found.name, &[b"/", found.path].concat())?;
                        }
                        unlink(found.parent, found.name)?;
                    }
                    Visit::Enter(_) => {}
                    Visit::Leave { parent, name } => {
                        rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
                    }
                }
            }
            Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
        }
        FileType::RegularFile => {
            each(parent, name, b"")?;
            unlink(parent, name)
        }
        _ => unlink(parent, name),
    }
}

fn unlink(parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}
