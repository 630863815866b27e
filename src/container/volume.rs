//! What appears in a container besides its root: files and devices of the host, volumes of the
//! store, file systems in memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::Record;
use crate::error::{Context, Error, Kind, Result};
use crate::sandbox::{Bind, Content, Tmpfs};
use crate::store::Store;
use crate::sys::mount::clone_tree;

/// One thing that appears inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What.
    pub source: Source,
    /// Where: an absolute path.
    pub target: String,
    /// Not writable inside.
    pub readonly: bool,
}

/// What appears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `-v`: a directory or file of the host; a directory is made when it is not there.
    Host(PathBuf),
    /// `--mount type=bind`: the same, and an error when it is not there.
    Present(PathBuf),
    /// `--device`: a device of the host, or a directory with devices.
    Device(PathBuf),
    /// A volume of the store, by its name.
    Named(String),
    /// The same of one that goes with the container.
    Nameless(String),
    /// `--tmpfs`, with the options of mount(8).
    Memory(String),
}

impl Source {
    /// As lists show it.
    #[cfg(feature = "containers")]
    pub fn shown(&self) -> String {
        match self {
            Source::Host(path) | Source::Present(path) | Source::Device(path) => {
                path.to_string_lossy().into_owned()
            }
            Source::Named(name) => name.clone(),
            Source::Nameless(name) => name.chars().take(12).collect(),
            Source::Memory(_) => "tmpfs".to_owned(),
        }
    }

    /// The volume of the store that it is.
    pub fn stored(&self) -> Option<&str> {
        match self {
            Source::Named(name) | Source::Nameless(name) => Some(name),
            _ => None,
        }
    }
}

impl Volume {
    /// Its line in a record, by the line's name: `volume MODE:TARGET:PATH`, or
    /// `mount KIND:MODE:TARGET:SOURCE`.
    pub fn to_line(&self) -> (&'static str, String) {
        let mode = if self.readonly { "ro" } else { "rw" };
        let target = &self.target;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let (kind, source) = match &self.source {
            Source::Host(host) => return ("volume", format!("{mode}:{target}:{}", path(host))),
            Source::Present(host) => ("present", path(host)),
            Source::Device(host) => ("device", path(host)),
            Source::Named(name) => ("named", name.clone()),
            Source::Nameless(name) => ("nameless", name.clone()),
            Source::Memory(options) => ("memory", options.clone()),
        };
        ("mount", format!("{kind}:{mode}:{target}:{source}"))
    }

    /// Reads such a line. Nothing if it is none.
    #[cfg(feature = "containers")]
    pub fn parse_line(name: &str, value: &str) -> Option<Volume> {
        let (kind, rest) = match name {
            "volume" => ("host", value),
            _ => value.split_once(':')?,
        };
        let (mode, rest) = rest.split_once(':')?;
        let (target, source) = rest.split_once(':')?;
        let text = source.to_owned();
        let source = match kind {
            "host" => Source::Host(source.into()),
            "present" => Source::Present(source.into()),
            "device" => Source::Device(source.into()),
            "named" => Source::Named(text),
            "nameless" => Source::Nameless(text),
            "memory" => Source::Memory(text),
            _ => return None,
        };
        Some(Volume { source, target: target.to_owned(), readonly: mode == "ro" })
    }

    /// Ready to be mounted in this container. `root` is its root, from which an empty volume
    /// is filled.
    pub fn bind(&self, store: &Store, of: &Record, root: BorrowedFd<'_>) -> Result<Bind> {
        if !self.target.starts_with('/') || self.target == "/" {
            let text = format!(
                "invalid volume: destination {:?} must be an absolute path below /",
                self.target
            );
            return Err(Error::new(Kind::Usage, text));
        }
        let (content, is_dir, is_device) = match &self.source {
            Source::Host(path) => of_host(path, true)?,
            _ if cfg!(not(feature = "containers")) => {
                return Err(Error::built_without("containers"));
            }
            Source::Present(path) => of_host(path, false)?,
            Source::Device(path) => device(path)?,
            Source::Memory(options) => (Content::Tmpfs(Tmpfs::parse(options)?), true, false),
            Source::Named(_) | Source::Nameless(_) => (self.stored(store, of, root)?, true, false),
        };
        let (target, readonly) = (self.target.clone(), self.readonly);
        Ok(Bind { content, target, is_dir, readonly, is_device })
    }

