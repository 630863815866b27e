//! One thing of a tree, with all that is in it, to a tar or into another tree under another name.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::fs::{FileType, Stat};

use crate::error::{Context, Error, Result};
use crate::layer::entry::{Entry, clamped_components, show};
use crate::layer::links::Links;
use crate::layer::node;
use crate::layer::pack::{describe, links_to};
use crate::layer::reader::Reader;
use crate::layer::unpack::{Content, Rules, Unpacker};
use crate::layer::walk::{Found, Visit, Walk};
use crate::layer::writer::Writer;
use crate::sys::flow::{Inflow, Outflow};
use crate::sys::fs::copy_stream;
use crate::sys::signal;

/// What is carried.
pub struct Thing<'a> {
    /// The open directory that it is in.
    pub parent: BorrowedFd<'a>,
    /// Its name there; `.` for the directory itself.
    pub name: &'a [u8],
    /// Its new name; empty for a directory of which only what is in it goes.
    pub new_name: &'a [u8],
    /// A directory for nameless files of many hard links.
    pub spill: BorrowedFd<'a>,
    /// Directories whose contents stay behind, by device and inode.
    pub barred: &'a [(u64, u64)],
}

/// Writes it as a tar.
pub fn carry_out(thing: &Thing<'_>, out: &mut dyn Outflow) -> Result<()> {
    let mut writer = Writer::new(out);
    each(thing, None, &mut |entry, content| match content {
        Some(mut file) => writer.entry(entry, &mut file),
        None => writer.entry(entry, &mut std::io::empty()),
    })?;
    writer.finish()
}

/// Puts it into a directory, over what is there: each file is there in full or not at all, and
/// neither does a directory go for something else nor the other way round. All belong to `owner`,
/// if there is one.
pub fn carry_into(
    thing: &Thing<'_>,
    into: BorrowedFd<'_>,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let mut unpacker = Unpacker::new(into, None, None, rules(Rc::new([]), owner))?;
    let mut put = |entry: &Entry, content| unpacker.entry(entry, &mut Content::File(content));
    each(thing, Some(into), &mut put)?;
    unpacker.finish().map(drop)
}

/// Puts what a tar holds, decompressed already, into the directory `dest` of the tree `root`, in the
/// same way; links on the way are followed inside the root.
pub fn carry_tar(tar: &mut dyn Inflow, root: BorrowedFd<'_>, dest: &str) -> Result<()> {
    let under = clamped_components(dest.as_bytes()).into_iter().map(<[u8]>::to_vec).collect();
    Unpacker::new(root, None, None, rules(under, None))?.run(Reader::new(tar, None))?;
    // What checks the whole of a compressed file stands at its end, behind that of the tar.
    copy_stream(tar, &mut std::io::sink()).map(drop)
}

fn rules(under: Rc<[Vec<u8>]>, owner: Option<(u32, u32)>) -> Rules {
    Rules { is_layer: false, owner, is_over: true, keeps_kinds: true, ..Rules::layer(under) }
}

/// `into`: where it goes, if that could be in the thing itself.
fn each(
    thing: &Thing<'_>,
    into: Option<BorrowedFd<'_>>,
    put: &mut dyn FnMut(&Entry, Option<File>) -> Result<()>,
) -> Result<()> {
    let Thing { parent, name, new_name, .. } = *thing;
    let stat = node::stat(parent, name)?.ok_or_else(|| Error::not_found("it is gone"))?;
    let directory = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Some(node::open_directory(parent, name)?),
        FileType::Socket => return Err(Error::unsupported("a socket cannot be copied")),
        _ => None,
    };
    let mut links = Links::new(thing.spill);
    let mut one = |found: &Found<'_>| {
        let first = links_to(&mut links, found)?;
        match describe(first, found, None)? {
            Some((entry, content)) => put(&entry, content),
            // A socket in a tree, which no tar holds.
            None => Ok(()),
        }
    };
    if !new_name.is_empty() {
        let directory = directory.as_ref().map(AsFd::as_fd);
        let whole = Found { parent, name, path: new_name, stat, directory, whiteout: false };
        one(&whole).context(|| show(new_name))?;
    }
    let id = |stat: &Stat| (stat.st_dev, stat.st_ino);
    let is_barred = |stat: &Stat| thing.barred.contains(&id(stat));
    let Some(directory) = directory.filter(|_| !is_barred(&stat)) else { return Ok(()) };
    let place = if new_name.is_empty() { b"." } else { new_name };
    let target = into.map(|into| node::stat(into, place)).transpose()?.flatten();
    let target = target.as_ref().map(id);
    let mut walk = Walk::new(directory.as_fd(), None)?;
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        let Visit::Enter(found) = visit else { continue };
        if found.directory.is_some() && target == Some(id(&found.stat)) {
            walk.prune();
            continue;
        }
        let path = match new_name {
            b"" => found.path.to_vec(),
            name => [name, b"/", found.path].concat(),
        };
        let ends = found.directory.is_some() && is_barred(&found.stat);
        one(&Found { path: &path, ..found }).context(|| show(&path))?;
        if ends {
            walk.prune();
        }
    }
    Ok(())
}
