//! A foreign layer's tar -> a layer's tree.
//!
//! Entries are taken one after the other: a later one replaces an earlier one, a directory over
//! a directory changes its attributes. Whiteouts become marks, and only where there is something
//! below to be hidden. Source: OCI image-spec, layer.md; where it is silent, what
//! docker does.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::layer::entry::{
    Attributes, Entry, Node, OPAQUE, WHITEOUT, clamped_components, components, show,
};
use crate::layer::marks::Form;
use crate::layer::node;
use crate::layer::place::{Missing, Place, attributes_of};
use crate::layer::reader::Reader;
use crate::layer::recipe::{Recipe, kept_name};
use crate::layer::walk::is_whiteout;
use crate::sys::copy::copy_data;
use crate::sys::flow::{Inflow, Outflow};
use crate::sys::fs::{copy_stream, random_name};
use crate::sys::signal;

const BUFFER: usize = 256 << 10;

/// What came out of a tar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries, whiteouts and marks included.
    pub entries: u64,
    /// Bytes of regular files.
    pub file_bytes: u64,
    /// Files that a later entry replaced and that were moved to the directory of kept ones.
    pub kept: u64,
}

/// What is written so that `replay` can give the tar back.
pub struct Record<'a> {
    /// Gets the recipe.
    pub recipe: &'a mut dyn Outflow,
    /// An empty directory on the same file system; gets the files that later entries replace.
    pub kept: BorrowedFd<'a>,
}

/// Unpacks a layer's tar, decompressed already, into the empty directory `into`, as the upper
/// layer of the merged view `below` (of nothing, for the lowest layer), with marks of the form.
/// Reads `tar` to its end.
pub fn unpack(
    tar: &mut dyn Inflow,
    into: BorrowedFd<'_>,
    below: Option<BorrowedFd<'_>>,
    form: Form,
    record: Option<Record<'_>>,
) -> Result<Unpacked> {
    // Overlayfs shows the root of the highest layer, so it is as below until the tar says more.
    // A mount that is attached nowhere comes as a descriptor of O_PATH: opened again to be read.
    let root = match below {
        Some(below) => attributes_of(node::open_directory(below, b".")?.as_fd())?,
        None => Attributes { mode: 0o755, ..Attributes::default() },
    };
    node::set_attributes(node::open_directory(into, b".")?.as_fd(), &root)?;
    let (recipe, kept) = match record {
        Some(record) => (Some(Recipe::new(record.recipe)?), Some(record.kept)),
        None => (None, None),
    };
    let rules = Rules { form, ..Rules::layer(Rc::new([])) };
    Unpacker::new(into, below, kept, rules)?.run(Reader::new(tar, recipe))
}

/// Unpacks a tar that a user adds, decompressed already, into the directory `dest` of the tree
/// `root`: links on the way are followed inside the root, missing directories are made (with
/// `owner`, if there is one, as all entries), and names of whiteouts are names like others.
pub fn unpack_into(
    tar: &mut dyn Inflow,
    root: BorrowedFd<'_>,
    dest: &str,
    owner: Option<(u32, u32)>,
) -> Result<Unpacked> {
    let under = clamped_components(dest.as_bytes()).into_iter().map(<[u8]>::to_vec).collect();
    let rules = Rules { is_layer: false, owner, ..Rules::layer(under) };
    let mut unpacker = Unpacker::new(root, None, None, rules)?;
    unpacker.make_destination()?;
    let unpacked = unpacker.run(Reader::new(tar, None))?;
    // What checks the whole of a compressed file stands at its end, behind that of the tar.
    copy_stream(tar, &mut std::io::sink())?;
    Ok(unpacked)
}

/// What is different between a layer, a tar that a user adds, and a whole tree.
pub(super) struct Rules {
    pub(super) is_layer: bool,
    /// The directory into which it goes.
    pub(super) under: Rc<[Vec<u8>]>,
    pub(super) owner: Option<(u32, u32)>,
    /// Files are written beside their place and then renamed.
    pub(super) is_over: bool,
    /// A directory is not replaced by something else, nor the other way round.
    pub(super) keeps_kinds: bool,
    pub(super) form: Form,
    pub(super) way: Way,
    /// The newest time of directories of which nothing is said.
    pub(super) newest: Option<i64>,
}

