//! `containers/<id>/`: what a container is (`config`), how it is doing (`state`), the files that it
//! has changed, its log. The folder is locked for as long as somebody looks after the container;
//! the lock goes with that process, so that after a power cut nothing seems to run.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::{Store, seal};
use crate::error::{Context, Error, Kind, Result};
use crate::image::digest::ImageId;
use crate::sys::fs::{open_dir, read_bounded, read_small, remove_tree, write_all, write_new};
use crate::sys::signal;

pub(super) const CONTAINERS: &str = "containers";
/// What a container is; a folder without it was never finished.
pub(super) const CONFIG: &str = "config";
const STATE: &str = "state";
/// In the folder of a container that goes with its process: nobody needs what is left of it.
const BRIEF: &str = "brief";
/// Larger ones are no records.
pub(super) const LIMIT: usize = 4 << 20;
/// Between two looks at a lock that somebody else holds.
const PAUSE: Duration = Duration::from_millis(20);

/// A container's folder, open. Whether it is locked is for `hold` to say.
pub struct Folder {
    all: OwnedFd,
    dir: OwnedFd,
    state: OwnedFd,
    /// 64 hex digits.
    pub id: String,
}

impl Store {
    /// Makes the folder of a new container and holds it. `uses`: the image and the chains, in hex,
    /// that must stay for it. `is_brief`: it goes when its process ends, however that ends. There is
    /// no container before its config is written.
    pub fn new_container(&self, id: &str, uses: &str, is_brief: bool) -> Result<Folder> {
        self.make_dir(CONTAINERS)?;
        let all = self.dir(CONTAINERS)?;
        let says = || "make a container";
        let dir = loop {
            match rustix::fs::mkdirat(&all, id, Mode::from_raw_mode(0o700)) {
                // A sweeper has it, and will see to it.
                Err(Errno::EXIST) => std::thread::sleep(Duration::from_millis(1)),
                other => other.context(says)?,
            }
            let dir = match open_dir(all.as_fd(), id) {
                // Swept by another process before it was locked.
                Err(Errno::NOENT) => continue,
                other => other.context(says)?,
            };
            let locked = rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive);
            match locked {
                Err(Errno::WOULDBLOCK) => continue,
                other => other.context(says)?,
            }
            if rustix::fs::fstat(&dir).context(says)?.st_nlink > 0
                && rustix::fs::statat(&all, id, AtFlags::SYMLINK_NOFOLLOW).is_ok()
            {
                break dir;
            }
        };
        let uses = write_new(dir.as_fd(), "uses", uses.as_bytes())?;
        match is_brief {
            true => drop(write_new(dir.as_fd(), BRIEF, b"")?),
            // Without it its layers would go.
            false => rustix::fs::fdatasync(&uses).context(says)?,
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let state = rustix::fs::openat(&dir, STATE, flags, Mode::from_raw_mode(0o600));
        Ok(Folder { all, dir, state: state.context(says)?, id: id.to_owned() })
    }

    /// The containers that there are, in no order. What is left of one that was never finished, or
    /// of a brief one, is none.
    pub fn containers(&self) -> Result<Vec<Folder>> {
        let mut found = Vec::new();
        self.each_name(CONTAINERS, &mut |name| {
            found.extend(self.container(name)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// The container of an id.
    fn container(&self, id: &str) -> Result<Option<Folder>> {
        let all = self.dir(CONTAINERS)?;
        let dir = match open_dir(all.as_fd(), id) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.context(|| format!("open container {id}"))?,
        };
        let open = |access| {
            let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(&dir, STATE, flags, Mode::empty())
        };
        // On a disk that became read-only it can be looked at all the same.
        match open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)) {
            Ok(state) if exists(dir.as_fd(), CONFIG) => {
                Ok(Some(Folder { all, dir, state, id: id.to_owned() }))
            }
            // It goes just now, or is not complete yet.
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(other) => Err(other).context(|| format!("open the state of container {id}")),
        }
    }

    /// Removes what nobody holds of containers that were never finished or were brief.
    pub(super) fn sweep_containers(&self) -> Result<()> {
        let Ok(all) = self.dir(CONTAINERS) else { return Ok(()) };
        self.each_name(CONTAINERS, &mut |name| {
            if let Ok(dir) = open_dir(all.as_fd(), name)
                && (exists(dir.as_fd(), BRIEF) || is_missing(dir.as_fd(), CONFIG))
                && rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                remove(all.as_fd(), dir.as_fd(), name)?;
            }
            Ok(true)
        })
    }

