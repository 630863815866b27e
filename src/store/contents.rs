//! `contents`: what copies take out of layers, by the layers and the words of the copy, so that a
//! step from the cache need not read them again. Layers never change, so an entry is true for
//! ever. Only an aid: a lost or damaged entry costs time and nothing else, so nothing is synced.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};

use super::Store;
use crate::error::{Context, Result};
use crate::sys::fs::write_all;

const FILE: &str = "contents";
/// Key, digest, checksum of both.
const ENTRY: usize = 32 + 32 + 8;
/// Beyond that it begins anew: some fourteen thousand entries.
const MOST: u64 = 1 << 20;

impl Store {
    /// The digest that was kept under a key.
    pub fn content(&self, key: &[u8; 32]) -> Option<[u8; 32]> {
        self.own_content(key).or_else(|| self.below()?.content(key))
    }

    fn own_content(&self, key: &[u8; 32]) -> Option<[u8; 32]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::openat(self.fd(), FILE, flags, Mode::empty()).ok()?);
        let mut block = [0; ENTRY * 128];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut block, at).ok()?;
            let mut entries = block.get(..read)?.chunks_exact(ENTRY);
            if let Some(entry) = entries.find(|entry| entry.starts_with(key)) {
                let (pair, sum) = entry.split_at_checked(64)?;
                return pair.get(32..)?.try_into().ok().filter(|_| checksum(pair) == sum);
            }
            if read < block.len() {
                return None;
            }
            at += read as u64;
        }
    }

    /// Keeps a digest.
    pub fn keep_content(&self, key: &[u8; 32], digest: &[u8; 32]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(self.fd(), FILE, flags, Mode::from_raw_mode(0o600))
            .context(|| "open \"contents\" in the store")?;
        let size = rustix::fs::fstat(&file)?.st_size as u64;
        // A write that was cut short would shift all that comes after it.
        if size > MOST || !size.is_multiple_of(ENTRY as u64) {
            rustix::fs::ftruncate(&file, 0).context(|| "truncate \"contents\" in the store")?;
        }
        let pair = [*key, *digest].concat();
        let entry = [pair.as_slice(), checksum(&pair).as_slice()].concat();
        write_all(file.as_fd(), &entry).context(|| "write \"contents\" in the store")
    }
}

/// Whether all entries of the file are whole. It must not be longer than it is cut at, either.
#[cfg(feature = "fsck")]
pub(super) fn is_whole(file: &File) -> bool {
    let mut block = [0; ENTRY * 128];
    let mut at = 0;
    loop {
        let Ok(read) = file.read_at(&mut block, at) else { return false };
        let mut entries = block.get(..read).unwrap_or_default().chunks(ENTRY);
        let is_whole = |entry: &[u8]| {
            entry.split_at_checked(64).is_some_and(|(pair, sum)| checksum(pair) == sum)
        };
        if !entries.all(is_whole) {
            return false;
        }
        if read < block.len() {
            return true;
        }
        at += read as u64;
    }
}

/// Eight bytes by which damage is known, where nothing is synced.
pub fn checksum(bytes: &[u8]) -> [u8; 8] {
    blake3::hash(bytes).as_bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_damage_is_not_believed() {
        let path = std::env::temp_dir().join(format!("lath-contents-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let store = Store::open(&path).unwrap();
        let key = |n: u32| *blake3::hash(&n.to_le_bytes()).as_bytes();
        assert_eq!(store.content(&key(0)), None);
        for n in 0..300 {
            store.keep_content(&key(n), &key(n + 1000)).unwrap();
        }
        for n in 0..300 {
            assert_eq!(store.content(&key(n)), Some(key(n + 1000)));
        }
        assert_eq!(store.content(&key(300)), None);
        let file = path.join(FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[5 * ENTRY + 40] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(store.content(&key(5)), None);
        assert_eq!(store.content(&key(6)), Some(key(1006)));
        // Cut short: it begins anew.
        std::fs::write(&file, &bytes[..ENTRY + 9]).unwrap();
        assert_eq!(store.content(&key(1)), None);
        store.keep_content(&key(7), &key(8)).unwrap();
        assert_eq!(store.content(&key(7)), Some(key(8)));
        std::fs::write(&file, vec![0; (MOST as usize / ENTRY + 1) * ENTRY]).unwrap();
        store.keep_content(&key(9), &key(10)).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().len(), ENTRY as u64);
        let _ = std::fs::remove_dir_all(&path);
    }
}
