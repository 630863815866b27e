//! Files by descriptor: paths inside a root that cannot be left, durable writes, names.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::signal;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::flow::{Inflow, Outflow};

/// The kind of /proc (statfs(2)).
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Whether a file is one of the kernel's in /proc, and none that only stands there.
#[cfg(feature = "bridge")]
pub fn is_proc(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == PROC_SUPER_MAGIC)
}

/// The size of every copy buffer.
pub const BUFFER: usize = 128 << 10;

const DIR: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// Opens a directory below `at` that is no link itself.
pub fn open_dir(at: BorrowedFd<'_>, name: impl AsRef<Path>) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, name.as_ref(), DIR | OFlags::NOFOLLOW, Mode::empty())
}

/// Opens a path inside of `root`: links, absolute ones and `..` too, never lead out of it
/// (openat2(2) with RESOLVE_IN_ROOT, kernel 5.6).
pub fn open_in_root(
    root: BorrowedFd<'_>,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let path = path.as_ref();
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: a rename somewhere on the way made the kernel unsure (man 2 openat2).
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => signal_pause()?,
            Err(Errno::NOSYS) => return open_by_walk(root, path, flags | OFlags::CLOEXEC, mode),
            other => return other,
        }
    }
}

/// The same where there is no openat2: each component is opened by itself, and never a link.
fn open_by_walk(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let follow = !flags.contains(OFlags::NOFOLLOW);
    let (parent, name) = walk_in_root(root, path, follow, &mut |_, _, is_last| {
        if is_last { Ok(()) } else { Err(Errno::NOENT) }
    })?;
    rustix::fs::openat(&parent, &name, flags | OFlags::NOFOLLOW, mode)
}

fn signal_pause() -> rustix::io::Result<()> {
    if signal::interrupted().is_some() { Err(Errno::INTR) } else { Ok(()) }
}

/// Links that are followed on one way; the kernel's own limit (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// Goes along `path` inside of `root`, each component by itself, links followed in the root; gives
/// the open directory that the last component is in, and its name there (`.` for the root).
/// `missing` is called for each component that is not there, with whether it is the last: it
/// makes the directory, or leaves the last one to the caller.
pub fn resolve_in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    missing: &mut dyn FnMut(BorrowedFd<'_>, &OsStr, bool) -> Result<()>,
) -> Result<(OwnedFd, OsString)> {
    let mut failed = None;
    let found = walk_in_root(root, path, true, &mut |parent, name, is_last| {
        missing(parent, name, is_last).map_err(|error| {
            failed = Some(error);
            Errno::CANCELED
        })
    });
    match failed {
        Some(error) => Err(error),
        None => found.context(|| format!("{path:?}")),
    }
}

fn walk_in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    follow_last: bool,
    missing: &mut dyn FnMut(BorrowedFd<'_>, &OsStr, bool) -> rustix::io::Result<()>,
) -> rustix::io::Result<(OwnedFd, OsString)> {
    let mut rest = names(path);
    rest.reverse();
    let mut dirs: Vec<OwnedFd> = vec![open_dir(root, ".")?];
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let here = dirs.last().ok_or(Errno::NOENT)?;
        if name == ".." {
            if dirs.len() > 1 {
                dirs.pop();
            }
            continue;
        }
        match rustix::fs::statat(here, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat)
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
                    && (follow_last || !rest.is_empty()) =>
            {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(here, &name, Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if is_magic(here, &target)? {
                    return Err(Errno::LOOP);
                }
                if target.is_absolute() {
                    dirs.truncate(1);
                }
                rest.extend(names(&target).into_iter().rev());
                continue;
            }
            Ok(_) => {}
            Err(Errno::NOENT) => missing(here.as_fd(), &name, rest.is_empty())?,
            Err(other) => return Err(other),
        }
        if rest.is_empty() {
            return dirs.pop().map(|parent| (parent, name)).ok_or(Errno::NOENT);
        }
        let next = open_dir(here.as_fd(), &name)?;
        dirs.push(next);
    }
    dirs.pop().map(|dir| (dir, OsString::from("."))).ok_or(Errno::NOENT)
}

/// A link of /proc to what a process has open: its text is no path to go along (proc(5)). The
/// ones that are paths, such as /proc/self, are relative.
fn is_magic(dir: &OwnedFd, target: &Path) -> rustix::io::Result<bool> {
    let is_suspect = target.is_absolute() || target.as_os_str().as_bytes().contains(&b'[');
    Ok(is_suspect && rustix::fs::fstatfs(dir)?.f_type as u64 == PROC_SUPER_MAGIC)
}

fn names(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    parts.collect()
}

