//! Walks a tree by file descriptors: depth first, names of a directory in the order of their
//! bytes, in memory that grows with neither the width nor the depth of the tree.
//!
//! A directory of more names than are kept at once is read again for the next ones. Only the
//! innermost directories are open; on the way up the others are opened again as `..` of their
//! child and compared with what they were.

use std::collections::BinaryHeap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};

use crate::error::{Context, Error, Result};
use crate::layer::entry::{OPAQUE, WHITEOUT, show};
use crate::layer::marks::Form;

/// Names of one directory that are held at once.
const NAMES: usize = if cfg!(test) { 64 } else { 4096 };
/// Directories that are open at once, with their names.
const OPEN: usize = 24;
const READ: usize = 32 << 10;

/// How a directory is opened: never through a link.
pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Something met on the way.
pub enum Visit<'a> {
    /// An entry, before what is in it.
    Enter(Found<'a>),
    /// A directory, after all that is in it.
    Leave {
        /// The open directory that it is in.
        parent: BorrowedFd<'a>,
        /// Its name there.
        name: &'a [u8],
    },
}

/// An entry of the tree.
pub struct Found<'a> {
    /// The open directory that it is in.
    pub parent: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a [u8],
    /// Its path from the root of the walk, without slashes at its ends.
    pub path: &'a [u8],
    /// What stat says of it; links are not followed.
    pub stat: Stat,
    /// The directory itself, open, when it is one.
    pub directory: Option<BorrowedFd<'a>>,
    /// Whether it is a mark for "gone"; the name is that of what is gone.
    pub whiteout: bool,
}

/// A name and where it stands among its siblings.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    key: Vec<u8>,
    whiteout: bool,
}

impl Name {
    /// The name in the view.
    fn shown(&self) -> &[u8] {
        match self.whiteout {
            true => self.key.get(WHITEOUT.len()..).unwrap_or_default(),
            false => &self.key,
        }
    }

    fn on_disk(&self, marks: Option<Form>) -> &[u8] {
        if marks == Some(Form::Names) { &self.key } else { self.shown() }
    }
}

struct Frame {
    fd: Option<OwnedFd>,
    id: (u64, u64),
    /// The length of the directory's path, and of that the part before its own name.
    path: usize,
    before: usize,
    /// The next names, the very next one last.
    names: Vec<Name>,
    last: Option<Vec<u8>>,
    /// Whether the directory has more names than were read.
    more: bool,
}

/// A walk under way.
pub struct Walk {
    frames: Vec<Frame>,
    path: Vec<u8>,
    name: Vec<u8>,
    marks: Option<Form>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Walk {
    /// A walk of what is in `root`; the root itself is not visited. With `marks`, those of a layer
    /// are seen as such, and whiteouts stand where their name in a layer tar does.
    pub fn new(root: BorrowedFd<'_>, marks: Option<Form>) -> Result<Walk> {
        let fd = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
        let mut walk = Walk {
            frames: Vec::new(),
            path: Vec::new(),
            name: Vec::new(),
            marks,
            buffer: vec![MaybeUninit::uninit(); READ],
        };
        walk.push(fd, 0)?;
        Ok(walk)
    }

    /// The next thing on the way; nothing when the root is left.
    pub fn next_visit(&mut self) -> Result<Option<Visit<'_>>> {
        let Some(name) = self.next_name()? else {
            return self.leave();
        };
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.shown());
        name.shown().clone_into(&mut self.name);
        let opened = match self.open(&name) {
            Ok(opened) => opened,
            Err(error) => return Err(error.during(show(&self.path))),
        };
        let is_directory = opened.1.is_some();
        let stat = opened.0;
        if let Some(fd) = opened.1 {
            self.push(fd, before)?;
        }
        let mut inner = self.frames.iter().rev();
        let directory = if is_directory { inner.next().and_then(Frame::fd) } else { None };
        let parent = inner.next().and_then(Frame::fd).ok_or_else(lost)?;
        let (name_, path) = (self.name.as_slice(), self.path.as_slice());
        let whiteout = name.whiteout;
        Ok(Some(Visit::Enter(Found { parent, name: name_, path, stat, directory, whiteout })))
    }

    /// Passes over what is in the directory that was entered last.
    pub fn prune(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.names.clear();
            frame.more = false;
        }
    }

    /// Takes the next name of the innermost directory, reading on when that is needed.
    fn next_name(&mut self) -> Result<Option<Name>> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        self.path.truncate(frame.path);
        if frame.names.is_empty() && frame.more {
            let marks = self.marks;
            frame.fill(&mut self.buffer, marks).context(|| show(&self.path))?;
        }
        let name = frame.names.pop();
        if let Some(name) = &name {
            frame.last = Some(name.key.clone());
        }
        Ok(name)
    }

    fn leave(&mut self) -> Result<Option<Visit<'_>>> {
        let Some(child) = self.frames.pop() else { return Ok(None) };
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        self.path.get(child.before..).unwrap_or_default().clone_into(&mut self.name);
        if self.name.first() == Some(&b'/') {
            self.name.remove(0);
        }
        self.path.truncate(child.before);
        if frame.fd.is_none() {
            let child = child.fd.ok_or_else(lost)?;
            let fd = rustix::fs::openat(&child, "..", DIRECTORY, Mode::empty())?;
            let stat = rustix::fs::fstat(&fd)?;
            if (stat.st_dev, stat.st_ino) != frame.id {
                return Err(lost());
            }
            frame.fd = Some(fd);
        }
        let parent = frame.fd().ok_or_else(lost)?;
        Ok(Some(Visit::Leave { parent, name: &self.name }))
    }

    fn open(&self, name: &Name) -> Result<(Stat, Option<OwnedFd>)> {
        let parent = self.frames.last().and_then(Frame::fd).ok_or_else(lost)?;
        let on_disk = name.on_disk(self.marks);
        let stat = rustix::fs::statat(parent, on_disk, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok((stat, None));
        }
        let fd = rustix::fs::openat(parent, on_disk, DIRECTORY, Mode::empty())?;
        Ok((rustix::fs::fstat(&fd)?, Some(fd)))
    }

    fn push(&mut self, fd: OwnedFd, before: usize) -> Result<()> {
        let stat = rustix::fs::fstat(&fd)?;
        // What the frames far up have read is read again on the way back.
        let outer = self.frames.len().checked_sub(OPEN);
        if let Some(outer) = outer.and_then(|at| self.frames.get_mut(at)) {
            outer.fd = None;
            outer.more |= !outer.names.is_empty();
            outer.names = Vec::new();
        }
        self.frames.push(Frame {
            fd: Some(fd),
            id: (stat.st_dev, stat.st_ino),
            path: self.path.len(),
            before,
            names: Vec::new(),
            last: None,
            more: true,
        });
        Ok(())
    }
}

