//! Unfinished work: `tmp/<id>/`, locked for as long as its process lives. One that nobody locks
//! is swept by the next command.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{DIRECTORY, Store};
use crate::error::{Context, Result};
use crate::sys::fs::{open_dir, random_name, read_small, remove_tree, write_all, write_new};

/// In the folder of a process: what it uses.
const USES: &str = "uses";
/// In the folder of a process that removes something, or has left something behind.
const REMOVAL: &str = "removes";

/// How often, and after which time, somebody is asked whether he still looks.
const PATIENCE: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// A process's own folder in the store; removed with all in it when dropped.
pub struct Scratch {
    tmp: OwnedFd,
    dir: OwnedFd,
    uses: OwnedFd,
    name: String,
    count: AtomicU32,
    /// Workspaces whose `diff` is empty, and work directories of overlays, to be used again.
    spare: Mutex<Spare>,
    /// A publication has failed and may have left layers that nothing names.
    has_failed: AtomicBool,
}

#[derive(Default)]
struct Spare {
    workspaces: Vec<Workspace>,
    work_dirs: Vec<OwnedFd>,
}

/// A folder in a scratch for one piece of work.
pub struct Workspace {
    /// Its name in the scratch.
    pub name: String,
    /// The folder.
    pub dir: OwnedFd,
}

impl Store {
    /// Makes and locks a folder for unfinished work.
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::make(self.dir("tmp")?)
    }

    /// Removes what processes that are gone have left in `tmp`, and the folders of layers that no
    /// chain names yet. Layers with a chain stay, for who goes on with that work. What cannot be
    /// removed stays too: it is in nobody's way, and lath must work all the same. A folder goes
    /// after what it leads to, so that nothing is forgotten when this is killed.
    pub fn sweep(&self) -> Result<()> {
        if !super::is_dir(self.fd(), "tmp") {
            self.lay_out()?;
        }
        if let Err(error) = self.sweep_containers() {
            log::warn!("left a container behind: {error}");
        }
        #[cfg(feature = "containers")]
        if let Err(error) = self.sweep_volumes() {
            log::warn!("left a volume behind: {error}");
        }
        let tmp = self.dir("tmp")?;
        let mut dead = Vec::new();
        self.each_name("tmp", &mut |name| {
            match open_dir(tmp.as_fd(), name) {
                Ok(dir) => {
                    if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
                        // What it used is nobody's now.
                        let _ = rustix::fs::unlinkat(&dir, USES, AtFlags::empty());
                        let is_removal = exists(dir.as_fd(), REMOVAL);
                        dead.push((name.to_owned(), is_removal, dir));
                    }
                }
                // A file: the half of a name that was never published. Its writer holds the lock.
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    if let Ok(_lock) = self.lock() {
                        remove_or_warn(tmp.as_fd(), name);
                    }
                }
                // Swept by another, or out of reach for now.
                Err(_) => {}
            }
            Ok(true)
        })?;
        if dead.is_empty() {
            return Ok(());
        }
        let has_removed = dead.iter().any(|(_, is_removal, _)| *is_removal);
        let is_done = has_removed && self.give_back_soon();
        if !is_done && let Err(error) = self.lock().and_then(|_lock| self.collect_nameless()) {
            log::warn!("layers that nothing needs stay for now: {error}");
        }
        for (name, is_removal, _lock) in &dead {
            // Otherwise it is for another command to go on.
            if is_done || !is_removal {
                remove_or_warn(tmp.as_fd(), name);
            }
        }
        Ok(())
    }

    /// Waits a little for those who look.
    fn give_back_soon(&self) -> bool {
        for _ in 0..PATIENCE {
            match self.give_back() {
                Ok(false) => std::thread::sleep(PAUSE),
                other => return other.is_ok(),
            }
        }
        false
    }

    /// Removes the layers that nothing needs, after work that has come to no end; false when
    /// somebody looks just now, this thread perhaps.
    fn give_back(&self) -> Result<bool> {
        let Some(_alone) = self.try_removing()? else { return Ok(false) };
        let _lock = self.lock()?;
        self.collect(false).map(|_| true)
    }

    /// Removes things, alone and under the lock. What comes to no end is finished by whoever finds
    /// the folder that says so; a full disk has no room for it and must not be in the way.
    pub(super) fn remove_by<T>(&self, act: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let trace = self.scratch().and_then(|trace| {
            write_new(trace.dir(), REMOVAL, b"")?;
            Ok(trace)
        });
        let done = {
            let (_removing, _lock) = (self.removing()?, self.lock()?);
            act()
        };
        if let (Err(_), Ok(trace)) = (&done, &trace) {
            trace.has_failed();
        }
        done
    }

    /// What living processes have said they use: names of layers, and the hex digits of images and
    /// of chains.
    pub(super) fn leased(&self) -> Result<BTreeSet<String>> {
        let mut layers = BTreeSet::new();
        self.each_name("tmp", &mut |name| {
            if let Some(text) = read_small(self.fd(), format!("tmp/{name}/{USES}"), 1 << 20)? {
                layers.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
            }
            Ok(true)
        })?;
        self.used_by_containers(&mut |name| {
            layers.insert(name.to_owned());
        })?;
        Ok(layers)
    }
}

