//! The file system around the files: which blocks are taken, the tables, the superblock and its
//! copies.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::super::{Survey, id_of};
use super::inode::{Body, Extents, Inode};
use crate::error::{Error, Result};
use crate::layer::entry::Attributes;
use crate::sys::signal;

/// Bytes of a block, and of an inode.
pub const BLOCK: usize = 4096;
pub const INODE: usize = 256;
/// The root's inode, and the first one that is anybody's.
pub const ROOT: u32 = 2;
pub const FIRST: u32 = 11;
const JOURNAL: u32 = 8;
/// Blocks of a group, and the most inodes: as many as a block has bits.
const GROUP: u32 = 8 * BLOCK as u32;
const DESCRIPTOR: usize = 32;
/// Groups that a block of descriptors describes.
const DESCRIBED: u32 = (BLOCK / DESCRIPTOR) as u32;
const INODES_A_BLOCK: u32 = (BLOCK / INODE) as u32;
/// What sizes are multiples of: one MiB.
const STEP: u32 = 256;
const BUFFER: usize = 128 << 10;

/// What each superblock has.
const WORDS: &[(u16, u32)] = &[
    // Blocks and clusters of 1024 << 2 bytes.
    (24, 2),
    (28, 2),
    (32, GROUP),
    (36, GROUP),
    // With inodes of any size.
    (76, 1),
    (84, FIRST),
    // ext_attr, dir_index.
    (92, 0x28),
    // filetype, extents, flex_bg.
    (96, 0x242),
    // sparse_super, large_file, huge_file, dir_nlink, extra_isize.
    (100, 0x6b),
    // user_xattr, acl.
    (256, 0xc),
    // Names are hashed as signed bytes.
    (352, 1),
];
const HALVES: &[(u16, u16)] = &[
    // Never checked because of a count; the magic; clean; on errors go on.
    (54, 0xffff),
    (56, 0xef53),
    (58, 1),
    (60, 1),
    (88, INODE as u16),
    (348, 32),
    (350, 32),
];

/// Puts bytes into their place; what does not fit there is not there.
#[inline(never)]
pub fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = to.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        place.copy_from_slice(bytes);
    }
}

/// Puts a number into its place.
#[inline(never)]
pub fn put_word(to: &mut [u8], at: usize, word: u32) {
    put(to, at, &word.to_le_bytes());
}

/// Puts the lower half of a number into its place.
#[inline(never)]
pub fn put_half(to: &mut [u8], at: usize, half: u32) {
    put(to, at, &(half as u16).to_le_bytes());
}

/// A file system that is being written.
pub struct Disk<'a> {
    file: &'a File,
    /// The inodes, until it is known where they go.
    inodes: File,
    count: u32,
    cursor: Cursor,
    size: Option<u64>,
    time: u32,
    /// Neighbouring blocks that are not written yet, and the first one's number.
    buffer: Vec<u8>,
    begin: u32,
    /// Of all that the files are.
    hash: blake3::Hasher,
}

/// The next free block. All before it are taken, but for gaps.
#[derive(Clone)]
struct Cursor {
    next: u32,
    /// Blocks of group descriptors.
    table: u32,
    gaps: Vec<(u32, u32)>,
}

impl Cursor {
    /// Takes a block.
    fn take(&mut self) -> u32 {
        self.run(1)
    }

    /// Takes neighbouring blocks; gives the first.
    fn run(&mut self, length: u32) -> u32 {
        loop {
            let group = self.next / GROUP;
            if self.next.is_multiple_of(GROUP) && has_copy(group) {
                self.next += 1 + self.table;
            }
            let border = (group + 1) * GROUP;
            if self.next + length <= border || !has_copy(group + 1) {
                break;
            }
            if self.next < border {
                self.gaps.push((self.next, border));
            }
            self.next = border;
        }
        let first = self.next;
        self.next += length;
        first
    }
}

/// Whether a group begins with a copy of the superblock and the descriptors (sparse_super).
fn has_copy(group: u32) -> bool {
    let is_power = |base: u32| {
        let mut rest = group;
        while rest > 1 && rest.is_multiple_of(base) {
            rest /= base;
        }
        rest == 1
    };
    group == 0 || is_power(3) || is_power(5) || is_power(7)
}

/// Where everything is that describes the files.
struct Layout {
    total: u32,
    groups: u32,
    inodes_a_group: u32,
    journal: Extents,
    /// Before the table and the maps of the first group, and behind those of the last.
    begin: Cursor,
    end: Cursor,
}