/// What is done about a mark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is kept where there is something to be hidden.
    Hide,
    /// It is kept.
    Keep,
    /// What it hides goes.
    Merge,
}

impl Rules {
    /// Those of a foreign layer.
    pub(super) fn layer(under: Rc<[Vec<u8>]>) -> Rules {
        let (form, way) = (Form::default(), Way::Hide);
        let (is_over, keeps_kinds, newest) = (false, false, None);
        Rules { is_layer: true, under, owner: None, is_over, keeps_kinds, form, way, newest }
    }
}

/// Where the content of an entry is read.
pub(super) enum Content<'a, 'b> {
    Tar(&'a mut Reader<'b>),
    File(Option<File>),
}

pub(super) struct Unpacker<'a> {
    upper: BorrowedFd<'a>,
    below: Option<BorrowedFd<'a>>,
    kept: Option<BorrowedFd<'a>>,
    place: Place,
    rules: Rules,
    buffer: Vec<u8>,
    unpacked: Unpacked,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(
        upper: BorrowedFd<'a>,
        below: Option<BorrowedFd<'a>>,
        kept: Option<BorrowedFd<'a>>,
        rules: Rules,
    ) -> Result<Unpacker<'a>> {
        let missing = if rules.is_layer { Missing::Make } else { Missing::MakeNow };
        let mut place = Place::new(upper, below, missing, rules.form)?;
        place.newest = rules.newest;
        let (buffer, unpacked) = (vec![0; BUFFER], Unpacked::default());
        Ok(Unpacker { upper, below, kept, place, rules, buffer, unpacked })
    }

    pub(super) fn run(mut self, mut reader: Reader<'_>) -> Result<Unpacked> {
        while let Some(entry) = reader.next_entry()? {
            signal::check()?;
            self.unpacked.entries += 1;
            let content = &mut Content::Tar(&mut reader);
            self.entry(&entry, content).context(|| show(&entry.path))?;
        }
        reader.finish()?;
        self.finish()
    }

    pub(super) fn finish(self) -> Result<Unpacked> {
        self.place.finish()?;
        Ok(self.unpacked)
    }

    /// Makes the destination of a user's tar, owned as its entries will be.
    fn make_destination(&mut self) -> Result<()> {
        let under = Rc::clone(&self.rules.under);
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in under.iter() {
            let mut finder = Place::new(self.upper, None, Missing::Report, self.rules.form)?;
            parts.push(part);
            let is_new = !finder.enter(&parts)?;
            self.place.enter(&parts)?;
            if let (true, Some((uid, gid)), Some(made)) =
                (is_new, self.rules.owner, self.place.upper())
            {
                let attributes = Attributes { uid, gid, ..attributes_of(made)? };
                node::set_attributes(made, &attributes)?;
            }
        }
        Ok(())
    }

    pub(super) fn entry(&mut self, entry: &Entry, content: &mut Content<'_, '_>) -> Result<()> {
        let under = Rc::clone(&self.rules.under);
        let mut parts: Vec<&[u8]> = under.iter().map(Vec::as_slice).collect();
        match self.rules.is_layer {
            true => parts.extend(components(&entry.path)?),
            false => parts.extend(clamped_components(&entry.path)),
        }
        let is_root = parts.len() == under.len();
        match parts.split_last() {
            Some((name, parents)) if !is_root => self.named(entry, parents, name, content),
            _ => self.root(entry),
        }
    }

    /// An entry for the root itself, such as `./`.
    fn root(&mut self, entry: &Entry) -> Result<()> {
        if entry.node != Node::Directory {
            return Err(Error::input("the root of a tree is a directory"));
        }
        if !self.rules.is_layer {
            return Ok(());
        }
        self.place.enter(&[])?;
        self.settle(entry)
    }

    fn named(
        &mut self,
        entry: &Entry,
        parents: &[&[u8]],
        name: &[u8],
        content: &mut Content<'_, '_>,
    ) -> Result<()> {
        if self.rules.is_layer {
            let aufs = [WHITEOUT, WHITEOUT].concat();
            // What the aufs of old dockers left lying about means nothing to others.
            if name != OPAQUE && parents.iter().chain([&name]).any(|part| part.starts_with(&aufs)) {
                return Ok(());
            }
            if parents.iter().any(|part| part.starts_with(WHITEOUT)) {
                return Err(Error::input("a whiteout has nothing in it"));
            }
        }
        let mark = name.strip_prefix(WHITEOUT).filter(|_| self.rules.is_layer);
        self.place.enter(parents)?;
        if self.rules.keeps_kinds {
            self.same_kind(entry, name)?;
        }
        match (mark, &entry.node) {
            (Some(_), _) if name == OPAQUE => self.opaque(),
            (Some(b"" | b"." | b".."), _) => Err(Error::input("it hides a name that cannot be")),
            (Some(hidden), _) => self.whiteout(hidden),
            (None, Node::Directory) => self.directory(entry, name),
            (None, Node::Link(target)) => self.link(entry, target, name),
            (None, Node::Character(0, 0)) => {
                Err(Error::input("overlayfs would take the character device 0:0 for a whiteout"))
            }
            (None, Node::File(size)) if self.rules.is_over => {
                self.replace(entry, *size, name, content)
            }
            (None, other) => {
                self.clear(name)?;
                match other {
                    Node::File(size) => self.file(entry, *size, name, content),
                    Node::Symlink(target) => {
                        rustix::fs::symlinkat(target, self.place.change()?, name)?;
                        self.settle_at(entry, name, true)
                    }
                    Node::Character(major, minor) => {
                        self.special(entry, name, FileType::CharacterDevice, *major, *minor)
                    }
                    Node::Block(major, minor) => {
                        self.special(entry, name, FileType::BlockDevice, *major, *minor)
                    }
                    _ => self.special(entry, name, FileType::Fifo, 0, 0),
                }
            }
        }
    }

    /// Refuses to put a directory in the place of something else, or the other way round.
    fn same_kind(&self, entry: &Entry, name: &[u8]) -> Result<()> {
        let Some(stat) = node::stat(self.place.upper().ok_or_else(missing)?, name)? else {
            return Ok(());
        };
        let was_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match (was_directory, entry.node == Node::Directory) {
            (true, false) => Err(Error::input("cannot overwrite a directory with a non-directory")),
            (false, true) => Err(Error::input("cannot overwrite a non-directory with a directory")),
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        size: u64,
        name: &[u8],
        content: &mut Content<'_, '_>,
    ) -> Result<()> {
        if let Content::Tar(reader) = content {
            let path = self.place.path(name);
            reader.content_is_at(&path, self.occurrence(&path)?)?;
        }
        let mut file = File::from(node::create_file(self.place.change()?, name)?);
        loop {
            signal::check()?;
            let read = match content {
                Content::Tar(reader) => reader.content(&mut self.buffer)?,
                Content::File(from) => {
                    if let Some(from) = from {
                        copy_data(from.as_fd(), file.as_fd(), &mut |_| Ok(()))?;
                    }
                    0
                }
            };
            if read == 0 {
                break;
            }
            file.write_all(self.buffer.get(..read).unwrap_or_default())?;
        }
        self.unpacked.file_bytes += size;
        node::set_attributes(file.as_fd(), &self.attributes(entry))
    }

    fn replace(
        &mut self,
        entry: &Entry,
        size: u64,
        name: &[u8],
        content: &mut Content<'_, '_>,
    ) -> Result<()> {
        let beside = format!(".{}.tmp", random_name()?);
        let mut done = self.file(entry, size, beside.as_bytes(), content);
        if done.is_ok() {
            let upper = self.place.change()?;
            done = match rustix::fs::renameat(upper, &beside, upper, name) {
                Err(Errno::ISDIR) => {
                    self.clear(name)?;
                    let upper = self.place.change()?;
                    rustix::fs::renameat(upper, &beside, upper, name).map_err(Error::from)
                }
                done => done.map_err(Error::from),
            };
        }
        if done.is_err() {
            // The error that led here is the one to be told.
            let _ = rustix::fs::unlinkat(self.place.change()?, &beside, AtFlags::empty());
        }
        done
    }

    fn special(
        &mut self,
        entry: &Entry,
        name: &[u8],
        kind: FileType,
        major: u32,
        minor: u32,
    ) -> Result<()> {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(self.place.change()?, name, kind, Mode::empty(), device)?;
        self.settle_at(entry, name, false)
    }

    /// A directory stays when there is one; it hides what is below when something else of this
    /// layer stood there before it.
    fn directory(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let upper = self.place.upper().ok_or_else(missing)?;
        let before = node::stat(upper, name)?;
        match before.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::Directory) => self.place.descend(name)?,
            Some(_) => {
                self.clear(name)?;
                self.place.create(name, true)?;
            }
            None => {
                let is_gone = self.rules.form.reveal(upper, name)?;
                self.place.create(name, is_gone)?;
            }
        }
        self.settle(entry)
    }

    fn link(&mut self, entry: &Entry, target: &[u8], name: &[u8]) -> Result<()> {
        let under = Rc::clone(&self.rules.under);
        let mut parts: Vec<&[u8]> = under.iter().map(Vec::as_slice).collect();
        match self.rules.is_layer {
            true => parts.extend(components(target)?),
            false => parts.extend(clamped_components(target)),
        }
        let Some((target_name, parents)) = parts.split_last() else {
            return Err(no_target(target));
        };
        let mut finder = Place::new(self.upper, self.below, Missing::Report, self.rules.form)?;
        if !finder.enter(parents)? {
            return Err(no_target(target));
        }
        if finder.path(target_name) == self.place.path(name) {
            return Err(Error::input("it is a hard link to itself"));
        }
        let in_upper = match finder.upper() {
            Some(upper) => node::stat(upper, target_name)?,
            None => None,
        };
        match in_upper {
            Some(stat) if is_whiteout(&stat) => Err(no_target(target)),
            Some(stat) => {
                refuse_directory(FileType::from_raw_mode(stat.st_mode), target)?;
                self.clear(name)?;
                let from = finder.upper().ok_or_else(missing)?;
                let to = self.place.change()?;
                rustix::fs::linkat(from, *target_name, to, name, AtFlags::empty())?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                    let file = node::open_file(self.place.upper().ok_or_else(missing)?, name)?;
                    return node::set_attributes(file.as_fd(), &self.attributes(entry));
                }
                Ok(())
            }
            None => {
                if let Some(upper) = finder.upper()
                    && self.rules.form.hides(upper, target_name)?
                {
                    return Err(no_target(target));
                }
                let stat = finder.stat_below(target_name)?.ok_or_else(|| no_target(target))?;
                refuse_directory(FileType::from_raw_mode(stat.st_mode), target)?;
                self.clear(name)?;
                let from = finder.below().ok_or_else(missing)?;
                node::copy(from, target_name, self.place.change()?, name)
            }
        }
    }

    fn whiteout(&mut self, name: &[u8]) -> Result<()> {
        self.clear(name)?;
        let is_kept = match self.rules.way {
            Way::Hide => self.place.stat_below(name)?.is_some(),
            Way::Keep => true,
            Way::Merge => false,
        };
        match is_kept {
            true => self.rules.form.hide(self.place.change()?, name),
            false => Ok(()),
        }
    }

    fn opaque(&mut self) -> Result<()> {
        if self.rules.way == Way::Merge {
            let upper = self.place.change()?;
            return node::names(upper, &mut |name| {
                node::remove(upper, name, &mut |_, _, _| Ok(()))
            });
        }
        if self.place.below().is_none() {
            return Ok(());
        }
        let form = self.rules.form;
        if self.place.depth() > 0 {
            // A name in it may say so.
            form.set_opaque(self.place.change()?)?;
            self.place.cover();
            return Ok(());
        }
        // Overlayfs does not look for the mark on the root, so each name there is hidden.
        self.place.change()?;
        let upper = self.place.upper().ok_or_else(missing)?;
        let below = self.place.below().ok_or_else(missing)?;
        node::names(below, &mut |name| match node::stat(upper, name)? {
            None if form.hides(upper, name)? => Ok(()),
            None => form.hide(upper, name),
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                form.set_opaque(node::open_directory(upper, name)?.as_fd())
            }
            Some(_) => Ok(()),
        })
    }

    /// Takes away what this layer has under a name, and keeps what the recipe needs of it.
    fn clear(&mut self, name: &[u8]) -> Result<()> {
        let upper = self.place.upper().ok_or_else(missing)?;
        if !node::exists(upper, name)? {
            if self.rules.form.hides(upper, name)? {
                self.rules.form.reveal(self.place.change()?, name)?;
            }
            return Ok(());
        }
        let path = self.place.path(name);
        let (kept, count) = (self.kept, &mut self.unpacked.kept);
        let parent = self.place.change()?;
        node::remove(parent, name, &mut |parent, name, rest| {
            let Some(kept) = kept else { return Ok(()) };
            let path = [&path, rest].concat();
            let new_name = kept_name(&path, occurrence(kept, &path)?);
            rustix::fs::renameat(parent, name, kept, &new_name).context(|| "keep a file")?;
            *count += 1;
            Ok(())
        })
    }

    /// How many files of this path have been replaced so far.
    fn occurrence(&self, path: &[u8]) -> Result<u64> {
        match self.kept {
            Some(kept) if self.unpacked.kept > 0 => occurrence(kept, path),
            _ => Ok(0),
        }
    }

    /// Gives the directory that was just entered the attributes of its entry.
    fn settle(&mut self, entry: &Entry) -> Result<()> {
        let attributes = self.attributes(entry);
        self.place.forget_mtime();
        let upper = self.place.upper().ok_or_else(missing)?;
        if self.rules.way == Way::Merge {
            node::drop_xattrs(upper, &attributes.xattrs)?;
        }
        node::set_attributes(upper, &attributes)
    }

    fn settle_at(&mut self, entry: &Entry, name: &[u8], is_link: bool) -> Result<()> {
        let attributes = self.attributes(entry);
        node::set_attributes_at(self.place.change()?, name, &attributes, is_link)
    }

    fn attributes(&self, entry: &Entry) -> Attributes {
        let mut attributes = entry.attributes.clone();
        if let Some((uid, gid)) = self.rules.owner {
            (attributes.uid, attributes.gid) = (uid, gid);
        }
        attributes
    }
}

/// They are numbered without a gap, so the first free number is found by doubling and halving:
/// a tar may name one file a million times.
fn occurrence(kept: BorrowedFd<'_>, path: &[u8]) -> Result<u64> {
    let is_taken = |number| node::exists(kept, kept_name(path, number).as_bytes());
    if !is_taken(0)? {
        return Ok(0);
    }
    let (mut taken, mut free) = (0, 1);
    while is_taken(free)? {
        (taken, free) = (free, free * 2);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        match is_taken(middle)? {
            true => taken = middle,
            false => free = middle,
        }
    }
    Ok(free)
}

fn refuse_directory(kind: FileType, target: &[u8]) -> Result<()> {
    match kind {
        FileType::Directory => {
            let text = format!("it is a hard link to the directory {}", show(target));
            Err(Error::input(text))
        }
        _ => Ok(()),
    }
}

fn no_target(target: &[u8]) -> Error {
    Error::input(format!("it is a hard link to {}, which is not there", show(target)))
}

fn missing() -> Error {
    Error::input("its directory is not there")
}
