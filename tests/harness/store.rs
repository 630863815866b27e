//! A store seen from outside: every name with what a write would change of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every path under a folder with its inode, size, times and mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing(BTreeMap<PathBuf, String>);

impl Listing {
    /// Reads it; nothing is followed.
    pub fn of(folder: &Path) -> Listing {
        let mut found = BTreeMap::new();
        walk(folder, &mut found);
        Listing(found)
    }

    /// What the two have not in common, for a message.
    pub fn difference(&self, later: &Listing) -> Vec<String> {
        let mut all: Vec<_> = self.0.keys().chain(later.0.keys()).collect();
        all.sort();
        all.dedup();
        let describe = |list: &Listing, path: &Path| list.0.get(path).cloned().unwrap_or_default();
        all.into_iter()
            .map(|path| (path, describe(self, path), describe(later, path)))
            .filter(|(_, before, after)| before != after)
            .map(|(path, before, after)| format!("{}: [{before}] -> [{after}]", path.display()))
            .collect()
    }

    /// Wants both to be the same.
    #[track_caller]
    pub fn assert_same(&self, later: &Listing) {
        let difference = self.difference(later);
        assert!(difference.is_empty(), "the store changed:\n{}", difference.join("\n"));
    }

    /// The paths alone, from the folder on.
    pub fn names(&self) -> Vec<&Path> {
        self.0.keys().map(PathBuf::as_path).collect()
    }
}

fn walk(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let line = format!(
        "inode {} mode {:o} size {} mtime {}.{:09} ctime {}.{:09}",
        meta.ino(),
        meta.mode(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    );
    found.insert(path.to_owned(), line);
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), found);
        }
    }
}
