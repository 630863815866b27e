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

    /// Whether all is the same but the sizes and times of folders.
    pub fn has_files_of(&self, later: &Listing) -> bool {
        let rest = |list: &'_ Listing| -> Vec<(PathBuf, String)> {
            let own = |line: &str| match line.split_once(" size ") {
                Some((start, _)) if start.contains(" mode 4") => start.to_owned(),
                _ => line.to_owned(),
            };
            list.0.iter().map(|(path, line)| (path.clone(), own(line))).collect()
        };
        rest(self) == rest(later)
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
