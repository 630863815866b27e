//! The cache by itself: order, news, damage, time.

use super::*;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> (Place, StatCache) {
        let path = std::env::temp_dir().join(format!("lath-stat-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("tree")).unwrap();
        let store = Arc::new(Store::open(&path.join("store")).unwrap());
        let cache =
            StatCache { store, key: "k".into(), merging: Mutex::new(()), first: OnceLock::new() };
        (Place(path), cache)
    }

    fn root(&self) -> File {
        File::open(self.0.join("tree")).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What stat says of file number `n` at its time number `time`; all of long ago.
fn stat_of(n: u64, time: i64) -> Stat {
    let mut stat = rustix::fs::stat("/").unwrap();
    (stat.st_ino, stat.st_size) = (n, 7);
    (stat.st_mtime, stat.st_ctime) = (1000 + time, 1000 + time);
    stat
}

/// Paths in the order of a walk, some much longer than others.
fn paths() -> Vec<Vec<u8>> {
    let mut all: Vec<PathBuf> = (0..1500_usize)
        .map(|n| match n % 4 {
            0 => PathBuf::from(format!("d{}/f{n}", n % 7)),
            1 => PathBuf::from(format!("d{}.x{n}", n % 7)),
            2 => PathBuf::from(format!("d{}/e/{}{n}", n % 7, "long".repeat(n % 300))),
            _ => PathBuf::from(format!("z{n}")),
        })
        .collect();
    // Paths of std compare by their components, as a walk does.
    all.sort();
    all.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect()
}

fn keep_all(cache: &StatCache, root: &File, paths: &[Vec<u8>], time: i64) {
    let mut reader = cache.reader();
    for (n, path) in paths.iter().enumerate() {
        let stat = stat_of(n as u64, time);
        if reader.digest(path, &stat).is_none() {
            let digest = *blake3::hash(path).as_bytes();
            reader.keep(path, (&stat, &stat), now(), &digest);
        }
    }
    reader.finish(root.as_fd());
}

fn known(reader: &mut Reader<'_>, n: usize, path: &[u8], time: i64) -> bool {
    let digest = reader.digest(path, &stat_of(n as u64, time));
    assert!(digest.is_none_or(|digest| digest == *blake3::hash(path).as_bytes()));
    digest.is_some()
}

#[test]
fn what_was_kept_is_found_in_any_order() {
    let (place, cache) = Place::new("order");
    let paths = paths();
    keep_all(&cache, &place.root(), &paths, 0);
    let mut reader = cache.reader();
    assert!(reader.blocks > 20);
    for (n, path) in paths.iter().enumerate() {
        assert!(known(&mut reader, n, path, 0), "forward: {path:?}");
    }
    for (n, path) in paths.iter().enumerate().rev() {
        assert!(known(&mut reader, n, path, 0), "backward: {path:?}");
    }
    for at in 0..paths.len() {
        let n = at * 769 % paths.len();
        assert!(known(&mut reader, n, &paths[n], 0), "here and there: {n}");
    }
    for missing in [&b""[..], b"a", b"d0", b"d0/", b"d3/f0", b"zz", &[b'd'; 9000]] {
        assert!(!known(&mut reader, 0, missing, 0));
    }
    assert!(!known(&mut reader, 5, &paths[5], 1), "another time is another content");
}

#[test]
fn news_are_merged_and_files_that_are_gone_are_forgotten_in_time() {
    let (place, cache) = Place::new("merge");
    let paths = paths();
    let odd: Vec<Vec<u8>> = paths.iter().skip(1).step_by(2).cloned().collect();
    for path in &odd {
        let file = place.0.join("tree").join(Path::new(std::ffi::OsStr::from_bytes(path)));
        if path.len() < 200 {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
    }
    keep_all(&cache, &place.root(), &paths, 0);
    let size =
        |cache: &StatCache| cache.store.context("k").unwrap().unwrap().metadata().unwrap().len();
    let first = size(&cache);
    // Nothing new: nothing is written.
    let before = cache.store.context("k").unwrap().unwrap().metadata().unwrap();
    keep_all(&cache, &place.root(), &paths, 0);
    let after = cache.store.context("k").unwrap().unwrap().metadata().unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    // One changes.
    let mut reader = cache.reader();
    let stat = stat_of(7, 9);
    reader.keep(&paths[7], (&stat, &stat), now(), blake3::hash(&paths[7]).as_bytes());
    reader.finish(place.root().as_fd());
    let mut reader = cache.reader();
    for (n, path) in paths.iter().enumerate() {
        assert!(known(&mut reader, n, path, if n == 7 { 9 } else { 0 }), "{n}");
    }
    // Many others come, none of them there: then it is looked after all.
    for round in 0..3 {
        let others: Vec<Vec<u8>> =
            paths.iter().map(|path| [path, format!("~{round}").as_bytes()].concat()).collect();
        keep_all(&cache, &place.root(), &others, 0);
    }
    assert!(size(&cache) < 3 * first, "{} {first}", size(&cache));
    let mut reader = cache.reader();
    let there = odd.iter().find(|path| path.len() < 200).unwrap();
    let n = paths.iter().position(|path| path == there).unwrap();
    assert!(known(&mut reader, n, there, 0));
}

#[test]
fn damage_costs_a_reading_and_is_never_believed() {
    let (place, cache) = Place::new("damage");
    let paths = paths();
    keep_all(&cache, &place.root(), &paths, 0);
    let path = place.0.join("store/context/k");
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(997) {
        let mut bad = whole.clone();
        bad[at] ^= 0x20;
        std::fs::write(&path, &bad).unwrap();
        let mut reader = cache.reader();
        for n in (0..paths.len()).step_by(31) {
            known(&mut reader, n, &paths[n], 0);
        }
    }
    for length in [0, 1, 15, 16, 17, BLOCK, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        keep_all(&cache, &place.root(), &paths, 0);
        let mut reader = cache.reader();
        for (n, path) in paths.iter().enumerate() {
            assert!(known(&mut reader, n, path, 0), "cut at {length}: {path:?}");
        }
    }
}

#[test]
fn a_file_that_is_young_or_changes_meanwhile_is_not_kept() {
    let (place, cache) = Place::new("young");
    let old = stat_of(1, 0);
    let mut changed = old;
    changed.st_size += 1;
    let second = 1_000_000_000;
    let stamp = modified(&old);
    let mut whole = old;
    (whole.st_mtime_nsec, whole.st_ctime_nsec) = (0, 0);
    let mut fine = old;
    (fine.st_mtime_nsec, fine.st_ctime_nsec) = (5, 5);
    for (around, since, is_kept) in [
        ((&old, &old), stamp + 100 * second, true),
        ((&old, &changed), stamp + 100 * second, false),
        ((&fine, &fine), modified(&fine) + second / 100, false),
        ((&fine, &fine), modified(&fine) + second / 10, true),
        ((&whole, &whole), modified(&whole) + second, false),
        ((&whole, &whole), modified(&whole) + 3 * second, true),
        ((&fine, &fine), modified(&fine) - second, false),
    ] {
        let _ = std::fs::remove_file(place.0.join("store/context/k"));
        let mut reader = cache.reader();
        reader.keep(b"x", around, since, &[1; 32]);
        reader.finish(place.root().as_fd());
        assert_eq!(cache.reader().digest(b"x", around.0).is_some(), is_kept, "{since}");
    }
}
