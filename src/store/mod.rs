//! The flat files under one root: layers, images, names, cache records and unfinished work.
//! Nobody else knows a path in there. docs/ARCHITECTURE.md draws the tree and the order in which
//! things become visible.

mod below;
mod cache;
#[cfg(feature = "fsck")]
mod check;
mod collect;
mod containers;
mod contents;
pub mod context;
mod driver;
mod images;
mod layers;
mod limit;
#[cfg(feature = "net")]
mod lists;
mod lock;
mod manifests;
mod mounts;
#[cfg(feature = "bridge")]
pub mod networks;
mod partial;
mod prune;
mod publish;
mod refs;
mod remove;
mod scratch;
mod seal;
mod size;
mod urls;
mod used;
mod version;
#[cfg(feature = "containers")]
pub mod volumes;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags};

pub use cache::{CacheKey, Record};
#[cfg(feature = "fsck")]
pub use check::{Checked, Counts, Fault, Lost, Remedy, Source};
pub use collect::Freed;
pub use containers::Folder;
pub use contents::checksum;
pub use driver::{Choice, Driver};
pub use layers::{Layer, LayerName};
pub use limit::{Announced, PIECE};
pub use lock::Look;
pub use mounts::{CacheMount, Sharing};
pub use partial::Partial;
pub use prune::{Pruned, Wanted};
pub use publish::{NewImage, NewLayer, NewRecord, Publication};
pub use refs::Name;
pub use remove::Removal;
pub use scratch::{Scratch, Workspace};
pub use size::Sizes;
pub use urls::Fetched;

use crate::error::{Context, Error, Kind, Result};

/// The directories of a store.
const DIRECTORIES: [&str; 7] = ["layers", "chains", "images", "steps", "refs", "cache", "tmp"];

/// An open store.
pub struct Store {
    root: OwnedFd,
    path: PathBuf,
    gauge: limit::Gauge,
    marks_by_name: bool,
    choice: OnceLock<Choice>,
    /// The next one of the read-only stores below.
    below: Option<Box<Store>>,
}

impl Store {
    /// Opens the store at `path`; makes it, with mode 0700, when it is not there.
    pub fn open(path: &Path) -> Result<Store> {
        Store::open_as(path, false)
    }

    /// The same, or one that is below another: there it is only looked.
    fn open_as(path: &Path, is_below: bool) -> Result<Store> {
        let open = || rustix::fs::open(path, DIRECTORY, Mode::empty());
        let root = match open() {
            Ok(root) => root,
            Err(rustix::io::Errno::NOENT) if !is_below => {
                make_root(path)?;
                open().context(|| format!("open the store {path:?}"))?
            }
            Err(other) => return Err(other).context(|| format!("open the store {path:?}")),
        };
        let stat = rustix::fs::fstat(&root).context(|| format!("stat {path:?}"))?;
        let is_roots = is_below && stat.st_uid == 0;
        if stat.st_uid != rustix::process::geteuid().as_raw() && !is_roots {
            let text = format!("the store {path:?} belongs to another user");
            let hint = match is_below {
                true => "make it again as root: without, files of images lose their owners",
                false => "choose another place with --root",
            };
            return Err(Error::new(Kind::Denied, text).hint(hint));
        }
        if stat.st_mode & 0o077 != 0 && !is_below {
            // Set-user-id files of images must not be reachable for others (CVE-2021-41091).
            rustix::fs::fchmod(&root, Mode::from_raw_mode(0o700))
                .context(|| format!("chmod {path:?}"))?;
        }
        let found = version::check(root.as_fd(), path)?;
        let mut store = Store { path: path.to_owned(), ..Store::bare(root) };
        store.marks_by_name = match found {
            version::Found::Store(marks_by_name) => marks_by_name,
            _ if is_below => {
                return Err(Error::not_found("it is no store: it has no whole VERSION"));
            }
            _ => driver::probe(store.fd()).inspect_err(|_| {
                // Not left behind where it was made in vain; one with something in it stays.
                let _ = std::fs::remove_dir(path);
            })?,
        };
        if matches!(found, version::Found::Nothing) {
            store.lay_out()?;
        }
        Ok(store)
    }

    /// One that nothing is known of: enough to remove what is not needed.
    fn bare(root: OwnedFd) -> Store {
        let (gauge, choice) = (limit::Gauge::default(), OnceLock::new());
        let path = PathBuf::new();
        Store { root, path, gauge, marks_by_name: false, choice, below: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root directory, for asking its file system.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// When images last came or went, by the clock of then, in seconds since 1970.
    #[cfg(feature = "net")]
    pub fn changed_at(&self) -> u64 {
        let stat = rustix::fs::statat(&self.root, "images", rustix::fs::AtFlags::empty());
        stat.ok().and_then(|stat| u64::try_from(stat.st_mtime).ok()).unwrap_or(0)
    }

    fn lay_out(&self) -> Result<()> {
        for name in DIRECTORIES {
            self.make_dir(name)?;
        }
        // ext4 then gives each process's folder in tmp a block group of its own (chattr(1), +T),
        // where it need not look past the inodes that others have just removed. Other file systems
        // refuse or ignore it.
        if let Ok(tmp) = self.dir("tmp")
            && let Ok(flags) = rustix::fs::ioctl_getflags(&tmp)
        {
            let _ = rustix::fs::ioctl_setflags(&tmp, flags | IFlags::TOPDIR);
        }
        // Another process that has just done the same sweeps files in tmp, if nobody holds this.
        let _lock = self.lock()?;
        // What was tried out in here is gone on the medium too, before there is a version.
        self.sync_dir(".")?;
        // Last: a store with a version is complete.
        version::write(self.fd(), self.marks_by_name)
    }

    /// Makes a directory; it may be there.
    fn make_dir(&self, name: &str) -> Result<()> {
        match rustix::fs::mkdirat(&self.root, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(other) => Err(other).context(|| format!("mkdir {name:?} in the store")),
        }
    }

    fn dir(&self, name: &str) -> Result<OwnedFd> {
        rustix::fs::openat(&self.root, name, DIRECTORY, Mode::empty())
            .context(|| format!("open {name:?} in the store"))
    }

    fn sync_dir(&self, name: &str) -> Result<()> {
        let dir = self.dir(name)?;
        rustix::fs::fsync(&dir).context(|| format!("sync {name:?} in the store"))
    }

    /// Names in a directory of the store, in no order, without dot files; stops when `each`
    /// says false. A directory that is not there, or not any more, has none.
    fn each_name(&self, dir: &str, each: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()> {
        let fd = match self.dir(dir) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        let entries = rustix::fs::Dir::read_from(&fd).context(|| format!("read {dir:?}"))?;
        for entry in entries {
            let entry = entry.context(|| format!("read {dir:?} in the store"))?;
            // What is not UTF-8 is not lath's.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !name.starts_with('.') && !each(name)? {
                break;
            }
        }
        Ok(())
    }
}

fn is_dir(at: BorrowedFd<'_>, path: &str) -> bool {
    let stat = rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::RDONLY);

fn make_root(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .context(|| format!("mkdir {parent:?}"))?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(cause).context(|| format!("make the store {path:?}")),
    }
}

/// A flat record's fields: a line each, `name value`.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| {
            line.split_once(' ').filter(|(key, _)| *key == name).map(|(_, value)| value)
        })
    }
}
