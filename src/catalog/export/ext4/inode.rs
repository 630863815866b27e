//! A file as ext4 has it: its inode, where its blocks are, its extended attributes, and the names in
//! a directory.

use super::disk::{BLOCK, Disk, INODE, put, put_half, put_word};
use crate::error::{Error, Result};
use crate::layer::entry::{Attributes, Node, Xattr};

/// The place for block numbers in an inode.
const PLACE: usize = 60;
const EXTENTS_FLAG: u32 = 0x8_0000;
const EXTENT: usize = 12;
/// The most blocks of one extent.
const LONGEST: u32 = 32_768;
/// Where attributes begin in an inode.
const ATTRIBUTES: usize = 160;
const ATTRIBUTES_MAGIC: u32 = 0xea02_0000;

/// What is on the disk of a file besides its attributes.
pub enum Body {
    Nothing,
    /// A size, and blocks for it.
    Blocks(u64, Extents),
    /// The target of a short link.
    Inside(Vec<u8>),
    Device(u32, u32),
}

impl Body {
    /// A link with this target.
    pub fn symlink(disk: &mut Disk<'_>, target: &[u8]) -> Result<Body> {
        if target.len() < PLACE {
            return Ok(Body::Inside(target.to_vec()));
        }
        let mut extents = Extents::default();
        extents.append(disk, target)?;
        Ok(Body::Blocks(target.len() as u64, extents))
    }
}

/// The number of its kind in a directory, and the bits of its mode.
pub fn kind_of(node: &Node) -> (u8, u16) {
    match node {
        Node::File(_) | Node::Link(_) => (1, 0o100_000),
        Node::Directory => (2, 0o040_000),
        Node::Character(..) => (3, 0o020_000),
        Node::Block(..) => (4, 0o060_000),
        Node::Fifo => (5, 0o010_000),
        Node::Symlink(_) => (7, 0o120_000),
    }
}

/// One file.
pub struct Inode<'a> {
    pub mode: u16,
    pub links: u16,
    pub attributes: &'a Attributes,
    pub body: Body,
}