/// How missing directories are made.
#[derive(Clone, Copy, Debug)]
pub struct NewDir {
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

/// Makes a directory that is not there.
pub fn make_dir(parent: BorrowedFd<'_>, name: &OsStr, new: NewDir) -> Result<()> {
    let says = || format!("mkdir {name:?}");
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).context(says)?;
    let dir = open_dir(parent, name).context(says)?;
    let (uid, gid) = new.owner;
    set_owner(dir.as_fd(), uid, gid).context(says)?;
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(new.mode)).context(says)
}

/// Makes the directory `path` inside of `root` and its missing parents, and opens it. A link on
/// the way is followed in the root, also one that points at nothing yet.
pub fn make_dirs_in_root(root: BorrowedFd<'_>, path: &Path, new: NewDir) -> Result<OwnedFd> {
    match open_in_root(root, path, DIR, Mode::empty()) {
        Ok(found) => return Ok(found),
        Err(Errno::NOENT) => {}
        Err(other) => return Err(other).context(|| format!("{path:?}")),
    }
    let (parent, name) =
        resolve_in_root(root, path, &mut |parent, name, _| make_dir(parent, name, new))?;
    open_dir(parent.as_fd(), &name).context(|| format!("{path:?}"))
}

/// Changes the owner of an open file (fchown(2)).
pub fn set_owner(file: BorrowedFd<'_>, uid: u32, gid: u32) -> rustix::io::Result<()> {
    rustix::fs::fchown(
        file,
        Some(rustix::fs::Uid::from_raw(uid)),
        Some(rustix::fs::Gid::from_raw(gid)),
    )
}

/// Copies everything from one to the other; returns the bytes. Stops when the process is told to.
pub fn copy_stream(from: &mut dyn Inflow, to: &mut dyn Outflow) -> Result<u64> {
    let mut buffer = vec![0u8; BUFFER];
    let mut total = 0;
    loop {
        signal::check()?;
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause.into()),
        };
        to.write_all(buffer.get(..count).unwrap_or_default())?;
        total += count as u64;
    }
}

/// Reads a file of at most `limit` bytes; a larger one is an error.
pub fn read_bounded(file: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 4 << 10];
    loop {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(other) => return Err(other.into()),
        }
        if bytes.len() > limit {
            return Err(Error::input(format!("more than {limit} bytes")));
        }
    }
}

/// Opens and reads a small file below `at`; `None` when it does not exist.
pub fn read_small(
    at: BorrowedFd<'_>,
    path: impl AsRef<Path>,
    limit: usize,
) -> Result<Option<Vec<u8>>> {
    let path = path.as_ref();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Ok(file) => read_bounded(file, limit).map(Some).context(|| format!("read {path:?}")),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(other) => Err(other).context(|| format!("open {path:?}")),
    }
}

/// Creates a file that must not exist yet, and writes it. Not durable before a sync.
pub fn write_new(at: BorrowedFd<'_>, path: impl AsRef<Path>, bytes: &[u8]) -> Result<OwnedFd> {
    let path = path.as_ref();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(at, path, flags, Mode::from_raw_mode(0o600))
        .context(|| format!("create {path:?}"))?;
    write_all(file.as_fd(), bytes).context(|| format!("write {path:?}"))?;
    Ok(file)
}

/// Writes all bytes to a descriptor.
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Ten characters of `[0-9a-v]` that nobody can guess.
pub fn random_name() -> Result<String> {
    let bytes = random_bytes::<10>()?;
    let digit = |byte: &u8| match byte % 32 {
        digit @ 0..=9 => char::from(b'0' + digit),
        letter => char::from(b'a' + letter - 10),
    };
    Ok(bytes.iter().map(digit).collect())
}

/// `N` random bytes (getrandom(2)).
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0u8; N];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context(|| "getrandom")?;
    if got < N { Err(Error::new(Kind::System, "getrandom: too few bytes")) } else { Ok(bytes) }
}

/// Removes `name` below `at` and everything in it, by descriptors: links are removed, never
/// followed, and another file system mounted inside stops it.
pub fn remove_tree(at: BorrowedFd<'_>, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(other) => return Err(other).context(|| format!("remove {name:?}")),
    }
    let device = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .context(|| format!("stat {name:?}"))?
        .st_dev;
    remove_dir(at, name, device, 0)
}

/// Deeper than this it goes on without a descriptor and a frame a level: an image can have a tree
/// of any depth, and what cannot be removed would be in the way for ever.
const SHALLOW: usize = 32;