    /// A container of this image.
    pub fn container_of(&self, image: &ImageId) -> Result<Option<String>> {
        let (hex, mut found) = (image.hex(), None);
        self.each_name(CONTAINERS, &mut |name| {
            let path = format!("{CONTAINERS}/{name}/uses");
            let text = read_small(self.fd(), path, LIMIT)?.unwrap_or_default();
            if String::from_utf8_lossy(&text).lines().any(|line| line == hex) {
                found = Some(name.to_owned());
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// What containers use, added to what leases say.
    pub(super) fn used_by_containers(&self, used: &mut dyn FnMut(&str)) -> Result<()> {
        self.each_name(CONTAINERS, &mut |name| {
            let path = format!("{CONTAINERS}/{name}/uses");
            if let Some(text) = read_small(self.fd(), path, LIMIT)? {
                String::from_utf8_lossy(&text).lines().for_each(&mut *used);
            }
            Ok(true)
        })
    }
}

impl Folder {
    /// The folder itself.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What the container is.
    pub fn config(&self) -> Result<String> {
        let sealed = read_small(self.dir(), CONFIG, LIMIT)?.unwrap_or_default();
        self.unsealed(sealed)
    }

    /// Says anew what it is.
    pub fn write_config(&self, text: &str) -> Result<()> {
        const NEW: &str = "config.new";
        // Left by a process that was killed.
        let _ = rustix::fs::unlinkat(&self.dir, NEW, AtFlags::empty());
        let file = write_new(self.dir(), NEW, seal::seal(text).as_bytes())?;
        if !exists(self.dir(), BRIEF) {
            rustix::fs::fdatasync(&file).context(|| "sync a container's config")?;
        }
        rustix::fs::renameat(&self.dir, NEW, &self.dir, CONFIG).context(|| "write a config")
    }

    /// How it is doing, in the words of whoever looks after it; empty for a new one. A reader that
    /// comes between two of the writer's bytes looks again; what is torn for good says nothing.
    pub fn state(&self) -> Result<String> {
        for _ in 0..5 {
            rustix::fs::seek(&self.state, SeekFrom::Start(0)).context(|| "read a state")?;
            if let Ok(text) = self.unsealed(read_bounded(&self.state, LIMIT)?) {
                return Ok(text);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(String::new())
    }

    /// Says how it is doing. In place, so that whoever waits for a brief one can read its end.
    pub fn write_state(&self, text: &str) -> Result<()> {
        let says = || "write a container's state";
        let sealed = seal::seal(text);
        rustix::fs::seek(&self.state, SeekFrom::Start(0)).context(says)?;
        write_all(self.state.as_fd(), sealed.as_bytes()).context(says)?;
        rustix::fs::ftruncate(&self.state, sealed.len() as u64).context(says)
    }

    /// Whether its program was ever started, even if what was said of that is damaged.
    pub fn has_begun(&self) -> Result<bool> {
        Ok(rustix::fs::fstat(&self.state).context(|| "stat a container's state")?.st_size > 0)
    }

    /// Puts how it is doing on the medium.
    pub fn sync_state(&self) -> Result<()> {
        rustix::fs::fdatasync(&self.state).context(|| "sync a container's state")
    }

    fn unsealed(&self, sealed: Vec<u8>) -> Result<String> {
        let text = String::from_utf8(sealed).ok();
        let text = text.as_deref().and_then(seal::unseal).map(str::to_owned);
        text.ok_or_else(|| {
            Error::corrupt(format!("container {}: its record is damaged", self.id))
                .hint("remove it with lath rm -f")
        })
    }

    /// Whether somebody looks after it.
    pub fn is_held(&self) -> Result<bool> {
        // By a descriptor of its own: a lock belongs to an opening, and `hold` has this one's.
        let dir = match open_dir(self.dir(), ".") {
            Err(Errno::NOENT) => return Ok(false),
            other => other.context(|| "open a container")?,
        };
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(other) => Err(other).context(|| "look at a container's lock"),
        }
    }

    /// Begins to look after it; false when somebody else does.
    pub fn hold(&self) -> Result<bool> {
        // Whoever only looks holds it for a moment.
        for _ in 0..10 {
            match rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(PAUSE / 4),
                Err(other) => return Err(other).context(|| "lock a container"),
            }
        }
        Ok(false)
    }

    /// Waits until nobody looks after it, for at most so long; whether that has come.
    pub fn wait(&self, at_most: Option<Duration>) -> Result<bool> {
        let mut waited = Duration::ZERO;
        while self.is_held()? {
            if at_most.is_some_and(|most| waited >= most) {
                return Ok(false);
            }
            signal::check()?;
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
        Ok(true)
    }

    /// A file in it that says one thing by being there, on the medium when this returns.
    pub fn set_mark(&self, name: &str, is_there: bool) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let done = match is_there {
            true => {
                rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600)).map(drop)
            }
            false => rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()),
        };
        match done {
            Ok(()) => sync_names(self.dir()),
            Err(Errno::NOENT) => Ok(()),
            Err(other) => Err(other).context(|| format!("write {name:?} of a container")),
        }
    }

    /// Whether that file is there.
    pub fn has_mark(&self, name: &str) -> bool {
        exists(self.dir(), name)
    }

    /// Puts it on the medium.
    pub fn sync(&self) -> Result<()> {
        sync_names(self.dir())?;
        rustix::fs::fsync(&self.all).context(|| "sync the containers")
    }

    /// Removes it with all its files. Needs no free space.
    pub fn remove(&self) -> Result<()> {
        remove(self.all.as_fd(), self.dir(), &self.id)
    }
}

/// Its config goes first: from then on it is none, whatever happens, also after a power cut.
fn remove(all: BorrowedFd<'_>, dir: BorrowedFd<'_>, id: &str) -> Result<()> {
    let says = || format!("remove container {id}");
    match rustix::fs::unlinkat(dir, CONFIG, AtFlags::empty()) {
        Ok(()) => sync_names(dir)?,
        Err(Errno::NOENT) => {}
        Err(other) => return Err(other).context(says),
    }
    remove_tree(all, id).map_err(|error| match error.kind() {
        Kind::NotFound => error,
        _ => error.during(says()),
    })
}

/// Puts the names in a container's folder on the medium; those of a brief one need not be there.
fn sync_names(dir: BorrowedFd<'_>) -> Result<()> {
    match exists(dir, BRIEF) {
        true => Ok(()),
        false => rustix::fs::fsync(dir).context(|| "sync a container"),
    }
}

fn exists(dir: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// That it is not there, and not only out of reach.
fn is_missing(dir: BorrowedFd<'_>, name: &str) -> bool {
    matches!(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}
