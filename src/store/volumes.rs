//! Volumes: directories that outlive containers, `volumes/NAME/`. Its files are in `data`, what it is in
//! `config`. One that nobody has named belongs to a container: `owner` says to which, and when that
//! is gone the volume goes too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{Store, containers, seal};
use crate::error::{Context, Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::time::rfc3339;
use crate::sys::fs::{
    NewDir, make_dirs_in_root, now, open_dir, random_bytes, read_small, remove_tree, write_new,
};

/// Their folders.
pub const VOLUMES: &str = "volumes";
pub(super) const CONFIG: &str = "config";
/// Where its files are.
pub const DATA: &str = "data";
/// In the folder of one that goes with a container: the id of that.
pub const OWNER: &str = "owner";
/// In the folder of one whose container goes when its process ends: nobody needs it after a power cut.
pub const BRIEF: &str = "brief";
/// Larger ones are no records.
pub(super) const LIMIT: usize = 1 << 20;

/// A name for one that nobody names: 64 hex digits.
pub fn random_name() -> Result<String> {
    Ok(Digest::of(&random_bytes::<32>()?).hex())
}

/// The container with which a volume goes.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its id.
    pub id: &'a str,
    /// It goes itself when its process ends.
    pub is_brief: bool,
}

/// What a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made (RFC 3339).
    pub created: String,
    /// Its labels, `name=value`.
    pub labels: Vec<String>,
    /// Nobody has named it.
    pub is_nameless: bool,
    /// Where its files are.
    pub path: PathBuf,
}

impl Store {
    /// Makes a volume if there is none of that name; whether it was made. With an owner it goes with
    /// that. `is_nameless`: nobody has named it.
    pub fn make_volume(
        &self,
        name: &str,
        labels: &[String],
        owner: Option<Owner<'_>>,
        is_nameless: bool,
    ) -> Result<bool> {
        let says = || format!("make the volume {name:?}");
        if self.is_volume(name) {
            return Ok(false);
        }
        self.make_dir(VOLUMES)?;
        let scratch = self.scratch()?;
        let made = scratch.workspace()?;
        let plain = NewDir { mode: 0o755, owner: (0, 0) };
        make_dirs_in_root(made.dir.as_fd(), DATA.as_ref(), plain).context(says)?;
        let (seconds, nanoseconds) = now();
        let mut text = format!("created {}\n", rfc3339(seconds, nanoseconds));
        if is_nameless {
            text.push_str("nameless yes\n");
        }
        for label in labels {
            text.push_str(&format!("label {}\n", label.replace('\n', " ")));
        }
        let config = write_new(made.dir.as_fd(), CONFIG, seal::seal(&text).as_bytes())?;
        let is_brief = owner.is_some_and(|owner| owner.is_brief);
        if let Some(owner) = owner {
            let file = write_new(made.dir.as_fd(), OWNER, owner.id.as_bytes())?;
            match is_brief {
                true => drop(write_new(made.dir.as_fd(), BRIEF, b"")?),
                false => rustix::fs::fsync(&file).context(says)?,
            }
        }
        if !is_brief {
            rustix::fs::fsync(&config).context(says)?;
            rustix::fs::fsync(&made.dir).context(says)?;
        }
        let done =
            rustix::fs::renameat(scratch.dir(), &made.name, self.fd(), format!("{VOLUMES}/{name}"));
        match done {
            Ok(()) if is_brief => Ok(true),
            Ok(()) => self.sync_dir(VOLUMES).map(|()| true),
            // Another process was first.
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(other) => Err(other).context(says),
        }
    }

    fn is_volume(&self, name: &str) -> bool {
        !is_missing(self.fd(), format!("{VOLUMES}/{name}/{CONFIG}"))
    }

    /// Opens the folder of a volume.
    pub fn open_volume(&self, name: &str) -> Result<OwnedFd> {
        open_dir(self.dir(VOLUMES)?.as_fd(), name).context(|| format!("open the volume {name:?}"))
    }

