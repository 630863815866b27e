//! Which names of a tree are one file: remembers the first name of each file that has more.
//!
//! Some thousand files are remembered in memory. When there are more, all are moved to a hash
//! table in nameless files on the tree's own file system (O_TMPFILE, open(2)); where those cannot
//! be made, memory must do.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, Stat};

use crate::error::Result;

const IN_MEMORY: usize = if cfg!(test) { 16 } else { 8192 };
/// A slot of the table: device, inode, and where the name is, plus one.
const SLOT: u64 = 24;

/// A file: its device and its inode.
type Id = (u64, u64);

/// The first names seen.
pub struct Links<'a> {
    directory: BorrowedFd<'a>,
    first: BTreeMap<Id, First>,
    limit: usize,
    table: Option<Table>,
}

struct First {
    path: Box<[u8]>,
    /// Names that have not been seen; without any the file is forgotten.
    left: u32,
}

impl<'a> Links<'a> {
    /// Nothing seen yet. Nameless files are made in `directory`.
    pub fn new(directory: BorrowedFd<'a>) -> Links<'a> {
        Links { directory, first: BTreeMap::new(), limit: IN_MEMORY, table: None }
    }

    /// The first name of this file, when this is not the first.
    pub fn first(&mut self, stat: &Stat, path: &[u8]) -> Result<Option<Vec<u8>>> {
        if stat.st_nlink < 2 {
            return Ok(None);
        }
        let id = (stat.st_dev, stat.st_ino);
        if let Some(table) = &mut self.table {
            return table.first(id, path);
        }
        if let Some(first) = self.first.get_mut(&id) {
            first.left -= 1;
            let name = first.path.to_vec();
            if first.left == 0 {
                self.first.remove(&id);
            }
            return Ok(Some(name));
        }
        let left = stat.st_nlink.try_into().unwrap_or(u32::MAX) - 1;
        self.first.insert(id, First { path: path.into(), left });
        if self.first.len() > self.limit {
            self.spill()?;
        }
        Ok(None)
    }

    fn spill(&mut self) -> Result<()> {
        let Some(mut table) = Table::new(self.directory, 4 * self.limit as u64) else {
            self.limit = usize::MAX;
            return Ok(());
        };
        for (id, first) in std::mem::take(&mut self.first) {
            table.first(id, &first.path)?;
        }
        self.table = Some(table);
        Ok(())
    }
}

/// A hash table with linear probing, in a file.
struct Table {
    slots: File,
    names: File,
    spare: File,
    names_end: u64,
    capacity: u64,
    used: u64,
}

impl Table {
    fn new(directory: BorrowedFd<'_>, capacity: u64) -> Option<Table> {
        let file = || {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::openat(directory, ".", flags, mode).ok().map(File::from)
        };
        let (slots, names, spare) = (file()?, file()?, file()?);
        slots.set_len(capacity * SLOT).ok()?;
        Some(Table { slots, names, spare, names_end: 0, capacity, used: 0 })
    }

    fn first(&mut self, id: Id, path: &[u8]) -> Result<Option<Vec<u8>>> {
        let (slot, name) = find(&self.slots, self.capacity, id)?;
        if let Some(at) = name {
            let mut length = [0; 4];
            self.names.read_exact_at(&mut length, at)?;
            let mut name = vec![0; u32::from_le_bytes(length) as usize];
            self.names.read_exact_at(&mut name, at + 4)?;
            return Ok(Some(name));
        }
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.names.write_all_at(&length, self.names_end)?;
        self.names.write_all_at(path, self.names_end + 4)?;
        write(&self.slots, slot, id, self.names_end)?;
        self.names_end += 4 + path.len() as u64;
        self.used += 1;
        if self.used * 2 > self.capacity { self.grow().map(|()| None) } else { Ok(None) }
    }

    /// Moves the slots to a table of twice the size.
    fn grow(&mut self) -> Result<()> {
        let capacity = self.capacity * 2;
        self.spare.set_len(0)?;
        self.spare.set_len(capacity * SLOT)?;
        for slot in 0..self.capacity {
            let (id, name) = read(&self.slots, slot)?;
            if let Some(name) = name {
                let (free, _) = find(&self.spare, capacity, id)?;
                write(&self.spare, free, id, name)?;
            }
        }
        std::mem::swap(&mut self.slots, &mut self.spare);
        self.capacity = capacity;
        Ok(())
    }
}

/// The slot of a file and where its name is, or the free slot where it belongs.
fn find(slots: &File, capacity: u64, id: Id) -> Result<(u64, Option<u64>)> {
    // Fibonacci hashing: neighbouring inodes go far apart.
    let hash = (id.1 ^ id.0.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut slot = (hash >> 16) % capacity;
    loop {
        let (found, name) = read(slots, slot)?;
        if name.is_none() || found == id {
            return Ok((slot, name));
        }
        slot = (slot + 1) % capacity;
    }
}

fn read(slots: &File, slot: u64) -> Result<(Id, Option<u64>)> {
    let mut bytes = [0; SLOT as usize];
    slots.read_exact_at(&mut bytes, slot * SLOT)?;
    let mut words = bytes
        .chunks_exact(8)
        .map(|word| word.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word)));
    let id = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok((id, words.next().unwrap_or_default().checked_sub(1)))
}

fn write(slots: &File, slot: u64, id: Id, name: u64) -> Result<()> {
    let words = [id.0, id.1, name + 1].map(u64::to_le_bytes);
    Ok(slots.write_all_at(words.as_flattened(), slot * SLOT)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tests::Scratch;

    #[test]
    fn more_files_than_fit_in_memory_keep_their_first_names() {
        let scratch = Scratch::new();
        let mut links = Links::new(scratch.fd());
        let count = IN_MEMORY * 12;
        for round in ["a", "b", "c"] {
            for number in 0..count {
                let path = scratch.path.join(format!("{round}{number}"));
                match round {
                    "a" => std::fs::write(&path, b"").unwrap(),
                    _ => {
                        std::fs::hard_link(scratch.path.join(format!("a{number}")), &path).unwrap()
                    }
                }
            }
        }
        for round in ["a", "b", "c"] {
            for number in 0..count {
                let name = format!("{round}{number}");
                let stat = rustix::fs::stat(scratch.path.join(&name)).unwrap();
                let first = links.first(&stat, name.as_bytes()).unwrap();
                let expected = (round != "a").then(|| format!("a{number}").into_bytes());
                assert_eq!(first, expected, "{name}");
            }
        }
        assert!(links.first.is_empty() && links.table.is_some_and(|table| table.capacity > 128));
    }

    #[test]
    fn a_file_whose_names_have_all_been_seen_is_forgotten() {
        let scratch = Scratch::new();
        scratch.write("a", b"");
        std::fs::hard_link(scratch.path.join("a"), scratch.path.join("b")).unwrap();
        let mut links = Links::new(scratch.fd());
        let stat = rustix::fs::stat(scratch.path.join("a")).unwrap();
        assert_eq!(links.first(&stat, b"a").unwrap(), None);
        assert_eq!(links.first(&stat, b"b").unwrap().as_deref(), Some(b"a".as_slice()));
        assert!(links.first.is_empty());
    }
}
