//! Where copies come from: a tree by descriptor, patterns looked up in it, and the digest of what
//! they found, for the cache key.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::stat_cache::{self, Reader, StatCache};
use crate::error::{Context, Error, Result};
use crate::layer::walk::{Visit, Walk};
use crate::pattern::{Glob, Ignore, Part};
use crate::snapshot::Merged;
use crate::store::Store;
use crate::sys::fs::{BUFFER, open_in_root};
use crate::sys::mount::fd_path;
use crate::sys::signal;

/// A tree that files are copied from. Nothing outside of its root is ever reached.
pub struct Tree {
    root: Merged,
    ignore: Ignore,
    /// Owners are kept; in a build context they are nobody's.
    pub keeps_owner: bool,
    /// What is known of its files from earlier builds.
    cache: Option<StatCache>,
}

/// A source that was found.
pub struct Found {
    /// Its path as the pattern led to it, without a leading slash; empty for the root.
    pub path: PathBuf,
    /// Its path after links were followed.
    pub real: PathBuf,
    /// What it is, after links were followed.
    pub stat: Stat,
}

impl Found {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// The name that a copy of it gets.
    pub fn name(&self) -> Result<CString> {
        name_of(&self.path).or_else(|_| name_of(&self.real))
    }
}

fn name_of(path: &Path) -> Result<CString> {
    let name = path.file_name().unwrap_or_default();
    if name.is_empty() {
        return Err(Error::input("the source has no name"));
    }
    CString::new(name.as_bytes()).map_err(|_| Error::input("a name has a NUL byte"))
}

impl Tree {
    /// The tree below an open directory.
    pub fn new(root: impl Into<Merged>, ignore: Ignore, keeps_owner: bool) -> Tree {
        let root = root.into();
        Tree { root, ignore, keeps_owner, cache: None }
    }

    /// The same, whose unchanged files are not read again.
    pub fn remembered(mut self, store: &Arc<Store>) -> Tree {
        let path = rustix::fs::readlink(fd_path(self.root()), Vec::new());
        self.cache = path.ok().and_then(|path| StatCache::of(store, self.root(), path.to_bytes()));
        self
    }

    /// The root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The root, to be mounted.
    pub fn into_root(self) -> OwnedFd {
        self.root.into_dir()
    }

    /// Whether anything is left out at all.
    pub fn has_rules(&self) -> bool {
        !self.ignore.is_empty()
    }

    /// Whether a path is there for nobody.
    pub fn ignores(&self, path: &Path) -> bool {
        !self.ignore.is_empty() && self.ignore.excludes(path.as_os_str().as_bytes())
    }

    /// Whether a path and all below it is there for nobody, as far as the rules alone can say.
    pub fn leaves_out(&self, path: &Path) -> bool {
        !self.ignore.has_exceptions() && self.ignores(path)
    }

    /// Whether something in an ignored directory may be there all the same.
    pub fn may_include_below(&self, path: &Path) -> bool {
        self.ignore.may_include_below(path.as_os_str().as_bytes())
    }

    /// What a path or pattern leads to, in order. A path that is not there is an error; a pattern
    /// without matches finds nothing. `deep`: `**` stands for any number of directories.
    pub fn find(&self, pattern: &str, deep: bool) -> Result<Vec<Found>> {
        let glob = Glob::parse(pattern)?;
        let mut found = Vec::new();
        self.expand(glob.parts(), deep, &mut PathBuf::new(), &mut found)?;
        if found.is_empty() && !glob.is_wild() {
            return Err(self.missing(pattern));
        }
        Ok(found)
    }

    /// The error for a path that leads to nothing, with the reason where it can be told.
    pub fn missing(&self, path: &str) -> Error {
        let error = Error::not_found(format!("{path:?}: not found"));
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let path = Path::new(path.trim_start_matches('/'));
        let Ok(opened) = open_in_root(self.root(), path, flags, Mode::empty()) else {
            return error;
        };
        match rustix::fs::readlinkat(&opened, "", Vec::new()) {
            Ok(target) if !self.ignores(path) => {
                error.hint(format!("it is a symbolic link to {target:?}, which is not there"))
            }
            _ => error.hint("it is there, but .dockerignore leaves it out"),
        }
    }