    /// All volumes, in no order.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let mut found = Vec::new();
        self.each_name(VOLUMES, &mut |name| {
            found.extend(self.volume(name)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// The volume of a name. Of one whose record is damaged only its name is known.
    pub fn volume(&self, name: &str) -> Result<Option<Volume>> {
        let path = format!("{VOLUMES}/{name}/{CONFIG}");
        let Some(sealed) = read_small(self.fd(), path, LIMIT)? else { return Ok(None) };
        let text = String::from_utf8(sealed).unwrap_or_default();
        let path = self.path().join(VOLUMES).join(name).join(DATA);
        let mut volume = Volume { name: name.to_owned(), path, ..Volume::default() };
        for line in seal::unseal(&text).unwrap_or_default().lines() {
            match line.split_once(' ') {
                Some(("created", time)) => volume.created = time.to_owned(),
                Some(("label", label)) => volume.labels.push(label.to_owned()),
                Some(("nameless", _)) => volume.is_nameless = true,
                _ => {}
            }
        }
        Ok(Some(volume))
    }

    /// What a volume takes on the disk.
    pub fn volume_bytes(&self, name: &str) -> Result<u64> {
        crate::sys::usage::usage(self.dir(VOLUMES)?.as_fd(), name)
    }

    /// Removes a volume unless `is_used` says, while nobody makes a container, that one has it.
    /// Needs no free space.
    pub fn remove_volume(&self, name: &str, is_used: &dyn Fn() -> Result<bool>) -> Result<()> {
        let _look = self.removing()?;
        if is_used()? {
            let text = format!("remove {name}: volume is in use");
            return Err(Error::new(Kind::Conflict, text)
                .hint("remove the containers that use it: lath ps -a shows them"));
        }
        self.drop_volume(name)
    }

    /// Removes a volume with all its files, whoever uses it. One that is not there is gone.
    pub fn drop_volume(&self, name: &str) -> Result<()> {
        let says = || format!("remove the volume {name:?}");
        let all = self.dir(VOLUMES)?;
        // Its config goes first: from then on it is none, whatever happens.
        if let Ok(folder) = open_dir(all.as_fd(), name) {
            match rustix::fs::unlinkat(&folder, CONFIG, AtFlags::empty()) {
                // A brief one is swept after a power cut too.
                Ok(()) if !is_missing(folder.as_fd(), BRIEF) => {}
                Ok(()) => rustix::fs::fsync(&folder).context(says)?,
                Err(Errno::NOENT) => {}
                Err(other) => return Err(other).context(says),
            }
        }
        match remove_tree(all.as_fd(), name) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other.context(says),
        }
    }

    /// From now on a volume stays when its container goes. That is on the medium when this returns.
    pub fn keep_volume(&self, name: &str) -> Result<()> {
        let says = || format!("keep the volume {name:?}");
        let folder = match self.open_volume(name) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        match rustix::fs::unlinkat(&folder, OWNER, AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&folder).context(says),
            Err(Errno::NOENT) => Ok(()),
            Err(other) => Err(other).context(says),
        }
    }

    /// Removes the volumes of containers that are gone, and what is left of one whose removal was cut
    /// off.
    pub(super) fn sweep_volumes(&self) -> Result<()> {
        self.each_name(VOLUMES, &mut |name| {
            let owner = read_small(self.fd(), format!("{VOLUMES}/{name}/{OWNER}"), LIMIT)?;
            let owner = owner.and_then(|owner| String::from_utf8(owner).ok());
            let owner = owner.filter(|id| id.len() == 64);
            let is_owned = match &owner {
                Some(id) => !is_missing(
                    self.fd(),
                    format!("{}/{id}/{}", containers::CONTAINERS, containers::CONFIG),
                ),
                // Of a brief one nothing is synced: after a power cut it may have no owner any more.
                None => is_missing(self.fd(), format!("{VOLUMES}/{name}/{BRIEF}")),
            };
            // A container says that it is there before its volumes do.
            if !is_owned || is_missing(self.fd(), format!("{VOLUMES}/{name}/{CONFIG}")) {
                self.drop_volume(name)?;
            }
            Ok(true)
        })
    }
}

/// Whether it is known that it is not there: what cannot be looked at may be.
fn is_missing(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> bool {
    let stat = rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW);
    matches!(stat, Err(Errno::NOENT | Errno::NOTDIR))
}