impl Scratch {
    fn make(tmp: OwnedFd) -> Result<Scratch> {
        loop {
            let name = random_name()?;
            rustix::fs::mkdirat(&tmp, &name, Mode::from_raw_mode(0o700))
                .context(|| "mkdir in the store's tmp")?;
            let dir = match open_dir(tmp.as_fd(), &name) {
                // Swept by another process before it was locked.
                Err(Errno::NOENT) => continue,
                other => other.context(|| "open the store's tmp")?,
            };
            let lock = || rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive);
            let lives = || exists(tmp.as_fd(), &name);
            let mut locked = lock();
            // Whoever checks the store has it for a moment, a sweeper until it is gone.
            while locked == Err(Errno::WOULDBLOCK) && lives() {
                std::thread::sleep(Duration::from_millis(1));
                locked = lock();
            }
            if !lives() {
                continue;
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
            let uses = locked
                .and_then(|()| rustix::fs::openat(&dir, USES, flags, Mode::from_raw_mode(0o600)));
            if uses.is_err() {
                remove_or_warn(tmp.as_fd(), &name);
            }
            let uses = uses.context(|| "create a lease")?;
            return Ok(Scratch {
                tmp,
                dir,
                uses,
                name,
                count: AtomicU32::new(0),
                spare: Mutex::default(),
                has_failed: AtomicBool::new(false),
            });
        }
    }

    /// Another one beside it.
    pub fn another(&self) -> Result<Scratch> {
        Scratch::make(self.tmp.try_clone().context(|| "open the store's tmp")?)
    }

    /// Says that this process uses a layer (by its name, or by the hex digits of its chain) or an
    /// image, so that nobody removes it meanwhile. Several are a line each.
    pub fn uses(&self, names: &str) -> Result<()> {
        write_all(self.uses.as_fd(), format!("{names}\n").as_bytes()).context(|| "write a lease")
    }

    /// Says that things may have been left in the store that nothing names.
    pub fn has_failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// The folder itself.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// A new folder in it.
    pub fn workspace(&self) -> Result<Workspace> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = number.to_string();
        rustix::fs::mkdirat(&self.dir, &name, Mode::from_raw_mode(0o700))
            .context(|| "mkdir in the store's tmp")?;
        let dir = open_dir(self.dir.as_fd(), &name).context(|| "open the store's tmp")?;
        Ok(Workspace { name, dir })
    }

    /// A file without a name: it is gone when it is closed.
    pub fn nameless_file(&self) -> Result<std::fs::File> {
        let name = self.count.fetch_add(1, Ordering::Relaxed).to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, &name, flags, Mode::from_raw_mode(0o600))
            .context(|| "create a file in the store's tmp")?;
        rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()).context(|| "unlink it again")?;
        Ok(std::fs::File::from(file))
    }

    /// A workspace that was kept.
    pub fn spare_workspace(&self) -> Option<Workspace> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).workspaces.pop()
    }

    /// Keeps a workspace with an empty `diff` for the next one who needs that.
    pub fn keep_spare(&self, workspace: Workspace) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).workspaces.push(workspace);
    }

    /// A work directory for an overlay, one that was kept or a new one.
    pub fn work_dir(&self) -> Result<OwnedFd> {
        let kept = self.spare.lock().unwrap_or_else(PoisonError::into_inner).work_dirs.pop();
        match kept {
            Some(work) => Ok(work),
            None => Ok(self.workspace()?.dir),
        }
    }

    /// Keeps a work directory for the next one who needs one.
    pub fn keep_work_dir(&self, work: OwnedFd) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).work_dirs.push(work);
    }

    /// Removes a folder made by `workspace`.
    pub fn discard(&self, workspace: Workspace) -> Result<()> {
        drop(workspace.dir);
        remove_tree(self.dir.as_fd(), &workspace.name)
    }
}

impl Workspace {
    /// Opens a directory in it.
    pub fn open_dir(&self, name: &str) -> Result<OwnedFd> {
        open_dir(self.dir.as_fd(), name).context(|| format!("open {name:?} in the store's tmp"))
    }

    /// Makes and opens a directory in it; it may be there.
    pub fn make_dir(&self, name: &str, mode: u32) -> Result<OwnedFd> {
        match rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(other) => {
                return Err(other).context(|| format!("mkdir {name:?} in the store's tmp"));
            }
        }
        // mkdir is cut by the umask; a layer's root has the mode that was asked for.
        let dir = rustix::fs::openat(&self.dir, name, DIRECTORY, Mode::empty())
            .context(|| format!("open {name:?} in the store's tmp"))?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode)).context(|| "chmod")?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if *self.has_failed.get_mut()
            && let Ok(root) = rustix::fs::openat(&self.tmp, "..", DIRECTORY, Mode::empty())
        {
            // What it used is nobody's now, and something is left to do, by another if not here.
            // A full disk has room for that.
            if rustix::fs::renameat(&self.dir, USES, &self.dir, REMOVAL).is_err() {
                let _ = rustix::fs::unlinkat(&self.dir, USES, AtFlags::empty());
            }
            if !Store::bare(root).give_back().unwrap_or(false) {
                return;
            }
        }
        // What cannot be removed now is swept later.
        remove_or_warn(self.tmp.as_fd(), &self.name);
    }
}

fn exists(dir: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn remove_or_warn(tmp: BorrowedFd<'_>, name: &str) {
    if let Err(error) = remove_tree(tmp, name) {
        log::warn!("left tmp/{name} behind: {error}");
    }
}
