//! A process in its own world: namespaces, its own root, /proc, /dev and /sys as docker gives
//! them, docker's capabilities and system calls, nothing of the host's descriptors, environment or terminals.

mod cgroup;
mod dev;
mod enter;
mod files;
mod identity;
#[cfg(feature = "containers")]
mod join;
mod limits;
mod mountpoint;
mod output;
mod powers;
mod proc;
mod root;
mod seccomp;
#[cfg(feature = "containers")]
mod terminal;
mod tmpfs;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

#[cfg(feature = "doctor")]
pub use cgroup::has_controller;
pub use cgroup::{Bounds, Cgroup};
#[cfg(feature = "bridge")]
pub use files::name_servers;
pub use files::{Dns, HOST_GATEWAY, NetworkFiles};
pub use identity::{Identity, group_id, parse_id};
#[cfg(feature = "containers")]
pub use join::World;
pub use limits::Limits;
pub use mountpoint::{DIRS, FILES};
pub use output::{pump, supervise};
pub use powers::Powers;
#[cfg(feature = "containers")]
pub use terminal::receive;
pub use tmpfs::Tmpfs;

use crate::error::Result;
use crate::sys::process::{Namespaces, spawn};
use mountpoint::Mountpoints;

/// Which network a process sees.
#[derive(Clone, Copy, Debug)]
pub enum Network<'a> {
    /// The host's.
    Host,
    /// Only a loopback interface of its own.
    None,
    /// That of a network namespace that is there.
    Other(BorrowedFd<'a>),
}

/// Something that appears inside besides the usual.
pub struct Bind {
    /// What.
    pub content: Content,
    /// Where: a path in the root.
    pub target: String,
    /// Whether it is a directory; decides what is made when the target is not there.
    pub is_dir: bool,
    /// Not writable.
    pub readonly: bool,
    /// It may be a device that works; everything else is `nodev`.
    pub is_device: bool,
}

/// What is mounted.
pub enum Content {
    /// A detached mount (`sys::mount::clone_tree`, or an overlay).
    Tree(OwnedFd),
    /// A path inside of a detached mount.
    Inside(OwnedFd, PathBuf),
    /// A new file system in memory.
    Tmpfs(Tmpfs),
    /// A file in memory.
    File {
        /// What is in it.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
}

/// What to run, as whom and how.
pub struct Guest<'a> {
    /// The words; the first is looked up in the PATH of `env`.
    pub argv: &'a [String],
    /// The whole environment.
    pub env: &'a [String],
    /// Where it starts; made when missing.
    pub cwd: &'a str,
    /// As whom.
    pub identity: &'a Identity,
    /// What it may use at most.
    pub limits: &'a Limits,
    /// What it may do.
    pub powers: Powers,
    /// Its streams.
    pub streams: Streams<'a>,
    /// The cgroup that it is in; none for that of lath.
    pub cgroup: Option<&'a Cgroup>,
    /// When the machine is short of memory it goes first.
    pub is_expendable: bool,
}

/// Where a program reads and writes.
pub enum Streams<'a> {
    /// Standard input, output and error.
    Files([BorrowedFd<'a>; 3]),
    /// A terminal of its own; whoever holds the other end of this socket gets its other side.
    #[cfg(feature = "containers")]
    Terminal(BorrowedFd<'a>),
}

/// A program and the world that is made for it.
pub struct Spec<'a> {
    /// The root: a detached mount.
    pub tree: BorrowedFd<'a>,
    /// A directory of the host that always exists; the root is mounted there in the new mount
    /// namespace for a moment.
    pub staging: &'a Path,
    /// The program.
    pub guest: Guest<'a>,
    /// Host name.
    pub hostname: &'a str,
    /// Network.
    pub network: Network<'a>,
    /// What it sees as /etc/resolv.conf and /etc/hosts.
    pub files: &'a NetworkFiles,
    /// Mounts besides the usual ones.
    pub binds: &'a [Bind],
    /// Files at /dev/pipes: name and content, executable.
    pub scripts: &'a [(String, String)],
    /// Parameters of the kernel that belong to its namespaces: names with dots, and values.
    pub sysctls: &'a [(String, String)],
    /// Nothing of the root can be written to; mounts in it can.
    pub is_read_only: bool,
}

/// A running process. `clean` must be called when it has ended.
pub struct Running {
    /// Its id, outside.
    pub pid: Pid,
    mountpoints: Mountpoints,
}

impl Running {
    /// Takes away the mount points that were made for it and are not part of the image.
    pub fn clean(self) -> Result<()> {
        self.mountpoints.remove()
    }
}

/// Starts a process. When this returns it has been executed; an error says why it could not be.
pub fn start(spec: &Spec<'_>) -> Result<Running> {
    let mountpoints = match Mountpoints::make(spec) {
        Ok(mountpoints) => mountpoints,
        Err((error, made)) => {
            made.remove()?;
            return Err(error);
        }
    };
    let namespaces = Namespaces::New { network: matches!(spec.network, Network::None) };
    let program = match enter::Program::new(&spec.guest) {
        Ok(program) => program,
        Err(error) => {
            mountpoints.remove()?;
            return Err(error);
        }
    };
    match spawn(namespaces, &mut || enter::enter(spec, &program)) {
        Ok(pid) => Ok(Running { pid, mountpoints }),
        Err(error) => {
            mountpoints.remove()?;
            Err(error)
        }
    }
}

/// An open /dev/null, to be given as standard input; before there is one, early at boot, a pipe into
/// which nobody writes.
pub fn null() -> Result<OwnedFd> {
    use crate::error::Context;
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    use rustix::pipe::PipeFlags;
    match rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => {
            let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
            pipe.map(|(reader, _)| reader).context(|| "pipe")
        }
        other => other.context(|| "open /dev/null"),
    }
}
