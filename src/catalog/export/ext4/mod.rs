//! `type=ext4`: the image's files as an ext4 file system in a file, written by lath itself: the same
//! files give the same bytes, which mke2fs does not, and no program is needed.
//!
//! Files come one after the other from the first block on, in the order of their tar; what
//! describes the file system comes behind them (flex_bg) once all is known. What is here is the
//! tree; `inode` is one file on the disk, `disk` the disk. Source: the kernel's
//! Documentation/filesystems/ext4.

mod disk;
mod inode;

use super::{Export, Kind, Place, Survey, To, misplaced};
use crate::error::Result;
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::layer::entry::{Attributes, Entry, Node};
use crate::layer::tell::{Told, pieces, tell};
use disk::{BLOCK, Disk, FIRST, ROOT};
use inode::{Body, Extents, Inode, Names, kind_of};

pub const EXT4: Kind = Kind {
    name: "ext4",
    place: Place::Image,
    keys: &["dest", "size", "digest"],
    compressions: &[],
    is_image: true,
    write,
};

const LOST: &[u8] = b"lost+found";

fn write(export: &Export<'_>, to: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    let To::Image { file, .. } = to else { return Err(misplaced()) };
    let view = export.shown()?;
    let survey = Survey::of(export, &view)?;
    let inodes = export.scratch.nameless_file()?;
    let disk = Disk::new(file, inodes, &survey, export.manner.size)?;
    let mut tree = Tree { disk, folders: Vec::new(), has_lost: false };
    tree.open(ROOT, ROOT, survey.root)?;
    tell(&export.tree(&view), &mut |told| match told {
        Some(told) => tree.enter(told),
        None => tree.leave(),
    })?;
    tree.finish()?;
    Ok(None)
}

/// A directory that is not left yet.
struct Folder {
    number: u32,
    names: Names,
    extents: Extents,
    folders: u32,
    attributes: Attributes,
}

impl Folder {
    fn new(number: u32, attributes: Attributes) -> Folder {
        let (names, extents) = (Names::default(), Extents::default());
        Folder { number, names, extents, folders: 0, attributes }
    }

    fn add(&mut self, disk: &mut Disk<'_>, number: u32, kind: u8, name: &[u8]) -> Result<()> {
        if let Some(block) = self.names.add(number, kind, name) {
            self.extents.append(disk, &block)?;
        }
        Ok(())
    }
}

struct Tree<'a> {
    disk: Disk<'a>,
    folders: Vec<Folder>,
    /// Whether the image has the directory that e2fsck wants.
    has_lost: bool,
}

impl Tree<'_> {
    fn enter(&mut self, told: Told) -> Result<()> {
        let Told { entry, content, number, is_again, .. } = told;
        let Entry { path, node, attributes } = entry;
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let number = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(FIRST - 1);
        let (kind, mode) = kind_of(&node);
        self.has_lost |= path == LOST;
        let mut parent = ROOT;
        if let Some(folder) = self.folders.last_mut() {
            folder.add(&mut self.disk, number, kind, name)?;
            folder.folders += u32::from(node == Node::Directory);
            parent = folder.number;
        }
        if is_again {
            return self.disk.link(number);
        }
        let disk = &mut self.disk;
        let body = match (node, content) {
            (Node::Directory, _) => return self.open(number, parent, attributes),
            (Node::File(size), Some(mut file)) => {
                let mut extents = Extents::default();
                pieces(&mut file, size, &mut |piece| {
                    // The same holes wherever the file lies.
                    match piece.iter().any(|byte| *byte != 0) {
                        true => extents.append(disk, piece),
                        false => {
                            extents.skip(piece.len());
                            Ok(())
                        }
                    }
                })?;
                Body::Blocks(size, extents)
            }
            (Node::Symlink(target), _) => Body::symlink(disk, &target)?,
            (Node::Character(major, minor) | Node::Block(major, minor), _) => {
                Body::Device(major, minor)
            }
            _ => Body::Nothing,
        };
        disk.put_inode(number, &Inode { mode, links: 1, attributes: &attributes, body })
    }

    fn open(&mut self, number: u32, parent: u32, attributes: Attributes) -> Result<()> {
        let mut folder = Folder::new(number, attributes);
        for (number, name) in [(number, b".".as_slice()), (parent, b"..")] {
            folder.add(&mut self.disk, number, kind_of(&Node::Directory).0, name)?;
        }
        self.folders.push(folder);
        Ok(())
    }

    /// Leaves the root, in which all that make a file system have a place for what e2fsck finds.
    fn finish(mut self) -> Result<()> {
        if !self.has_lost
            && let Some(root) = self.folders.last_mut()
        {
            let number = self.disk.next_inode();
            let attributes = Attributes { mode: 0o700, ..root.attributes.clone() };
            root.add(&mut self.disk, number, kind_of(&Node::Directory).0, LOST)?;
            root.folders += 1;
            self.open(number, ROOT, attributes)?;
            self.leave()?;
        }
        self.leave()?;
        self.disk.finish()
    }

    fn leave(&mut self) -> Result<()> {
        let Tree { disk, folders, .. } = self;
        let Some(mut folder) = folders.pop() else { return Ok(()) };
        if let Some(block) = folder.names.finish() {
            folder.extents.append(disk, &block)?;
        }
        let size = folder.extents.blocks() * BLOCK as u64;
        let (_, mode) = kind_of(&Node::Directory);
        // What has more subdirectories than fit is told as having one link (dir_nlink).
        let links = u16::try_from(folder.folders + 2).ok().filter(|links| *links < 65_000);
        let body = Body::Blocks(size, folder.extents);
        let attributes = &folder.attributes;
        disk.put_inode(folder.number, &Inode { mode, links: links.unwrap_or(1), attributes, body })
    }
}