impl Inode<'_> {
    /// Its bytes; what does not fit into them goes to the disk.
    pub fn bytes(&self, disk: &mut Disk<'_>) -> Result<[u8; INODE]> {
        let mut to = [0; INODE];
        let Attributes { mode, uid, gid, .. } = *self.attributes;
        put_half(&mut to, 0, u32::from(self.mode) | mode);
        for (at, high, id) in [(2, 120, uid), (24, 122, gid)] {
            put_half(&mut to, at, id);
            put_half(&mut to, high, id >> 16);
        }
        put_half(&mut to, 26, self.links.into());
        // Seconds of 34 bits from 1901 on.
        let time = self.attributes.mtime.clamp(i32::MIN.into(), (3 << 32) + i64::from(i32::MAX));
        let epoch = ((time - i64::from(time as i32)) >> 32) as u32;
        // Access, change, modification, birth.
        for (at, more) in [(8, 140), (12, 132), (16, 136), (144, 148)] {
            put_word(&mut to, at, time as u32);
            put_word(&mut to, more, epoch);
        }
        put_half(&mut to, 128, 32);
        let mut blocks = 0;
        let mut size = 0;
        let mut place = [0; PLACE];
        match &self.body {
            Body::Nothing => {}
            Body::Inside(target) => {
                size = target.len() as u64;
                put(&mut place, 0, target);
            }
            Body::Device(major, minor) if *major < 256 && *minor < 256 => {
                put_word(&mut place, 0, (*major << 8) | *minor);
            }
            Body::Device(major, minor) => {
                let number = (*minor & 0xff) | (*major << 8) | ((*minor & !0xff) << 12);
                put_word(&mut place, 4, number);
            }
            Body::Blocks(length, extents) => {
                size = *length;
                let (root, nodes) = extents.tree(disk)?;
                place = root;
                blocks = extents.used + nodes;
                put_word(&mut to, 32, EXTENTS_FLAG);
            }
        }
        put(&mut to, 40, &place);
        put_word(&mut to, 4, size as u32);
        put_word(&mut to, 108, (size >> 32) as u32);
        if let Some(block) = self.xattrs(disk, &mut to)? {
            put_word(&mut to, 104, block);
            blocks += 1;
        }
        // In units of 512 bytes.
        let units = blocks * (BLOCK as u64 / 512);
        put_word(&mut to, 28, units as u32);
        put_half(&mut to, 116, (units >> 32) as u32);
        Ok(to)
    }

    /// Puts the extended attributes into the inode, or into a block, whose number it gives.
    fn xattrs(&self, disk: &mut Disk<'_>, inode: &mut [u8; INODE]) -> Result<Option<u32>> {
        let mut list: Vec<(u8, &[u8], &Xattr)> = Vec::new();
        for xattr in &self.attributes.xattrs {
            // A layer has no others (`entry::holds_xattr`).
            let (index, name) = match xattr.name.strip_prefix(b"user.") {
                Some(name) => (1, name),
                None => (6, xattr.name.strip_prefix(b"security.").unwrap_or_default()),
            };
            // The kernel searches them in this order, by which `user.` comes first.
            let is_before = |other: &(u8, &[u8], &Xattr)| {
                other.0 < index
                    || (other.0 == index && (other.1.len(), other.1) < (name.len(), name))
            };
            let at = list.iter().take_while(|other| is_before(other)).count();
            list.insert(at, (index, name, xattr));
        }
        if list.is_empty() {
            return Ok(None);
        }
        let mut inside = [0; INODE - ATTRIBUTES - 4];
        if lay(&list, &mut inside, 0) {
            put_word(inode, ATTRIBUTES, ATTRIBUTES_MAGIC);
            put(inode, ATTRIBUTES + 4, &inside);
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        if !lay(&list, &mut block, 32) {
            return Err(Error::unsupported("ext4 holds 4 kB of extended attributes a file")
                .hint("take squashfs or erofs, or fewer attributes"));
        }
        // One file has it, and it is one block.
        for (at, word) in [ATTRIBUTES_MAGIC, 1, 1].iter().enumerate() {
            put_word(&mut block, at * 4, *word);
        }
        let number = disk.take()?;
        disk.write(number, &block)?;
        Ok(Some(number))
    }
}

/// Entries from `start` on, values from the end backwards; false when they do not fit.
fn lay(list: &[(u8, &[u8], &Xattr)], to: &mut [u8], start: usize) -> bool {
    let (mut entry, mut value) = (start, to.len());
    for (index, name, xattr) in list {
        let Ok(name_length) = u8::try_from(name.len()) else { return false };
        let length = xattr.value.len();
        let after = entry + (16 + name.len()).next_multiple_of(4);
        let Some(before) = value.checked_sub(length.next_multiple_of(4)) else { return false };
        // Four zeros are the end of the entries.
        if after + 4 > before {
            return false;
        }
        (value, entry) = (before, after);
        let at = after - (16 + name.len()).next_multiple_of(4);
        put(to, value, &xattr.value);
        put(to, at, &[name_length, *index]);
        let offset = if length == 0 { 0 } else { value };
        put_half(to, at + 2, offset as u32);
        put_word(to, at + 8, length as u32);
        put_word(to, at + 12, hash(name, &xattr.value));
        put(to, at + 16, name);
    }
    true
}

fn hash(name: &[u8], value: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for byte in name {
        hash = hash.rotate_left(5) ^ u32::from(*byte);
    }
    for word in value.chunks(4) {
        let mut bytes = [0; 4];
        put(&mut bytes, 0, word);
        hash = hash.rotate_left(16) ^ u32::from_le_bytes(bytes);
    }
    hash
}

/// Where the blocks of a file are.
#[derive(Clone, Default)]
pub struct Extents {
    /// The first block in the file, the first one on the disk, and how many.
    list: Vec<(u32, u32, u32)>,
    /// Blocks of the file so far, holes among them.
    next: u64,
    used: u64,
}

