//! Makes an upper directory canonical: it keeps what differs from below as a tar would show it,
//! and the parents of that. A file that was only opened for writing, a directory that was only
//! copied up, a whiteout of nothing are dropped, so that every driver gives the same layer.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::compare::{clamp, same_entry};
use crate::error::{Context, Error, Result};
use crate::layer::walk::is_whiteout;
use crate::sys::fs::{open_dir, put_times_back};
use crate::sys::signal;

const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// Deeper trees than a path can name (PATH_MAX) are only made on purpose, and each level costs
/// a frame and some descriptors, of which a process usually has 1024.
const MAX_DEPTH: usize = 300;

/// Settles an upper directory over the layers below it, highest first. Times of what stays are
/// `newest` (seconds since 1970) at most. Whether nothing is left.
pub fn settle(
    upper: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    newest: Option<i64>,
) -> Result<bool> {
    settle_dir(upper, lowers, newest, 0)
}

fn settle_dir(
    upper: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    newest: Option<i64>,
    depth: usize,
) -> Result<bool> {
    if depth > MAX_DEPTH {
        let text = format!("the step has made more than {MAX_DEPTH} directories in each other");
        return Err(Error::input(text));
    }
    let before = rustix::fs::fstat(upper).context(|| "stat")?;
    let mut kept = 0usize;
    let mut dropped = 0usize;
    // Removing what was just read is safe: each other entry is still read once.
    for entry in Dir::read_from(upper).context(|| "read a directory")? {
        signal::check()?;
        let entry = entry.context(|| "read a directory")?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match settle_entry(upper, name, lowers, newest, depth) {
            Ok(true) => kept += 1,
            Ok(false) => dropped += 1,
            // The names on the way to the place, as far as anybody would read.
            Err(error) if depth > 8 => return Err(error),
            Err(error) => return Err(error.during(format!("{:?}", name.to_string_lossy()))),
        }
    }
    if dropped > 0 {
        put_times_back(upper, &before).context(|| "set times")?;
    }
    Ok(kept == 0)
}

/// Whether the entry stays.
fn settle_entry(
    upper: BorrowedFd<'_>,
    name: &CStr,
    lowers: &[BorrowedFd<'_>],
    newest: Option<i64>,
    depth: usize,
) -> Result<bool> {
    let stat = stat_at(upper, name)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let below = find_below(lowers, name)?;
    if is_whiteout(&stat) {
        if below.is_none() {
            rustix::fs::unlinkat(upper, name, AtFlags::empty())?;
        }
        return Ok(below.is_some());
    }
    if kind != FileType::Directory {
        let same = match &below {
            // Another name for the same file is a change that this one does not show.
            Some((at, found)) if stat.st_nlink == 1 => {
                same_entry(upper, *at, name.to_bytes(), &stat, found)?
            }
            _ => false,
        };
        if same {
            rustix::fs::unlinkat(upper, name, AtFlags::empty())?;
        } else {
            clamp(upper, name.to_bytes(), &stat, newest)?;
        }
        return Ok(!same);
    }
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let dir = open_dir(upper, path)?;
    let covered = below
        .as_ref()
        .is_some_and(|(_, found)| FileType::from_raw_mode(found.st_mode) == FileType::Directory);
    let is_opaque = is_opaque(dir.as_fd());
    if is_opaque && !covered {
        // A new directory in an old one is marked by overlayfs although it hides nothing.
        rustix::fs::fremovexattr(&dir, OPAQUE).context(|| "remove the opaque mark")?;
    }
    let inner = if is_opaque { Vec::new() } else { open_below(lowers, name)? };
    let inner: Vec<BorrowedFd<'_>> = inner.iter().map(AsFd::as_fd).collect();
    let is_empty = settle_dir(dir.as_fd(), &inner, newest, depth + 1)?;
    if is_empty
        && covered
        && !is_opaque
        && let Some((at, found)) = &below
        && same_entry(upper, *at, name.to_bytes(), &stat, found)?
    {
        drop(dir);
        rustix::fs::unlinkat(upper, name, AtFlags::REMOVEDIR)?;
        return Ok(false);
    }
    clamp(upper, name.to_bytes(), &stat, newest)?;
    Ok(true)
}

fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Stat> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let mut value = [0u8; 2];
    let count = rustix::fs::fgetxattr(dir, OPAQUE, &mut value[..]).unwrap_or(0);
    value.first() == Some(&b'y') && count == 1
}

