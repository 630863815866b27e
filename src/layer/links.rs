//! Which names of a tree are one file: remembers the first name of each file that has more.

use std::collections::BTreeMap;

use rustix::fs::Stat;

/// The first names seen. A file whose names have all been seen is forgotten.
#[derive(Default)]
pub struct Links {
    first: BTreeMap<(u64, u64), First>,
}

struct First {
    path: Box<[u8]>,
    left: u32,
}

impl Links {
    /// The first name of this file, when this is not the first.
    pub fn first(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let id = (stat.st_dev, stat.st_ino);
        let Some(first) = self.first.get_mut(&id) else {
            let left = stat.st_nlink.try_into().unwrap_or(u32::MAX) - 1;
            self.first.insert(id, First { path: path.into(), left });
            return None;
        };
        first.left -= 1;
        let name = first.path.to_vec();
        if first.left == 0 {
            self.first.remove(&id);
        }
        Some(name)
    }
}
