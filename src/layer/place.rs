//! Where in a tree an entry goes: a chain of open directories from the root to it.
//!
//! Every component is opened by itself and never through a link; links are followed here, in the
//! root, so nothing outside can be reached whatever the tree holds. The tree is an upper layer
//! with, maybe, a merged view below: a directory that only the view has is copied up when it is
//! needed. Neighbouring entries share the open directories, and a directory's modification time
//! is put back when the chain leaves it, so no list of directories is kept.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Stat, Timespec};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Context, Error, Result};
use crate::layer::entry::{Attributes, show};
use crate::layer::marks::Form;
use crate::layer::node;
use crate::layer::walk::{DIRECTORY, is_whiteout};

/// Directories of the chain that are open at once; the others are opened again when needed.
const OPEN: usize = 32;
/// As the kernel has it (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// One directory of the chain, open. At least one of the two is there.
struct Open {
    upper: Option<OwnedFd>,
    below: Option<OwnedFd>,
    /// The modification time to put back, once something in the directory was changed.
    mtime: Option<Timespec>,
}

struct Frame {
    name: Vec<u8>,
    has_upper: bool,
    has_below: bool,
    open: Option<Open>,
}

/// A chain of directories.
pub struct Place {
    frames: Vec<Frame>,
    missing: Missing,
    form: Form,
    /// The newest time of a directory that is made on the way.
    pub newest: Option<i64>,
}

/// What is done about directories that are missing on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: the place is not found.
    Report,
    /// They are made, with time 0: a layer is the same whenever it is unpacked.
    Make,
    /// They are made, with the time that it is.
    MakeNow,
}

/// What the next component of a path is.
enum Step {
    Directory(Open),
    Link(Vec<u8>),
    Missing,
}

impl Place {
    /// The root of the tree `upper` over the view `below`.
    pub fn new(
        upper: BorrowedFd<'_>,
        below: Option<BorrowedFd<'_>>,
        missing: Missing,
        form: Form,
    ) -> Result<Place> {
        let own = |fd| rustix::fs::openat(fd, ".", DIRECTORY, rustix::fs::Mode::empty());
        let below = below.map(own).transpose()?;
        let open = Open { upper: Some(own(upper)?), below, mtime: None };
        let has_below = open.below.is_some();
        let root = Frame { name: Vec::new(), has_upper: true, has_below, open: Some(open) };
        Ok(Place { frames: vec![root], missing, form, newest: None })
    }

