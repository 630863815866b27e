//! What one call of lath works with: the store and what the kernel has, opened once.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::instruction::parse_size;
use crate::store::{Driver, Scratch, Store};
use crate::sys::fs::read_small;
use crate::sys::kernel::Kernel;
use crate::sys::signal;

/// A longer file of settings is none.
const LONGEST: usize = 64 << 10;

/// An open store and the facts about this machine.
pub struct Session {
    /// The store.
    pub store: Arc<Store>,
    /// The kernel.
    pub kernel: Kernel,
    /// The words of `--registry-mirror`, and a file that says more.
    #[cfg(feature = "net")]
    pub mirrors: (Vec<String>, PathBuf),
}

/// Where the store is and how to work, by the command line and the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--root`, else `LATH_ROOT`.
    pub root: Option<PathBuf>,
    /// `--driver`, else `LATH_DRIVER`.
    pub driver: Option<String>,
    /// `LATH_STORE_LIMIT`: a size, or a share of the file system such as `20%`.
    pub limit: Option<String>,
    /// `LATH_STORES`: read-only stores, their paths with a colon between them.
    pub stores: Option<OsString>,
    /// `--registry-mirror`.
    #[cfg(feature = "net")]
    pub mirrors: Vec<String>,
}

impl Session {
    /// Opens the store, makes it when there is none, and sweeps what a killed process has left.
    pub fn open(settings: &Settings) -> Result<Session> {
        let wish = match settings.driver.as_deref() {
            None => None,
            Some("overlay") => Some(Driver::Overlay),
            Some("copy") => Some(Driver::Copy),
            Some(other) => {
                return Err(Error::usage(format!("unknown driver {other:?}: overlay or copy")));
            }
        };
        signal::watch()?;
        let root = settings.root.clone().unwrap_or_else(default_root);
        // Mounts are made by other processes than this one, with another working directory.
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|cause| Error::from(cause).during(format!("find {path:?}")))
        };
        let root = absolute(&root)?;
        let mut store = Store::open(&root)?;
        let stores = settings.stores.as_deref().unwrap_or_default().as_bytes();
        for path in stores.split(|byte| *byte == b':').filter(|path| !path.is_empty()) {
            store.put_below(&absolute(Path::new(OsStr::from_bytes(path)))?)?;
        }
        store.set_limit(settings.limit.as_deref().map(|text| limit(text, &store)).transpose()?);
        if let Some(driver) = wish {
            store.wish(driver)?;
        }
        store.sweep()?;
        Ok(Session {
            store: Arc::new(store),
            kernel: Kernel::probe(),
            #[cfg(feature = "net")]
            mirrors: (settings.mirrors.clone(), root.join("registries")),
        })
    }

    /// Opens the store only when there is one already.
    pub fn find(settings: &Settings) -> Option<Session> {
        let root = settings.root.clone().unwrap_or_else(default_root);
        root.is_dir().then(|| Session::open(settings).ok())?
    }

    /// A folder for unfinished work.
    pub fn scratch(&self) -> Result<Scratch> {
        self.store.scratch()
    }
}

/// The network that a command (`run`, `build`) has when its words say none: a line `COMMAND NETWORK` in the
/// file `network` of the store's root, or else of /etc/lath. `#` begins a comment.
pub fn default_network(settings: &Settings, command: &str) -> Result<Option<String>> {
    let root = settings.root.clone().unwrap_or_else(default_root);
    for path in [root.join("network"), PathBuf::from("/etc/lath/network")] {
        let text = match read_small(rustix::fs::CWD, &path, LONGEST)? {
            Some(text) => text,
            None => continue,
        };
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(known), Some(network), None) if known == command => {
                    return Ok(Some(network.to_owned()));
                }
                (None, ..) | (Some("run" | "build"), Some(_), None) => {}
                _ => {
                    return Err(Error::input(format!("{path:?} has a line {line:?}"))
                        .hint("write run or build and a network, such as: run bridge"));
                }
            }
        }
    }
    Ok(None)
}

/// The bytes of a limit.
fn limit(text: &str, store: &Store) -> Result<u64> {
    let bad = || {
        Error::usage(format!("LATH_STORE_LIMIT {text:?} is not a size"))
            .hint("write it as 500MB or 20g, or as a share of the file system: 20%")
    };
    match text.strip_suffix('%') {
        None => parse_size(text).filter(|bytes| *bytes > 0).ok_or_else(bad),
        Some(share) => {
            let share: u64 = share.parse().map_err(|_| bad())?;
            if !(1..=100).contains(&share) {
                return Err(bad());
            }
            let stat = rustix::fs::fstatvfs(store.fd())?;
            Ok((stat.f_blocks * stat.f_frsize / 100).saturating_mul(share))
        }
    }
}

/// `/var/lib/lath` for root, `$XDG_DATA_HOME/lath` for others.
fn default_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/lath");
    }
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(home);
    data.unwrap_or_else(|| PathBuf::from("/var/tmp")).join("lath")
}