impl Frame {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Reads the directory from its begin and keeps the smallest names after `last`.
    fn fill(&mut self, buffer: &mut [MaybeUninit<u8>], marks: Option<Form>) -> Result<()> {
        let fd = self.fd.as_ref().ok_or_else(lost)?;
        rustix::fs::seek(fd, SeekFrom::Start(0))?;
        let mut smallest: BinaryHeap<Name> = BinaryHeap::new();
        self.more = false;
        let mut entries = RawDir::new(fd, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let file_name = entry.file_name();
            let bytes = file_name.to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let may_be = matches!(entry.file_type(), FileType::CharacterDevice | FileType::Unknown);
            let whiteout = match marks {
                Some(Form::Overlay) if may_be => {
                    let stat = rustix::fs::statat(fd, file_name, AtFlags::SYMLINK_NOFOLLOW)?;
                    is_whiteout(&stat)
                }
                Some(Form::Names) if bytes == OPAQUE => continue,
                Some(Form::Names) => bytes.starts_with(WHITEOUT),
                _ => false,
            };
            let key = match whiteout && marks == Some(Form::Overlay) {
                true => [WHITEOUT, bytes].concat(),
                false => bytes.to_vec(),
            };
            if self.last.as_ref().is_some_and(|last| key <= *last) {
                continue;
            }
            smallest.push(Name { key, whiteout });
            if smallest.len() > NAMES {
                smallest.pop();
                self.more = true;
            }
        }
        self.names = smallest.into_sorted_vec();
        self.names.reverse();
        Ok(())
    }
}

/// Whether overlayfs takes this for "the name is gone": a character device 0:0.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn lost() -> Error {
    Error::input("the directory was moved away while it was read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tests::Scratch;

    fn paths(root: BorrowedFd<'_>) -> (Vec<String>, usize) {
        let mut walk = Walk::new(root, Some(Form::default())).unwrap();
        let (mut entered, mut left) = (Vec::new(), 0);
        while let Some(visit) = walk.next_visit().unwrap() {
            match visit {
                Visit::Enter(found) => {
                    assert!(found.path.ends_with(found.name));
                    entered.push(String::from_utf8_lossy(found.path).into_owned());
                }
                Visit::Leave { .. } => left += 1,
            }
        }
        (entered, left)
    }

    #[test]
    fn names_come_sorted_and_directories_before_what_is_in_them() {
        let scratch = Scratch::new();
        for path in ["b/x", "a.txt", "a/z/q", "a/y", "a-"] {
            scratch.write(path, b"");
        }
        scratch.whiteout("zz");
        let (entered, left) = paths(scratch.fd());
        assert_eq!(entered, ["zz", "a", "a/y", "a/z", "a/z/q", "a-", "a.txt", "b", "b/x"]);
        assert_eq!(left, 3);
    }

    #[test]
    fn a_directory_wider_than_what_is_held_is_read_in_passes() {
        let scratch = Scratch::new();
        for number in 0..NAMES * 2 + 10 {
            scratch.write(&format!("{number:05}"), b"");
        }
        let (entered, _) = paths(scratch.fd());
        assert_eq!(entered.len(), NAMES * 2 + 10);
        assert!(entered.is_sorted());
    }

    #[test]
    fn what_is_pruned_is_not_entered() {
        let scratch = Scratch::new();
        for path in ["a/x/y", "b/c"] {
            scratch.write(path, b"");
        }
        let mut walk = Walk::new(scratch.fd(), None).unwrap();
        let mut seen = Vec::new();
        while let Some(visit) = walk.next_visit().unwrap() {
            let Visit::Enter(found) = visit else { continue };
            seen.push(String::from_utf8_lossy(found.path).into_owned());
            if found.name == b"a" {
                walk.prune();
            }
        }
        assert_eq!(seen, ["a", "b", "b/c"]);
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_walked_with_siblings_on_the_way_up() {
        let scratch = Scratch::new();
        let mut at = scratch.fd().try_clone_to_owned().unwrap();
        let depth = 3000;
        for _ in 0..depth {
            for name in ["dd", "z"] {
                rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            }
            at = rustix::fs::openat(&at, "dd", DIRECTORY, Mode::empty()).unwrap();
        }
        let (entered, left) = paths(scratch.fd());
        assert_eq!((entered.len(), left), (2 * depth, 2 * depth));
        assert_eq!(entered.last().unwrap(), "z");
    }
}