/// What the layers below show under a name, and the directory that has it.
fn find_below<'a>(
    lowers: &[BorrowedFd<'a>],
    name: &CStr,
) -> Result<Option<(BorrowedFd<'a>, Stat)>> {
    for lower in lowers {
        match stat_at(*lower, name) {
            Ok(stat) if is_whiteout(&stat) => return Ok(None),
            Ok(stat) => return Ok(Some((*lower, stat))),
            Err(Errno::NOENT) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(None)
}

/// The directories below that are merged under a name.
fn open_below(lowers: &[BorrowedFd<'_>], name: &CStr) -> Result<Vec<OwnedFd>> {
    let mut dirs = Vec::new();
    for lower in lowers {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(*lower, name, flags, Mode::empty()) {
            Ok(dir) => {
                let ends = is_opaque(dir.as_fd());
                dirs.push(dir);
                if ends {
                    break;
                }
            }
            Err(Errno::NOENT) => {}
            // Something else, or a whiteout: it hides what is further below.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => break,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mount::{Overlay, overlay};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
    use std::path::{Path, PathBuf};

    struct Scene {
        dir: PathBuf,
        newest: Option<i64>,
    }

    impl Scene {
        fn new() -> Scene {
            let name = format!("lath-settle-{}", crate::sys::fs::random_name().unwrap());
            let dir = std::env::temp_dir().join(name);
            for part in ["low", "mid", "up", "work"] {
                std::fs::create_dir_all(dir.join(part)).unwrap();
            }
            Scene { dir, newest: None }
        }

        fn open(&self, part: &str) -> std::fs::File {
            std::fs::File::open(self.dir.join(part)).unwrap()
        }

        /// Changes files through a real overlay, then settles its upper directory; gives what is
        /// left in it.
        fn change(&self, change: &dyn Fn(&Path)) -> Vec<String> {
            let (low, mid) = (self.open("low"), self.open("mid"));
            let (up, work) = (self.open("up"), self.open("work"));
            let lowers = [mid.as_fd(), low.as_fd()];
            let writable = Some((up.as_fd(), work.as_fd()));
            let mounted =
                overlay(&Overlay { lowers: &lowers, writable, is_volatile: true }).unwrap();
            change(Path::new(&crate::sys::mount::fd_path(mounted.as_fd())));
            drop(mounted);
            let is_empty = settle(up.as_fd(), &lowers, self.newest).unwrap();
            let mut left = Vec::new();
            list(&self.dir.join("up"), "", &mut left);
            left.sort_unstable();
            assert_eq!(is_empty, left.is_empty());
            left
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn list(dir: &Path, before: &str, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{before}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                list(&entry.path(), &format!("{path}/"), into);
                into.push(format!("{path}/"));
            } else {
                into.push(path);
            }
        }
    }

    fn lower(scene: &Scene) {
        std::fs::create_dir_all(scene.dir.join("low/etc/deep")).unwrap();
        std::fs::write(scene.dir.join("low/etc/file"), "old").unwrap();
        std::fs::write(scene.dir.join("low/etc/deep/other"), "old").unwrap();
        std::fs::create_dir_all(scene.dir.join("mid/etc")).unwrap();
        std::fs::write(scene.dir.join("mid/etc/file"), "mid").unwrap();
        symlink("file", scene.dir.join("low/etc/link")).unwrap();
    }

    #[test]
    fn what_was_only_touched_and_put_back_is_dropped() {
        let scene = Scene::new();
        lower(&scene);
        let before = std::fs::metadata(scene.dir.join("low/etc/deep")).unwrap();
        let left = scene.change(&|root| {
            // Opened for writing: overlayfs copies it up.
            for path in ["etc/file", "etc/deep/other"] {
                std::fs::OpenOptions::new().append(true).open(root.join(path)).unwrap();
            }
            std::fs::set_permissions(root.join("etc/deep"), before.permissions()).unwrap();
        });
        assert_eq!(left, [""; 0]);
    }

    #[test]
    fn a_change_stays_with_its_parents_and_their_times() {
        let scene = Scene::new();
        lower(&scene);
        let time = std::fs::metadata(scene.dir.join("low/etc/deep")).unwrap().mtime();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let left = scene.change(&|root| {
            std::fs::OpenOptions::new().append(true).open(root.join("etc/file")).unwrap();
            std::fs::write(root.join("etc/deep/other"), "new").unwrap();
        });
        assert_eq!(left, ["etc/", "etc/deep/", "etc/deep/other"]);
        assert_eq!(std::fs::metadata(scene.dir.join("up/etc/deep")).unwrap().mtime(), time);
    }

    #[test]
    fn same_size_and_time_but_other_bytes_is_a_change() {
        let scene = Scene::new();
        lower(&scene);
        let left = scene.change(&|root| {
            let path = root.join("etc/file");
            let time = std::fs::metadata(&path).unwrap().modified().unwrap();
            std::fs::write(&path, "mix").unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        });
        assert_eq!(left, ["etc/", "etc/file"]);
    }

    #[test]
    fn removals_are_whiteouts_and_only_where_something_was() {
        let scene = Scene::new();
        lower(&scene);
        let left = scene.change(&|root| {
            std::fs::remove_file(root.join("etc/file")).unwrap();
            std::fs::write(root.join("etc/brief"), "").unwrap();
            std::fs::remove_file(root.join("etc/brief")).unwrap();
            std::fs::create_dir(root.join("new")).unwrap();
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(root.join("new/file"))
                .unwrap();
        });
        assert_eq!(left, ["etc/", "etc/file", "new/", "new/file"]);
        let gone = std::fs::symlink_metadata(scene.dir.join("up/etc/file")).unwrap();
        assert_eq!(gone.rdev(), 0);
        // A directory that hides nothing is not marked.
        let new = scene.open("up/new");
        assert!(!is_opaque(new.as_fd()));
    }

    #[test]
    fn a_directory_made_anew_hides_the_old_one() {
        let scene = Scene::new();
        lower(&scene);
        let left = scene.change(&|root| {
            std::fs::remove_dir_all(root.join("etc")).unwrap();
            std::fs::create_dir(root.join("etc")).unwrap();
        });
        assert_eq!(left, ["etc/"]);
        let etc = scene.open("up/etc");
        assert!(is_opaque(etc.as_fd()));
    }

    #[test]
    fn a_second_name_of_an_old_file_brings_the_first_along() {
        let scene = Scene::new();
        lower(&scene);
        let left = scene.change(&|root| {
            std::fs::hard_link(root.join("etc/file"), root.join("etc/twin")).unwrap();
        });
        assert_eq!(left, ["etc/", "etc/file", "etc/twin"]);
    }

    #[test]
    fn times_are_taken_back_to_the_newest_that_is_allowed() {
        let mut scene = Scene::new();
        lower(&scene);
        scene.newest = Some(1_000_000_000);
        let left = scene.change(&|root| {
            std::fs::write(root.join("etc/deep/new"), "x").unwrap();
            symlink("x", root.join("etc/deep/link")).unwrap();
        });
        assert_eq!(left, ["etc/", "etc/deep/", "etc/deep/link", "etc/deep/new"]);
        for path in ["etc", "etc/deep", "etc/deep/link", "etc/deep/new"] {
            let stat = std::fs::symlink_metadata(scene.dir.join("up").join(path)).unwrap();
            assert_eq!(stat.mtime(), 1_000_000_000, "{path}");
        }
    }
}