/// Takes blocks for the inodes and the two maps of a group.
fn place_group(cursor: &mut Cursor, inodes: u32) -> [u32; 3] {
    let table = cursor.run(inodes / INODES_A_BLOCK);
    [cursor.take(), cursor.take(), table]
}

impl Layout {
    fn is_taken(&self, block: u32) -> bool {
        if block >= self.end.next {
            let is_copy = block % GROUP < 1 + self.end.table && has_copy(block / GROUP);
            return is_copy || block >= self.total;
        }
        !self.end.gaps.iter().any(|(from, to)| (*from..*to).contains(&block))
    }
}

impl<'a> Disk<'a> {
    /// An empty one. `inodes` is an empty file for what is not known early.
    pub fn new(
        file: &'a File,
        inodes: File,
        survey: &Survey,
        size: Option<u64>,
    ) -> Result<Disk<'a>> {
        // The most that it can become: full blocks, two more for each, the journal and the free
        // space. Holes make it less.
        let most = survey.bytes / BLOCK as u64 + 3 * survey.entries + (64 << 10);
        let blocks = size.map_or(most + most / 4, |size| size / BLOCK as u64);
        let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks <= u32::MAX - GROUP);
        let blocks = blocks.ok_or_else(too_large)?;
        let table = blocks.div_ceil(GROUP).div_ceil(DESCRIBED).max(1);
        let cursor = Cursor { next: 1 + table, table, gaps: Vec::new() };
        Ok(Disk {
            file,
            inodes,
            count: FIRST - 1,
            cursor,
            size,
            time: u32::try_from(survey.root.mtime.max(0)).unwrap_or(u32::MAX),
            buffer: Vec::new(),
            begin: 0,
            hash: blake3::Hasher::new(),
        })
    }

    /// A block for what comes next.
    pub fn take(&mut self) -> Result<u32> {
        if self.cursor.next > u32::MAX - 2 * GROUP {
            return Err(too_large());
        }
        Ok(self.cursor.take())
    }

    /// Writes a block, filled up with zeros.
    pub fn write(&mut self, number: u32, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        let end = u64::from(self.begin) + (self.buffer.len() / BLOCK) as u64;
        if end != number.into() || self.buffer.len() >= BUFFER {
            self.flush()?;
            self.begin = number;
        }
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(self.buffer.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.put_at(self.begin, 0, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes bytes to a block and those behind it, `skip` of them being passed over.
    #[inline(never)]
    fn put_at(&self, number: u32, skip: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(bytes, u64::from(number) * BLOCK as u64 + skip)?)
    }

    /// Reads a part of an inode.
    #[inline(never)]
    fn read_inode(&self, number: u32, at: u64, to: &mut [u8]) -> Result<()> {
        Ok(self.inodes.read_exact_at(to, place_of(number) + at)?)
    }

    /// Writes a part of an inode.
    #[inline(never)]
    fn write_inode(&self, number: u32, at: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.inodes.write_all_at(bytes, place_of(number) + at)?)
    }

    /// The number of an inode that nobody has.
    pub fn next_inode(&self) -> u32 {
        self.count + 1
    }

    /// Writes an inode.
    pub fn put_inode(&mut self, number: u32, inode: &Inode<'_>) -> Result<()> {
        let bytes = inode.bytes(self)?;
        self.hash.update(&bytes);
        self.count = self.count.max(number);
        self.write_inode(number, 0, &bytes)
    }

    /// Counts one more name of a file.
    pub fn link(&mut self, number: u32) -> Result<()> {
        let mut count = [0; 2];
        self.read_inode(number, 26, &mut count)?;
        let links = u16::from_le_bytes(count).checked_add(1).filter(|links| *links <= 65_000);
        let links =
            links.ok_or_else(|| Error::unsupported("ext4 holds 65000 names of one file"))?;
        self.write_inode(number, 26, &links.to_le_bytes())
    }

    /// Writes all that describes the files.
    pub fn finish(mut self) -> Result<()> {
        let layout = self.choose()?;
        // Whole blocks of them.
        self.inodes.set_len(place_of(self.count + INODES_A_BLOCK + 1))?;
        let uuid = id_of(self.hash.finalize().as_bytes());
        let mut journal = None;
        if layout.journal.blocks() > 0 {
            journal = Some(self.write_journal(&layout)?);
        }
        self.flush()?;
        let mut descriptors = vec![0; layout.end.table as usize * BLOCK];
        let (mut free_blocks, mut free_inodes) = (0, 0);
        let mut cursor = layout.begin.clone();
        for group in 0..layout.groups {
            signal::check()?;
            let places = place_group(&mut cursor, layout.inodes_a_group);
            let (blocks, inodes, descriptor) = self.write_group(&layout, group, places)?;
            free_blocks += blocks;
            free_inodes += inodes;
            put(&mut descriptors, group as usize * DESCRIPTOR, &descriptor);
        }
        self.file.set_len(u64::from(layout.total) * BLOCK as u64)?;
        let sums = [free_blocks, free_inodes];
        for group in (0..layout.groups).filter(|group| has_copy(*group)) {
            let block = self.superblock(&layout, group, sums, &uuid, journal.as_ref());
            // The first one has room for a boot loader in front.
            self.put_at(group * GROUP, if group == 0 { 1024 } else { 0 }, &block)?;
            self.put_at(group * GROUP + 1, 0, &descriptors)?;
        }
        Ok(())
    }

    /// The size that was asked for, or one with a tenth free.
    fn choose(&self) -> Result<Layout> {
        if let Some(size) = self.size {
            let total = (size / BLOCK as u64) as u32 / STEP * STEP;
            return match self.lay_out(total) {
                Some(layout) if layout.end.next <= total => Ok(layout),
                _ => {
                    let least = self.grow(0)?.end.next.div_ceil(STEP);
                    Err(Error::input(format!(
                        "the files need some {least} MiB, and size is {size}"
                    ))
                    .hint("give a larger size, or none: then it is computed"))
                }
            };
        }
        self.grow(10)
    }

    /// The smallest one with so many percent free.
    fn grow(&self, percent: u64) -> Result<Layout> {
        let table = self.cursor.table;
        let mut total = self.cursor.next.max((table - 1) * DESCRIBED * GROUP + 1);
        loop {
            total = total.next_multiple_of(STEP);
            let wanted = match self.lay_out(total) {
                Some(layout) => {
                    let end = u64::from(layout.end.next);
                    let wanted = end + end * percent / 100;
                    if wanted <= total.into() {
                        return Ok(layout);
                    }
                    wanted
                }
                None => (total + 1).into(),
            };
            total = u32::try_from(wanted)
                .ok()
                .filter(|total| *total < u32::MAX - GROUP)
                .ok_or_else(too_large)?;
        }
    }

    /// Everything in its place, on a disk of so many blocks; nothing when there cannot be inodes
    /// enough.
    fn lay_out(&self, total: u32) -> Option<Layout> {
        let mut end = self.cursor.clone();
        let groups = total.div_ceil(GROUP);
        // As mke2fs has it: one for 16 kB.
        let inodes = (self.count + self.count / 10).max(total / 4);
        let inodes_a_group = inodes.div_ceil(groups.max(1)).next_multiple_of(INODES_A_BLOCK);
        if inodes_a_group > GROUP || groups.div_ceil(DESCRIBED) != end.table {
            return None;
        }
        // The sizes of mke2fs, up to 64 MiB.
        let blocks = match total {
            0..2048 => 0,
            2048..32_768 => 1024,
            32_768..262_144 => 4096,
            262_144..524_288 => 8192,
            _ => 16_384,
        };
        let mut journal = Extents::default();
        for _ in 0..blocks {
            journal.add(end.take()).ok()?;
        }
        let begin = end.clone();
        for _ in 0..groups {
            place_group(&mut end, inodes_a_group);
        }
        Some(Layout { total, groups, inodes_a_group, journal, begin, end })
    }

    /// An empty journal, whose other blocks are holes; gives where it is.
    fn write_journal(&mut self, layout: &Layout) -> Result<[u8; 68]> {
        let mut head = [0; BLOCK];
        let blocks = layout.journal.blocks();
        // Magic, kind (superblock, version 2), -, size of a block, blocks, first, its number.
        let fields = [0xc03b_3998, 4, 0, BLOCK as u32, blocks as u32, 1, 1];
        for (at, field) in fields.iter().enumerate() {
            put(&mut head, at * 4, &field.to_be_bytes());
        }
        // One user.
        put(&mut head, 64, &1_u32.to_be_bytes());
        let number = layout.journal.first().unwrap_or_default();
        let size = blocks * BLOCK as u64;
        let attributes =
            Attributes { mode: 0o600, mtime: self.time.into(), ..Attributes::default() };
        let body = Body::Blocks(size, layout.journal.clone());
        let inode = Inode { mode: 0o100_000, links: 1, attributes: &attributes, body };
        self.put_inode(JOURNAL, &inode)?;
        self.write(number, &head)?;
        let mut place = [0; 68];
        self.read_inode(JOURNAL, 40, place.get_mut(..60).unwrap_or_default())?;
        put_word(&mut place, 64, size as u32);
        Ok(place)
    }

    /// Writes the maps and inodes of a group; gives its free blocks, its free inodes and its
    /// descriptor.
    fn write_group(
        &self,
        layout: &Layout,
        group: u32,
        places: [u32; 3],
    ) -> Result<(u32, u32, [u8; DESCRIPTOR])> {
        let [block_map, inode_map, table] = places;
        let first = group * layout.inodes_a_group;
        let free_blocks = self.write_map(block_map, &|bit| layout.is_taken(group * GROUP + bit))?;
        let free_inodes = self.write_map(inode_map, &|bit| {
            bit >= layout.inodes_a_group || first + bit < self.count
        })?;
        let folders = self.write_table(table, first, layout.inodes_a_group)?;
        let mut to = [0; DESCRIPTOR];
        for (at, number) in places.iter().enumerate() {
            put_word(&mut to, at * 4, *number);
        }
        for (at, number) in [free_blocks, free_inodes, folders].iter().enumerate() {
            put_half(&mut to, 12 + at * 2, *number);
        }
        Ok((free_blocks, free_inodes, to))
    }

    /// Writes a block with a bit for each thing that is taken; gives how many are free.
    fn write_map(&self, number: u32, is_taken: &dyn Fn(u32) -> bool) -> Result<u32> {
        let mut map = [0_u8; BLOCK];
        let mut free = 0;
        for (byte, first) in map.iter_mut().zip((0..).step_by(8)) {
            for bit in 0..8 {
                match is_taken(first + bit) {
                    true => *byte |= 1 << bit,
                    false => free += 1,
                }
            }
        }
        self.put_at(number, 0, &map)?;
        Ok(free)
    }

    /// Copies the inodes of a group to their place; gives how many are directories. Behind the last
    /// one there is a hole.
    fn write_table(&self, table: u32, first: u32, count: u32) -> Result<u32> {
        let mut buffer = [0; BLOCK];
        let mut folders = 0;
        let used = self.count.saturating_sub(first).min(count);
        for block in 0..used.div_ceil(INODES_A_BLOCK) {
            self.read_inode(first + block * INODES_A_BLOCK + 1, 0, &mut buffer)?;
            folders += buffer
                .chunks(INODE)
                .filter(|inode| inode.get(1).is_some_and(|high| high & 0xf0 == 0x40))
                .count() as u32;
            self.put_at(table + block, 0, &buffer)?;
        }
        Ok(folders)
    }

    fn superblock(
        &self,
        layout: &Layout,
        group: u32,
        [free_blocks, free_inodes]: [u32; 2],
        uuid: &[u8; 16],
        journal: Option<&[u8; 68]>,
    ) -> [u8; 1024] {
        let mut to = [0; 1024];
        for (at, word) in WORDS {
            put_word(&mut to, (*at).into(), *word);
        }
        for (at, half) in HALVES {
            put_half(&mut to, (*at).into(), (*half).into());
        }
        put_half(&mut to, 90, group);
        for (at, word) in [
            (0, layout.groups * layout.inodes_a_group),
            (4, layout.total),
            (12, free_blocks),
            (16, free_inodes),
            (40, layout.inodes_a_group),
            (48, self.time),
            (64, self.time),
            (264, self.time),
        ] {
            put_word(&mut to, at, word);
        }
        put(&mut to, 104, uuid);
        // The seed of the hash, which is half_md4; sixteen groups are one of flex_bg.
        put(&mut to, 236, uuid);
        put(&mut to, 252, &[1]);
        put(&mut to, 372, &[4]);
        if let Some(journal) = journal {
            // has_journal besides the others; where it is, and that this is told.
            put_word(&mut to, 92, 0x2c);
            put_word(&mut to, 224, JOURNAL);
            put(&mut to, 253, &[1]);
            put(&mut to, 268, journal);
        }
        to
    }
}

fn too_large() -> Error {
    Error::unsupported("lath writes ext4 below 16 TiB")
}

fn place_of(inode: u32) -> u64 {
    u64::from(inode.saturating_sub(1)) * INODE as u64
}