    fn expand(
        &self,
        parts: &[Part],
        deep: bool,
        path: &mut PathBuf,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let Some((part, rest)) = parts.split_first() else {
            found.extend(self.look(path)?);
            return Ok(());
        };
        if let Part::Name(name) = part {
            path.push(OsStr::from_bytes(name.as_ref()));
            self.expand(rest, deep, path, found)?;
            path.pop();
            return Ok(());
        }
        let is_deep = deep && matches!(part, Part::Wild(text) if text == "**");
        if is_deep {
            self.expand(rest, deep, path, found)?;
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let dir = match open_in_root(self.root(), path.as_path(), flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(other) => return Err(other).context(|| format!("read {path:?}")),
        };
        let mut walk = Walk::new(dir.as_fd(), None)?;
        loop {
            let (name, is_dir) = match walk.next_visit()? {
                None => return Ok(()),
                Some(Visit::Leave { .. }) => continue,
                Some(Visit::Enter(entry)) => {
                    let name = OsString::from_vec(entry.name.to_vec());
                    let is_dir = entry.directory.is_some();
                    if is_dir {
                        walk.prune();
                    }
                    (name, is_dir)
                }
            };
            let rest = if is_deep { parts } else { rest };
            if part.matches(name.as_bytes()) && (is_dir || !is_deep) {
                path.push(&name);
                self.expand(rest, deep, path, found)?;
                path.pop();
            }
        }
    }

    /// Looks at one path, links followed inside the root; what is ignored is not there.
    pub fn look(&self, path: &Path) -> Result<Option<Found>> {
        let opened = match open_in_root(self.root(), path, OFlags::PATH, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(other) => return Err(other).context(|| format!("open {path:?}")),
        };
        let stat = rustix::fs::fstat(&opened)?;
        let real = self.path_of(opened.as_fd())?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        for path in [path, &real] {
            // The root itself is there for everybody.
            if path.as_os_str().is_empty() || path == Path::new(".") {
                continue;
            }
            if self.ignores(path) && !(is_dir && self.may_include_below(path)) {
                return Ok(None);
            }
        }
        Ok(Some(Found { path: path.to_owned(), real, stat }))
    }

    /// Where in the tree an open file is.
    fn path_of(&self, file: BorrowedFd<'_>) -> Result<PathBuf> {
        let read = |fd| -> Result<PathBuf> {
            let path = rustix::fs::readlink(fd_path(fd), Vec::new())?;
            Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
        };
        let (root, path) = (read(self.root())?, read(file)?);
        path.strip_prefix(&root)
            .map(Path::to_owned)
            .map_err(|_| Error::input(format!("{path:?} is not in {root:?}")))
    }

    /// Opens something that was found, not to be read but to be mounted.
    pub fn open_path(&self, path: &Path) -> Result<OwnedFd> {
        open_in_root(self.root(), path, OFlags::PATH, Mode::empty())
            .context(|| format!("open {path:?}"))
    }

    /// Opens a found directory.
    pub fn open_dir(&self, path: &Path) -> Result<OwnedFd> {
        open_in_root(self.root(), path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
            .context(|| format!("open {path:?}"))
    }

    /// Opens a found file for reading.
    pub fn open_file(&self, path: &Path) -> Result<OwnedFd> {
        open_in_root(self.root(), path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
            .context(|| format!("open {path:?}"))
    }

    /// Adds all that a copy of the source would take to a digest: names, kinds, modes, contents,
    /// for images owners too; never times, since a checkout has new ones.
    pub fn digest(
        &self,
        found: &Found,
        excludes: &Ignore,
        into: &mut blake3::Hasher,
    ) -> Result<()> {
        let mut known = self.cache.as_ref().map(StatCache::reader);
        let digested = self.digest_all(found, excludes, &mut Framed::new(into), known.as_mut());
        if let Some(known) = known {
            known.finish(self.root());
        }
        digested
    }

    /// Which of the files that a copy of the sources takes are not what they were before this
    /// build, in words.
    pub fn changes(
        &self,
        sources: &mut dyn Iterator<Item = &Found>,
        excludes: &Ignore,
    ) -> Result<Option<String>> {
        let Some(mut known) = self.cache.as_ref().map(StatCache::comparing) else {
            return Ok(None);
        };
        for found in sources {
            let mut nobody = blake3::Hasher::new();
            self.digest_all(found, excludes, &mut Framed::new(&mut nobody), Some(&mut known))?;
        }
        Ok(known.changes())
    }

    fn digest_all(
        &self,
        found: &Found,
        excludes: &Ignore,
        into: &mut Framed<'_>,
        mut known: Option<&mut Reader<'_>>,
    ) -> Result<()> {
        into.frame(found.path.as_os_str().as_bytes());
        self.digest_entry(&found.stat, b"", into);
        if !found.is_dir() {
            if FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile {
                let path = found.real.as_os_str().as_bytes();
                let mut open = || self.open_file(&found.real);
                into.frame(&content(path, &found.stat, known, &mut open)?);
            }
            return Ok(());
        }
        let dir = self.open_dir(&found.real)?;
        let mut walk = Walk::new(dir.as_fd(), None)?;
        loop {
            signal::check()?;
            let is_pruned = match walk.next_visit()? {
                None => return Ok(()),
                Some(Visit::Leave { .. }) => false,
                Some(Visit::Enter(entry)) => {
                    let path = found.real.join(OsStr::from_bytes(entry.path));
                    let is_dir = entry.directory.is_some();
                    if self.ignores(&path) {
                        is_dir && !self.may_include_below(&path)
                    } else if !excludes.is_empty() && excludes.excludes(entry.path) {
                        is_dir && !excludes.may_include_below(entry.path)
                    } else {
                        into.frame(entry.path);
                        let name = OsStr::from_bytes(entry.name);
                        let kind = FileType::from_raw_mode(entry.stat.st_mode);
                        if kind == FileType::Symlink {
                            let target = rustix::fs::readlinkat(entry.parent, name, Vec::new())
                                .context(|| format!("read {path:?}"))?;
                            self.digest_entry(&entry.stat, target.to_bytes(), into);
                        } else {
                            self.digest_entry(&entry.stat, b"", into);
                        }
                        if kind == FileType::RegularFile {
                            let mut open = || {
                                let flags = OFlags::RDONLY
                                    | OFlags::NOFOLLOW
                                    | OFlags::CLOEXEC
                                    | OFlags::NONBLOCK;
                                rustix::fs::openat(entry.parent, name, flags, Mode::empty())
                                    .context(|| format!("open {path:?}"))
                            };
                            let path = path.as_os_str().as_bytes();
                            let known = known.as_deref_mut();
                            into.frame(&content(path, &entry.stat, known, &mut open)?);
                        }
                        false
                    }
                }
            };
            if is_pruned {
                walk.prune();
            }
        }
    }

    fn digest_entry(&self, stat: &Stat, target: &[u8], into: &mut Framed<'_>) {
        into.add(&stat.st_mode.to_le_bytes());
        into.add(&stat.st_rdev.to_le_bytes());
        if self.keeps_owner {
            into.add(&stat.st_uid.to_le_bytes());
            into.add(&stat.st_gid.to_le_bytes());
        }
        into.frame(target);
    }
}

/// What is added to a digest in small pieces, gathered: each call of the hasher costs more than the
/// piece does.
pub(super) struct Framed<'a> {
    into: &'a mut blake3::Hasher,
    pending: Vec<u8>,
}

impl<'a> Framed<'a> {
    const MANY: usize = 8 << 10;

    pub(super) fn new(into: &'a mut blake3::Hasher) -> Framed<'a> {
        Framed { into, pending: Vec::new() }
    }

    #[inline(always)]
    fn add(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Adds bytes, framed by their length.
    pub(super) fn frame(&mut self, bytes: &[u8]) {
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
        if self.pending.len() >= Framed::MANY {
            self.into.update(&self.pending);
            self.pending.clear();
        }
    }
}

impl Drop for Framed<'_> {
    fn drop(&mut self) {
        self.into.update(&self.pending);
    }
}

/// The digest of a file's content: from what is known, else read.
fn content(
    path: &[u8],
    stat: &Stat,
    known: Option<&mut Reader<'_>>,
    open: &mut dyn FnMut() -> Result<OwnedFd>,
) -> Result<[u8; 32]> {
    let Some(known) = known else { return digest_file(open()?.as_fd()) };
    let digest = match known.digest(path, stat) {
        Some(digest) => digest,
        None => {
            let since = stat_cache::now();
            let file = open()?;
            let digest = digest_file(file.as_fd())?;
            known.keep(path, (stat, &rustix::fs::fstat(&file)?), since, &digest);
            digest
        }
    };
    known.compare(path, stat, &digest);
    Ok(digest)
}

fn digest_file(file: BorrowedFd<'_>) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let size = usize::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(BUFFER);
    let mut buffer = vec![0u8; size.clamp(1, BUFFER - 1) + 1];
    loop {
        signal::check()?;
        match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => continue,
            Err(other) => return Err(other.into()),
        };
    }
}
