//! A container's files as they are seen in it, whether it runs or not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;

use super::{Container, Source, keeper};
use crate::error::{Context, Error, Kind, Result};
use crate::sandbox::{Content, DIRS, FILES};
use crate::session::Session;
use crate::snapshot::kept;
use crate::sys::fs::{NewDir, make_dirs_in_root, open_in_root};
use crate::sys::mount::{attach, fd_path, own_mounts};

/// The root of a container with what is mounted in it, open. One that does not run cannot be
/// started until this process ends.
pub struct Files {
    root: OwnedFd,
    /// What is of the kernel and not of the container, by device and inode: /proc, /sys and /dev.
    pub barred: Vec<(u64, u64)>,
}

impl AsFd for Files {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Container {
    /// Opens its files to read and to change them.
    pub fn files(&self, session: &Session) -> Result<Files> {
        let (is_running, state) = self.state()?;
        let Some(leader) = keeper::process_of(state.pid).filter(|_| is_running) else {
            return self.files_at_rest(session);
        };
        let path = format!("/proc/{}/root", leader.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty());
        if !self.is_program(leader, &state)? {
            return Err(self.is_busy());
        }
        let root = root.context(|| "open the container's root")?;
        let id = |fd: BorrowedFd<'_>| {
            let stat = rustix::fs::fstat(fd)?;
            rustix::io::Result::Ok((stat.st_dev, stat.st_ino))
        };
        let own = id(root.as_fd())?;
        let open = |dir: &&str| open_in_root(root.as_fd(), *dir, OFlags::PATH, Mode::empty()).ok();
        let barred = DIRS.iter().filter_map(open).filter_map(|dir| id(dir.as_fd()).ok());
        let barred = barred.filter(|id| id.0 != own.0).collect();
        Ok(Files { root, barred })
    }

    fn files_at_rest(&self, session: &Session) -> Result<Files> {
        if !self.folder.hold()? {
            return Err(self.is_busy());
        }
        let (record, store) = (&self.record, &session.store);
        let chain = self.chain(session)?;
        let under = store.mountpoints(DIRS, FILES)?;
        let root = kept::mount(self.folder.dir(), &chain, under.as_fd(), record.flags.remove)?;
        if !record.volumes.is_empty() || record.flags.read_only {
            self.mount_volumes(session, root.as_fd())?;
        }
        Ok(Files { root, barred: Vec::new() })
    }

    /// Mounts what is mounted in it when it runs, for this process alone.
    fn mount_volumes(&self, session: &Session, root: BorrowedFd<'_>) -> Result<()> {
        let staging = session.store.path().join("tmp");
        own_mounts().context(|| "make mounts private")?;
        // By path, since descriptors from before belong to the other mount namespace.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(&staging, flags, Mode::empty());
        let place = place.context(|| format!("open {staging:?}"))?;
        attach(root, place.as_fd()).context(|| "mount the root")?;
        let read_only = |fd: BorrowedFd<'_>| {
            let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
            rustix::mount::mount_remount(fd_path(fd), flags, c"")
        };
        for volume in &self.record.volumes {
            let target = Path::new(&volume.target);
            // In the /dev that a running one has, or in memory.
            if target.starts_with("/dev") || matches!(volume.source, Source::Memory(_)) {
                continue;
            }
            let says = || format!("mount {:?}", volume.target);
            let bound = volume.bind(&session.store, &self.record, root)?;
            let open = || open_in_root(root, target, OFlags::PATH, Mode::empty());
            if open().is_err() {
                let plain = NewDir { mode: 0o755, owner: (0, 0) };
                let parent = target.parent().filter(|_| !bound.is_dir).unwrap_or(target);
                make_dirs_in_root(root, parent, plain).context(says)?;
                if !bound.is_dir {
                    let flags = OFlags::CREATE | OFlags::WRONLY;
                    open_in_root(root, target, flags, Mode::from_raw_mode(0o644)).context(says)?;
                }
            }
            if let Content::Tree(tree) = &bound.content {
                attach(tree.as_fd(), open().context(says)?.as_fd()).context(says)?;
                if volume.readonly {
                    read_only(open().context(says)?.as_fd()).context(says)?;
                }
            }
        }
        if self.record.flags.read_only {
            read_only(root).context(|| "mount the root read-only")?;
        }
        Ok(())
    }

    fn is_busy(&self) -> Error {
        let text = format!("container {} is just being started or ended", self.record.name);
        Error::new(Kind::Conflict, text).hint("try again")
    }
}