    #[cfg(feature = "containers")]
    fn stored(&self, store: &Store, of: &Record, root: BorrowedFd<'_>) -> Result<Content> {
        use crate::snapshot::volume::fill;
        use crate::store::volumes::DATA;
        use crate::sys::fs::{open_dir, open_in_root};
        let name = self.source.stored().unwrap_or_default();
        // Removed by hand, or not on the medium yet when the power went.
        self.make(store, of)?;
        let folder = store.open_volume(name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let data = match open_in_root(root, &self.target, flags, Mode::empty()) {
            Ok(from) => fill(store, folder.as_fd(), from.as_fd())
                .context(|| format!("fill the volume {name:?}"))?,
            // The image has no such directory.
            Err(_) => {
                open_dir(folder.as_fd(), DATA).context(|| format!("open the volume {name:?}"))?
            }
        };
        clone_tree(data.as_fd()).map(Content::Tree).context(|| format!("mount the volume {name:?}"))
    }

    #[cfg(not(feature = "containers"))]
    fn stored(&self, _: &Store, _: &Record, _: BorrowedFd<'_>) -> Result<Content> {
        Err(Error::built_without("containers"))
    }

    /// Makes the volume of the store that it is, if it is one and is not there.
    #[cfg(feature = "containers")]
    pub fn make(&self, store: &Store, of: &Record) -> Result<()> {
        let owner = crate::store::volumes::Owner { id: &of.id, is_brief: of.flags.remove };
        match &self.source {
            Source::Named(name) => store.make_volume(name, &[], None, false).map(drop),
            Source::Nameless(name) => store.make_volume(name, &[], Some(owner), true).map(drop),
            _ => Ok(()),
        }
    }
}

/// A path inside, absolute and without `.`, `..` and empty parts, as docker keeps it.
pub fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn of_host(path: &Path, is_made: bool) -> Result<(Content, bool, bool)> {
    let open = || rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened: OwnedFd = match open() {
        // As docker does for a directory that is not there yet.
        Err(rustix::io::Errno::NOENT) if is_made => {
            std::fs::create_dir_all(path).context(|| format!("mkdir {path:?}"))?;
            open().context(|| format!("open {path:?}"))?
        }
        other => other.context(|| format!("open {path:?}"))?,
    };
    let mode = rustix::fs::fstat(&opened)?.st_mode;
    let is_dir = FileType::from_raw_mode(mode) == FileType::Directory;
    let tree = clone_tree(opened.as_fd()).context(|| format!("bind {path:?}"))?;
    // A single device that the caller has named is meant to be one.
    Ok((Content::Tree(tree), is_dir, !is_dir))
}

fn device(path: &Path) -> Result<(Content, bool, bool)> {
    let mode = rustix::fs::stat(path).context(|| format!("open the device {path:?}"))?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Directory => {
            let (content, is_dir, _) = of_host(path, false)?;
            Ok((content, is_dir, true))
        }
        _ => Err(Error::input(format!("{path:?} is not a device node"))
            .hint("give files and directories to a container with -v")),
    }
}

#[cfg(all(test, feature = "containers"))]
mod tests {
    use super::*;

    #[test]
    fn a_volume_comes_back_from_its_line() {
        for source in [
            Source::Host("/x:y z".into()),
            Source::Present("/a:b".into()),
            Source::Device("/dev/kvm".into()),
            Source::Named("data".to_owned()),
            Source::Nameless("ab".repeat(32)),
            Source::Memory("size=1m,mode=1770".to_owned()),
        ] {
            for readonly in [false, true] {
                let volume = Volume { source: source.clone(), target: "/t".to_owned(), readonly };
                let (name, line) = volume.to_line();
                assert_eq!(Volume::parse_line(name, &line), Some(volume));
            }
        }
        for (name, line) in [("volume", "rw:/t"), ("mount", "rw:/t:x"), ("mount", "later:rw:/t:x")]
        {
            assert_eq!(Volume::parse_line(name, line), None, "{line}");
        }
    }
}