fn remove_dir(at: BorrowedFd<'_>, name: &Path, device: u64, depth: usize) -> Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(other) => return Err(other).context(|| format!("rmdir {name:?}")),
    }
    let (dir, _) = open_to_empty(at, name, device)?;
    if depth == SHALLOW {
        return remove_deep(at, name, dir, device);
    }
    loop {
        // Removing while reading may skip entries: so again until a pass finds none.
        let mut removed = 0usize;
        let entries = rustix::fs::Dir::read_from(&dir).context(|| format!("read {name:?}"))?;
        for entry in entries {
            let entry = entry.context(|| format!("read {name:?}"))?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let child = Path::new(OsStr::from_bytes(bytes));
            let plain = match entry.file_type() {
                FileType::Directory => false,
                _ => match rustix::fs::unlinkat(&dir, child, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => true,
                    Err(Errno::ISDIR) => false,
                    Err(other) => return Err(other).context(|| format!("remove {child:?}")),
                },
            };
            if !plain {
                remove_dir(dir.as_fd(), child, device, depth + 1)?;
            }
            removed += 1;
        }
        if removed == 0 {
            break;
        }
    }
    rmdir(at, name)
}

fn rmdir(at: BorrowedFd<'_>, name: &Path) -> Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(other) => Err(other).context(|| format!("rmdir {name:?}")),
    }
}

fn open_to_empty(at: BorrowedFd<'_>, name: &Path, device: u64) -> Result<(OwnedFd, Stat)> {
    let dir = open_dir(at, name).context(|| format!("open {name:?}"))?;
    let stat = rustix::fs::fstat(&dir).context(|| format!("stat {name:?}"))?;
    if stat.st_dev == device {
        return Ok((dir, stat));
    }
    Err(Error::new(Kind::Conflict, format!("{name:?} has something mounted in it")))
}

/// Removes the open directory `name` of `at` with one descriptor for all depths: it goes back by
/// `..`, which must be where it came from.
fn remove_deep(at: BorrowedFd<'_>, name: &Path, mut dir: OwnedFd, device: u64) -> Result<()> {
    let mut above: Vec<(OsString, u64)> = Vec::new();
    loop {
        if let Some(child) = empty_but_for_directories(dir.as_fd())? {
            let inode = rustix::fs::fstat(&dir)?.st_ino;
            (dir, _) = open_to_empty(dir.as_fd(), Path::new(&child), device)?;
            above.push((child, inode));
            continue;
        }
        let Some((child, inode)) = above.pop() else { break };
        let parent = rustix::fs::openat(&dir, "..", DIR, Mode::empty())?;
        if rustix::fs::fstat(&parent)?.st_ino != inode {
            let text = format!("{child:?} was moved while it was removed");
            return Err(Error::new(Kind::Conflict, text));
        }
        rmdir(parent.as_fd(), Path::new(&child))?;
        dir = parent;
    }
    rmdir(at, name)
}

/// Removes what is in a directory up to the first directory that is not empty; gives that.
fn empty_but_for_directories(dir: BorrowedFd<'_>) -> Result<Option<OsString>> {
    loop {
        let mut removed = 0usize;
        for entry in rustix::fs::Dir::read_from(dir).context(|| "read a directory")? {
            let entry = entry.context(|| "read a directory")?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let child = OsStr::from_bytes(bytes);
            let says = || format!("remove {child:?}");
            match rustix::fs::unlinkat(dir, child, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    match rustix::fs::unlinkat(dir, child, AtFlags::REMOVEDIR) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(child.to_owned())),
                        Err(other) => return Err(other).context(says),
                    }
                }
                Err(other) => return Err(other).context(says),
            }
            removed += 1;
        }
        if removed == 0 {
            return Ok(None);
        }
    }
}