impl Extents {
    /// Blocks of the file, holes among them.
    pub fn blocks(&self) -> u64 {
        self.next
    }

    /// The first one on the disk.
    pub fn first(&self) -> Option<u32> {
        self.list.first().map(|(_, number, _)| *number)
    }

    /// A hole.
    pub fn skip(&mut self, length: usize) {
        self.next += length.div_ceil(BLOCK) as u64;
    }

    /// Writes a piece, filled up with zeros.
    pub fn append(&mut self, disk: &mut Disk<'_>, bytes: &[u8]) -> Result<()> {
        for block in bytes.chunks(BLOCK) {
            let number = disk.take()?;
            self.add(number)?;
            disk.write(number, block)?;
        }
        Ok(())
    }

    /// Adds a block on the disk.
    pub fn add(&mut self, number: u32) -> Result<()> {
        let here =
            u32::try_from(self.next).map_err(|_| Error::unsupported("ext4 holds 16 TiB a file"))?;
        match self.list.last_mut() {
            Some((first, start, count))
                if *first + *count == here && *start + *count == number && *count < LONGEST =>
            {
                *count += 1;
            }
            _ => self.list.push((here, number, 1)),
        }
        self.next += 1;
        self.used += 1;
        Ok(())
    }

    /// The root of the tree for the inode, and how many blocks its other nodes take.
    pub fn tree(&self, disk: &mut Disk<'_>) -> Result<([u8; PLACE], u64)> {
        let leaf = |(first, start, count): &(u32, u32, u32)| {
            let mut to = [0; EXTENT];
            put_word(&mut to, 0, *first);
            put_half(&mut to, 4, *count);
            put_word(&mut to, 8, *start);
            to
        };
        let mut level: Vec<[u8; EXTENT]> = self.list.iter().map(leaf).collect();
        let (mut depth, mut nodes) = (0, 0);
        while level.len() > PLACE / EXTENT - 1 {
            let mut above = Vec::new();
            for entries in level.chunks(BLOCK / EXTENT - 1) {
                let mut block = [0; BLOCK];
                node(&mut block, entries, depth);
                let number = disk.take()?;
                disk.write(number, &block)?;
                nodes += 1;
                let mut index = [0; EXTENT];
                let first = entries.first().and_then(|entry| entry.first_chunk::<4>());
                put(&mut index, 0, first.unwrap_or(&[0; 4]));
                put_word(&mut index, 4, number);
                above.push(index);
            }
            level = above;
            depth += 1;
        }
        let mut root = [0; PLACE];
        node(&mut root, &level, depth);
        Ok((root, nodes))
    }
}

fn node(to: &mut [u8], entries: &[[u8; EXTENT]], depth: u32) {
    let most = (to.len() / EXTENT - 1) as u32;
    for (at, field) in [0xf30a, entries.len() as u32, most, depth].iter().enumerate() {
        put_half(to, at * 2, *field);
    }
    put(to, EXTENT, entries.as_flattened());
}

/// The block of a directory that is not full yet.
#[derive(Default)]
pub struct Names {
    block: Vec<u8>,
    last: usize,
}

impl Names {
    /// Adds a name; gives a block that was full before.
    pub fn add(&mut self, number: u32, kind: u8, name: &[u8]) -> Option<Vec<u8>> {
        let length = (8 + name.len()).next_multiple_of(4);
        let full = if self.block.len() + length > BLOCK { self.finish() } else { None };
        self.last = self.block.len();
        self.block.extend_from_slice(&number.to_le_bytes());
        self.block.extend_from_slice(&(length as u16).to_le_bytes());
        self.block.extend_from_slice(&[name.len() as u8, kind]);
        self.block.extend_from_slice(name);
        self.block.resize(self.last + length, 0);
        full
    }

    /// The block, if there is one: the last name reaches to its end.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let mut block = std::mem::take(&mut self.block);
        if block.is_empty() {
            return None;
        }
        put_half(&mut block, self.last + 4, (BLOCK - self.last) as u32);
        block.resize(BLOCK, 0);
        Some(block)
    }
}
