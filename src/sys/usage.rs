//! What a tree takes on its disk, as du(1) counts it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::fs::open_dir;
use crate::error::{Context, Result};

/// So many directories are open at once; above them others are opened again on the way up.
const SHALLOW: usize = 32;

/// The bytes of the blocks of `name` below `at` and of all that is in it; of what is gone, none.
/// Memory grows with the depth alone, so a file of several names is not remembered: each of them
/// has its share.
pub fn usage(at: BorrowedFd<'_>, name: impl AsRef<Path>) -> Result<u64> {
    let name = name.as_ref();
    let says = || format!("measure {name:?}");
    let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(0),
        Err(other) => return Err(other).context(says),
    };
    let mut bytes = share(&stat);
    let device = stat.st_dev;
    let Some(fd) = directory(at, name, &stat) else { return Ok(bytes) };
    let (mut dir, mut inode) = (Dir::new(fd).context(says)?, stat.st_ino);
    let mut above: Vec<(Option<Dir>, u64, i64)> = Vec::new();
    loop {
        let Some(entry) = dir.read() else {
            // One that was moved meanwhile leads nowhere: on from the next that is still open.
            loop {
                let Some((kept, number, offset)) = above.pop() else { return Ok(bytes) };
                inode = number;
                let again = || reopen(dir.fd().ok()?, number, offset);
                if let Some(parent) = kept.or_else(again) {
                    dir = parent;
                    break;
                }
            }
            continue;
        };
        let entry = entry.context(says)?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(dir.fd()?, child, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(other) => return Err(other).context(says),
        };
        bytes += share(&stat);
        let child = Path::new(std::ffi::OsStr::from_bytes(child.to_bytes()));
        if stat.st_dev == device
            && let Some(fd) = directory(dir.fd()?, child, &stat)
        {
            let parent = std::mem::replace(&mut dir, Dir::new(fd).context(says)?);
            let kept = (above.len() < SHALLOW).then_some(parent);
            above.push((kept, inode, entry.offset()));
            inode = stat.st_ino;
        }
    }
}

/// The blocks of one file, a part of them for each of its names.
#[allow(clippy::unnecessary_cast, reason = "on other machines the count has another type")]
pub fn share(stat: &Stat) -> u64 {
    let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => bytes,
        _ => bytes / (stat.st_nlink as u64).max(1),
    }
}

fn directory(at: BorrowedFd<'_>, name: &Path, stat: &Stat) -> Option<OwnedFd> {
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    // One that is gone meanwhile has nothing in it.
    is_dir.then(|| open_dir(at, name).ok())?
}

/// The directory above, read on from where it was left.
fn reopen(child: BorrowedFd<'_>, inode: u64, offset: i64) -> Option<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(child, "..", flags, Mode::empty()).ok()?;
    if rustix::fs::fstat(&parent).ok()?.st_ino != inode {
        return None;
    }
    rustix::fs::seek(&parent, SeekFrom::Start(offset.cast_unsigned())).ok()?;
    Dir::new(parent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::{random_name, remove_tree};
    use std::os::fd::AsFd;

    #[test]
    fn it_agrees_with_du() {
        let name = format!("lath-usage-{}", random_name().unwrap());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(dir.join("wide")).unwrap();
        for n in 0..2000 {
            std::fs::create_dir(dir.join(format!("wide/{n}"))).unwrap();
            std::fs::write(dir.join(format!("wide/{n}/f")), vec![b'x'; n * 7]).unwrap();
        }
        for n in 0..6 {
            std::fs::hard_link(dir.join("wide/1999/f"), dir.join(format!("link{n}"))).unwrap();
        }
        std::os::unix::fs::symlink("/", dir.join("wide/root")).unwrap();
        std::fs::File::create(dir.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        // Deeper than what is open at once, and with something behind each of its levels.
        let mut at = open_dir(rustix::fs::CWD, &dir).unwrap();
        for level in 0..300 {
            for name in ["d", "a", "z"] {
                rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
                let inside = open_dir(at.as_fd(), name).unwrap();
                crate::sys::fs::write_new(inside.as_fd(), "f", &vec![0; level * 50]).unwrap();
            }
            at = open_dir(at.as_fd(), "d").unwrap();
        }
        let du = std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(&dir).output();
        let du = String::from_utf8(du.unwrap().stdout).unwrap();
        let du: u64 = du.split_whitespace().next().unwrap().parse().unwrap();
        let temp = open_dir(rustix::fs::CWD, std::env::temp_dir()).unwrap();
        let found = usage(temp.as_fd(), &name).unwrap();
        assert!(du.abs_diff(found) <= 4096, "{found}, du {du}");
        remove_tree(temp.as_fd(), &name).unwrap();
        assert_eq!(usage(temp.as_fd(), &name).unwrap(), 0);
    }
}