/// Twelve hex digits that nobody can guess: a container's id.
pub fn random_id() -> Result<String> {
    Ok(random_bytes::<6>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives an open directory the times again that it had (futimens(2)).
pub fn put_times_back(dir: BorrowedFd<'_>, before: &Stat) -> rustix::io::Result<()> {
    let time = |tv_sec: i64, tv_nsec: i64| Timespec { tv_sec, tv_nsec };
    // Nanoseconds have another type on 32-bit machines.
    let times = Timestamps {
        last_access: time(before.st_atime, i64::try_from(before.st_atime_nsec).unwrap_or(0)),
        last_modification: time(before.st_mtime, i64::try_from(before.st_mtime_nsec).unwrap_or(0)),
    };
    rustix::fs::futimens(dir, &times)
}

/// The time now: seconds since 1970 and nanoseconds.
pub fn now() -> (i64, u32) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (std::path::PathBuf, OwnedFd) {
        let dir = std::env::temp_dir().join(format!("lath-fs-{}", random_name().unwrap()));
        std::fs::create_dir(&dir).unwrap();
        let fd = rustix::fs::open(&dir, DIR, Mode::empty()).unwrap();
        (dir, fd)
    }

    #[test]
    fn links_do_not_lead_out_of_the_root() {
        let (dir, root) = scratch();
        std::fs::create_dir(dir.join("etc")).unwrap();
        std::fs::write(dir.join("etc/hostname"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("abs")).unwrap();
        std::os::unix::fs::symlink("../../../../etc", dir.join("up")).unwrap();
        for path in ["abs/hostname", "up/hostname", "../../etc/hostname", "/etc/hostname"] {
            let one = open_in_root(root.as_fd(), path, OFlags::RDONLY, Mode::empty());
            let other = open_by_walk(root.as_fd(), Path::new(path), OFlags::RDONLY, Mode::empty());
            for file in [one, other] {
                assert_eq!(read_bounded(file.unwrap(), 100).unwrap(), b"inside", "{path}");
            }
        }
        // Both give the same where something is not as it should be.
        std::os::unix::fs::symlink("self", dir.join("self")).unwrap();
        std::os::unix::fs::symlink("nothing", dir.join("dangles")).unwrap();
        for (path, flags) in [
            ("self", OFlags::RDONLY),
            ("dangles", OFlags::RDONLY),
            ("etc/none", OFlags::RDONLY),
            ("none/none", OFlags::RDONLY),
            ("etc/hostname/x", OFlags::RDONLY),
            ("etc/hostname", OFlags::DIRECTORY),
            ("abs", OFlags::RDONLY | OFlags::NOFOLLOW),
        ] {
            let one = open_in_root(root.as_fd(), path, flags, Mode::empty()).unwrap_err();
            let other = open_by_walk(root.as_fd(), Path::new(path), flags, Mode::empty());
            assert_eq!(one, other.unwrap_err(), "{path}");
        }
        for path in ["", "/", ".", "..", "abs"] {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY;
            open_in_root(root.as_fd(), path, flags, Mode::empty()).expect(path);
            open_by_walk(root.as_fd(), Path::new(path), flags, Mode::empty()).expect(path);
        }
        let new = NewDir { mode: 0o750, owner: (7, 8) };
        make_dirs_in_root(root.as_fd(), Path::new("/abs/new/deep"), new).unwrap();
        assert!(dir.join("etc/new/deep").is_dir());
        std::os::unix::fs::symlink("../../../made/by", dir.join("dangling")).unwrap();
        make_dirs_in_root(root.as_fd(), Path::new("/dangling/link"), new).unwrap();
        assert!(dir.join("made/by/link").is_dir());
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        assert!(make_dirs_in_root(root.as_fd(), Path::new("/loop/x"), new).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_tree_is_removed_and_links_in_it_are_not_followed() {
        let (dir, root) = scratch();
        let (outside, _) = scratch();
        std::fs::write(outside.join("canary"), "x").unwrap();
        std::fs::create_dir_all(dir.join("t/a/b")).unwrap();
        for n in 0..300 {
            std::fs::write(dir.join(format!("t/a/{n}")), "").unwrap();
        }
        std::os::unix::fs::symlink(&outside, dir.join("t/a/link")).unwrap();
        remove_tree(root.as_fd(), "t").unwrap();
        assert!(!dir.join("t").exists());
        assert!(outside.join("canary").exists());
        remove_tree(root.as_fd(), "t").unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        std::fs::remove_dir_all(outside).unwrap();
    }

    #[test]
    fn a_tree_is_removed_however_deep_it_is() {
        let (dir, root) = scratch();
        let new = NewDir { mode: 0o700, owner: (0, 0) };
        rustix::fs::mkdirat(&root, "t", Mode::RWXU).unwrap();
        let mut at = open_dir(root.as_fd(), "t").unwrap();
        for level in 0..5000 {
            write_new(at.as_fd(), "f", b"").unwrap();
            if level % 50 == 0 {
                make_dir(at.as_fd(), OsStr::new("side"), new).unwrap();
                make_dir(at.as_fd(), OsStr::new("wide"), new).unwrap();
                write_new(open_dir(at.as_fd(), "wide").unwrap().as_fd(), "f", b"").unwrap();
            }
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open_dir(at.as_fd(), "d").unwrap();
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert!(limit.current.is_none_or(|limit| limit < 1 << 20));
        remove_tree(root.as_fd(), "t").unwrap();
        assert!(std::fs::read_dir(&dir).unwrap().next().is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_over_its_limit_is_refused() {
        let (dir, root) = scratch();
        write_new(root.as_fd(), "f", &[b'x'; 100]).unwrap();
        assert!(read_small(root.as_fd(), "f", 99).is_err());
        assert_eq!(read_small(root.as_fd(), "f", 100).unwrap().unwrap().len(), 100);
        assert!(read_small(root.as_fd(), "nothing", 1).unwrap().is_none());
        assert!(write_new(root.as_fd(), "f", b"").is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