    /// Goes to the directory that `parts` name from the root on. False when it is not there.
    pub fn enter(&mut self, parts: &[&[u8]]) -> Result<bool> {
        let common = parts
            .iter()
            .zip(self.frames.iter().skip(1))
            .take_while(|(part, frame)| **part == frame.name)
            .count();
        self.leave_to(common)?;
        let mut todo: Vec<Vec<u8>> =
            parts.iter().skip(common).rev().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                // The names of entries have none, so a link has led here. In a layer that is an
                // attack, and refused as docker does; an absolute target stays in the root, and so
                // does all that a user adds.
                let depth = match self.depth().checked_sub(1) {
                    Some(depth) => depth,
                    None if self.missing == Missing::Make => {
                        let path = show(&parts.join(&b'/'));
                        return Err(Error::input(format!("{path}: a link leads out of the root")));
                    }
                    None => 0,
                };
                self.leave_to(depth)?;
                continue;
            }
            match self.step(&part).context(|| show(&self.path(&part)))? {
                Step::Directory(open) => self.push(part, open)?,
                Step::Missing => return Ok(false),
                Step::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        let path = show(&self.path(&part));
                        return Err(Error::input(format!("{path}: too many symbolic links")));
                    }
                    if target.first() == Some(&b'/') {
                        self.leave_to(0)?;
                    }
                    let parts = target.split(|byte| *byte == b'/');
                    let parts = parts.filter(|part| !matches!(*part, b"" | b"."));
                    todo.extend(parts.rev().map(<[u8]>::to_vec));
                }
            }
        }
        Ok(true)
    }

    /// Puts back the modification times of all directories that were changed.
    pub fn finish(mut self) -> Result<()> {
        self.leave_to(0)?;
        self.frames.first_mut().map_or(Ok(()), Frame::close)
    }

    /// The real path, without links, of a name in this directory.
    pub fn path(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for frame in self.frames.iter().skip(1) {
            path.extend_from_slice(&frame.name);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// How many directories below the root this one is.
    pub fn depth(&self) -> usize {
        self.frames.len().saturating_sub(1)
    }

    /// This directory in the tree, if it is there.
    pub fn upper(&self) -> Option<BorrowedFd<'_>> {
        self.open().and_then(|open| open.upper.as_ref()).map(AsFd::as_fd)
    }

    /// This directory in the view, if something of it shows through.
    pub fn below(&self) -> Option<BorrowedFd<'_>> {
        self.open().and_then(|open| open.below.as_ref()).map(AsFd::as_fd)
    }

    /// What the view has under a name in this directory.
    pub fn stat_below(&self, name: &[u8]) -> Result<Option<Stat>> {
        match self.below() {
            Some(below) => node::stat(below, name),
            None => Ok(None),
        }
    }

    /// This directory in the tree, to be changed: its modification time will be put back.
    pub fn change(&mut self) -> Result<BorrowedFd<'_>> {
        let open = self.frames.last_mut().and_then(|frame| frame.open.as_mut());
        let open = open.ok_or_else(nowhere)?;
        let upper = open.upper.as_ref().ok_or_else(nowhere)?;
        if open.mtime.is_none() {
            let stat = rustix::fs::fstat(upper)?;
            // Unsigned on some machines, signed on others, and less than a billion on all.
            let tv_nsec = stat.st_mtime_nsec as i64;
            open.mtime = Some(Timespec { tv_sec: stat.st_mtime, tv_nsec });
        }
        Ok(upper.as_fd())
    }

    /// The modification time that is set next is the one to stay.
    pub fn forget_mtime(&mut self) {
        if let Some(open) = self.frames.last_mut().and_then(|frame| frame.open.as_mut()) {
            open.mtime = None;
        }
    }

    /// Goes to the directory with this name, which is here.
    pub fn descend(&mut self, name: &[u8]) -> Result<()> {
        match self.step(name)? {
            Step::Directory(open) => self.push(name.to_vec(), open),
            Step::Link(_) | Step::Missing => Err(nowhere()),
        }
    }

    /// Nothing shows through this directory from now on.
    pub fn cover(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.has_below = false;
            if let Some(open) = &mut frame.open {
                open.below = None;
            }
        }
    }

    /// Makes the directory `name` in this one and goes there. It is opaque when it stands where
    /// something of this layer had taken the view's away; otherwise what the view has under its
    /// name shows through.
    pub fn create(&mut self, name: &[u8], opaque: bool) -> Result<()> {
        let upper = self.change()?;
        let upper = node::create_directory(upper, name)?;
        let mut below = self.open_below(name)?;
        if opaque && below.is_some() {
            self.form.set_opaque(upper.as_fd())?;
            below = None;
        }
        self.push(name.to_vec(), Open { upper: Some(upper), below, mtime: None })
    }

    fn open(&self) -> Option<&Open> {
        self.frames.last().and_then(|frame| frame.open.as_ref())
    }

    fn open_below(&self, name: &[u8]) -> Result<Option<OwnedFd>> {
        let Some(below) = self.below() else { return Ok(None) };
        match node::open_directory(below, name) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Looks for the next component, first in the tree, then in the view.
    fn step(&mut self, part: &[u8]) -> Result<Step> {
        let Some(upper) = self.upper() else {
            return self.step_below(part);
        };
        match node::open_directory(upper, part) {
            Ok(fd) => {
                let mut below = self.open_below(part)?;
                if below.is_some() && self.form.is_opaque(fd.as_fd())? {
                    below = None;
                }
                return Ok(Step::Directory(Open { upper: Some(fd), below, mtime: None }));
            }
            Err(Errno::NOENT) if self.form.hides(upper, part)? => {
                if self.missing == Missing::Report {
                    return Ok(Step::Missing);
                }
                let form = self.form;
                form.reveal(self.change()?, part)?;
                return self.implied(part, true);
            }
            Err(Errno::NOENT) => return self.step_below(part),
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
        let stat = rustix::fs::statat(upper, part, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let target = rustix::fs::readlinkat(upper, part, Vec::new())?;
            return Ok(Step::Link(target.into_bytes()));
        }
        if !is_whiteout(&stat) {
            return Err(Error::input("it is not a directory, and something is to be in it"));
        }
        if self.missing == Missing::Report {
            return Ok(Step::Missing);
        }
        rustix::fs::unlinkat(self.change()?, part, AtFlags::empty())?;
        self.implied(part, true)
    }

    fn step_below(&mut self, part: &[u8]) -> Result<Step> {
        if let Some(stat) = self.stat_below(part)? {
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::Symlink => {
                    let below = self.below().ok_or_else(nowhere)?;
                    let target = rustix::fs::readlinkat(below, part, Vec::new())?;
                    return Ok(Step::Link(target.into_bytes()));
                }
                _ => {
                    return Err(Error::input(
                        "it is not a directory, and something is to be in it",
                    ));
                }
            }
            if self.missing == Missing::Report {
                let below = self.open_below(part)?;
                return Ok(Step::Directory(Open { upper: None, below, mtime: None }));
            }
        }
        match self.missing {
            Missing::Report => Ok(Step::Missing),
            Missing::Make | Missing::MakeNow => self.implied(part, false),
        }
    }

    /// Makes a directory of which the tar says nothing: as it is in the view, or plain.
    fn implied(&mut self, part: &[u8], opaque: bool) -> Result<Step> {
        self.create(part, opaque)?;
        let frame = self.frames.pop().ok_or_else(nowhere)?;
        let open = frame.open.ok_or_else(nowhere)?;
        let upper = open.upper.as_ref().ok_or_else(nowhere)?;
        let attributes = match &open.below {
            Some(below) => attributes_of(below.as_fd())?.clamped(self.newest),
            None => {
                let mut attributes = Attributes { mode: 0o755, ..Attributes::default() };
                if self.missing == Missing::MakeNow {
                    attributes.mtime = clock_gettime(ClockId::Realtime).tv_sec;
                }
                attributes
            }
        };
        node::set_attributes(upper.as_fd(), &attributes)?;
        Ok(Step::Directory(open))
    }

    fn push(&mut self, name: Vec<u8>, open: Open) -> Result<()> {
        // The root stays open, since all others are opened again from there.
        if let Some(outer) = self.frames.len().checked_sub(OPEN).filter(|at| *at > 0)
            && let Some(outer) = self.frames.get_mut(outer)
        {
            outer.close()?;
        }
        let (has_upper, has_below) = (open.upper.is_some(), open.below.is_some());
        self.frames.push(Frame { name, has_upper, has_below, open: Some(open) });
        Ok(())
    }

    /// Leaves directories until only `depth` are left under the root.
    fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.depth() > depth {
            if let Some(mut frame) = self.frames.pop() {
                frame.close()?;
            }
        }
        self.reopen()
    }

    /// Opens the innermost directory when it is closed, from the root on.
    fn reopen(&mut self) -> Result<()> {
        if self.open().is_some() {
            return Ok(());
        }
        let root = self.frames.first().and_then(|frame| frame.open.as_ref()).ok_or_else(nowhere)?;
        let mut at: [Option<OwnedFd>; 2] = [None, None];
        let roots = [&root.upper, &root.below];
        for frame in self.frames.iter().skip(1) {
            for ((fd, root), has) in
                at.iter_mut().zip(roots).zip([frame.has_upper, frame.has_below])
            {
                let parent = fd.as_ref().or(root.as_ref()).filter(|_| has);
                *fd = parent
                    .map(|parent| node::open_directory(parent.as_fd(), &frame.name))
                    .transpose()?;
            }
        }
        let [upper, below] = at;
        if let Some(frame) = self.frames.last_mut() {
            frame.open = Some(Open { upper, below, mtime: None });
        }
        Ok(())
    }
}

impl Frame {
    fn close(&mut self) -> Result<()> {
        match self.open.take() {
            Some(Open { upper: Some(upper), mtime: Some(mtime), .. }) => {
                node::set_mtime(upper.as_fd(), mtime)
            }
            _ => Ok(()),
        }
    }
}

/// All attributes of an open directory.
pub fn attributes_of(directory: BorrowedFd<'_>) -> Result<Attributes> {
    let mut attributes = Attributes::of(&rustix::fs::fstat(directory)?);
    attributes.xattrs = node::xattrs(directory)?;
    Ok(attributes)
}

fn nowhere() -> Error {
    Error::input("the directory was taken away while something was put there")
}
