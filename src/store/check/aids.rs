//! What only spares work, and what is nobody's: cache mounts, what is known of contexts, layers
//! and addresses, the places for mounts, unfinished work.

use rustix::fs::{FileType, FlockOperation};
use std::os::unix::fs::FileExt;

use super::{Check, Fault, Remedy, Unreadable, fault};
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::json;
use crate::store::context::{BLOCK, FOLDER, HEAD, MAGIC, read_block};
use crate::store::{Fetched, Store, contents, manifests};
use crate::sys::fs::open_dir;

impl Check<'_> {
    pub(super) fn aids(&mut self, mountpoints: (&[&str], &[&str])) -> Result<()> {
        let is_hash = |name: &str| {
            matches!(name.len(), 32 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit())
        };
        self.each("mounts", &is_hash, &mut |check, name| {
            check.each(&format!("mounts/{name}"), &|name| name == "data", &mut |_, _| Ok(()))
        })?;
        self.each(FOLDER, &is_hash, &mut |check, name| {
            let path = format!("{FOLDER}/{name}");
            check.file(&path, "what is known of a context", &|store| store.is_whole_context(&path))
        })?;
        self.each("urls", &is_hash, &mut |check, name| {
            let path = format!("urls/{name}");
            check.file(&path, "what was fetched", &|store| {
                let is_whole =
                    |text: Vec<u8>| Fetched::parse(&String::from_utf8_lossy(&text)).is_some();
                Ok(store.plain(&path, 4096)?.map(is_whole))
            })
        })?;
        let is_part = |name: &str| {
            let (hex, start) = name.split_once('-').unwrap_or_default();
            Digest::parse_hex(hex).is_some() && start.bytes().all(|b| b.is_ascii_digit())
        };
        self.each("partial", &is_part, &mut |_, _| Ok(()))?;
        self.each("lists", &is_hash, &mut |check, name| {
            let path = format!("lists/{name}");
            check.file(&path, "a list of manifests", &|store| {
                let text = store.plain(&path, json::MAX_BYTES)?;
                Ok(text.map(|text| json::Value::parse(&text).is_ok()))
            })
        })?;
        let is_digest = |name: &str| Digest::parse_hex(name).is_some();
        self.each(manifests::FOLDER, &is_digest, &mut |check, name| {
            let path = format!("{}/{name}", manifests::FOLDER);
            check.file(&path, "a manifest of this digest", &|store| {
                let text = store.plain(&path, json::MAX_BYTES)?;
                Ok(text.map(|text| Digest::of(&text).hex() == name))
            })
        })?;
        self.file("contents", "whole entries", &|store| {
            Ok(store.open_plain("contents")?.map(|file| contents::is_whole(&file)))
        })?;
        self.look(&mut |store| {
            let found = store.mountpoints_differ("mountpoints", mountpoints)?;
            Ok(found.map(|path| fault("mountpoints", "empty places for mounts", &path)))
        })?;
        self.unfinished()
    }

    fn file(
        &mut self,
        path: &str,
        expected: &str,
        is_whole: &dyn Fn(&Store) -> Result<std::result::Result<bool, Unreadable>>,
    ) -> Result<()> {
        self.look(&mut |store| {
            let found = match is_whole(store)? {
                Ok(true) => return Ok(None),
                Ok(false) => "damage".to_owned(),
                Err(_) if !store.exists(path)? => return Ok(None),
                Err(found) => found,
            };
            // Of what is not synced a power cut may leave half.
            let is_aid = [FOLDER, "urls", "contents"].iter().any(|aid| path.starts_with(aid));
            let remedy = if is_aid { Remedy::Forget } else { Remedy::Remove };
            Ok(Some(Fault { remedy, ..fault(path, expected, &found) }))
        })?;
        Ok(())
    }

    /// What no living process holds the lock of, and what cannot be swept.
    fn unfinished(&mut self) -> Result<()> {
        self.each("tmp", &|_| true, &mut |check, name| {
            let path = format!("tmp/{name}");
            if !is_stray(check.store, &path)? {
                return Ok(());
            }
            // It may have had an owner until now, as it had when the store was opened.
            if check.lock.is_none() {
                check.store.sweep()?;
            }
            let what = || fault(&path, "nothing", "unfinished work of nobody");
            check.look(&mut |store| Ok(is_stray(store, &path)?.then(what))).map(drop)
        })
    }
}

/// Whether nobody works there.
fn is_stray(store: &Store, path: &str) -> Result<bool> {
    let Ok(dir) = open_dir(store.fd(), path) else {
        // A file's writer holds the lock, so that under the lock it is nobody's.
        return store.exists(path);
    };
    let mut is_stray = false;
    if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared).is_ok() {
        // An empty one is just being made.
        store.each_name(path, &mut |_| {
            is_stray = true;
            Ok(false)
        })?;
    }
    Ok(is_stray && store.exists(path)?)
}

impl Store {
    fn is_whole_context(&self, path: &str) -> Result<std::result::Result<bool, Unreadable>> {
        let file = match self.open_plain(path)? {
            Ok(file) => file,
            Err(found) => return Ok(Err(found)),
        };
        let length = file.metadata()?.len();
        let mut magic = [0; MAGIC.len()];
        let begins = file.read_exact_at(&mut magic, 0).is_ok() && magic == *MAGIC;
        let Some(rest) = length.checked_sub(HEAD as u64).filter(|_| begins) else {
            return Ok(Ok(false));
        };
        let mut block = Vec::new();
        let are_whole =
            (0..rest / BLOCK as u64).all(|at| read_block(&file, at, &mut block).is_some());
        Ok(Ok(are_whole && rest % BLOCK as u64 == 0))
    }

    /// What is in the folder of mount points and does not belong there.
    fn mountpoints_differ(
        &self,
        dir: &str,
        (dirs, files): (&[&str], &[&str]),
    ) -> Result<Option<String>> {
        let mut differs = None;
        self.entries(dir, &mut |name, kind| {
            let path = format!("{dir}/{name}");
            let inside = path.strip_prefix("mountpoints/").unwrap_or_default();
            let is_dir = kind == FileType::Directory;
            let is_known = match is_dir {
                true => dirs.iter().chain(files).any(|known| {
                    known
                        .strip_prefix(inside)
                        .is_some_and(|rest| matches!(rest.get(..1), None | Some("/")))
                }),
                false => {
                    let stat = rustix::fs::statat(
                        self.fd(),
                        &path,
                        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
                    )?;
                    kind == FileType::RegularFile && files.contains(&inside) && stat.st_size == 0
                }
            };
            if !is_known {
                differs = Some(path);
            } else if is_dir && let Some(found) = self.mountpoints_differ(&path, (dirs, files))? {
                differs = Some(found);
            }
            Ok(())
        })?;
        Ok(differs)
    }
}
