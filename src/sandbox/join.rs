//! One more program in a world that is there already (setns(2)): its namespaces, its root, its
//! limits of what may be done. Nothing of it is opened before: until the program is executed this
//! process cannot be looked into from there (CVE-2016-9962, CVE-2019-5736).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Guest, Identity, Streams, cgroup, enter, terminal};
use crate::error::{Context, Result};
use crate::sys::fs::open_dir;
use crate::sys::process::{Namespaces, hide_from_proc, spawn};

/// The namespaces, in the order in which they are entered; the pid namespace is for children only
/// and is entered first, the mount namespace last, as it takes the paths away.
const INNER: [(&str, LinkNameSpaceType); 5] = [
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    ("cgroup", LinkNameSpaceType::ControlGroup),
    ("mnt", LinkNameSpaceType::Mount),
];

/// The world of a process, opened.
pub struct World {
    pid: OwnedFd,
    inner: Vec<(OwnedFd, LinkNameSpaceType)>,
    root: OwnedFd,
}

impl World {
    /// Opens the world of a process; the caller looks afterwards whether it was still that process.
    pub fn of(leader: Pid) -> Result<World> {
        let base = format!("/proc/{}", leader.as_raw_nonzero());
        let open = |name: &str, flags: OFlags| {
            rustix::fs::open(format!("{base}/{name}"), flags | OFlags::CLOEXEC, Mode::empty())
        };
        let says = || "open the container's namespaces";
        let pid = open("ns/pid", OFlags::RDONLY).context(says)?;
        let mut inner = Vec::new();
        for (name, kind) in INNER {
            match open(&format!("ns/{name}"), OFlags::RDONLY) {
                Ok(file) => inner.push((file, kind)),
                // A kernel without that kind.
                Err(Errno::NOENT) if name != "mnt" => {}
                Err(other) => return Err(other).context(says),
            }
        }
        let root = open("root", OFlags::RDONLY | OFlags::DIRECTORY).context(says)?;
        Ok(World { pid, inner, root })
    }

    /// Looks up a user in there.
    pub fn identity(&self, user: &str) -> Result<Identity> {
        Identity::resolve(self.root.as_fd(), user)
    }

    /// Starts a program in there. When this returns it has been executed; an error says why it
    /// could not be. This process starts no more children elsewhere.
    pub fn start(&self, guest: &Guest<'_>) -> Result<Pid> {
        let program = enter::Program::new(guest)?;
        hide_from_proc();
        move_into_link_name_space(self.pid.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .context(|| "enter the container's pid namespace")?;
        spawn(Namespaces::Same, &mut || match self.enter(guest, &program) {
            Err(error) => error,
            Ok(()) => enter::execute(guest, &program),
        })
    }

    fn enter(&self, guest: &Guest<'_>, program: &enter::Program) -> Result<()> {
        cgroup::enter(&program.doors)?;
        for (file, kind) in &self.inner {
            move_into_link_name_space(file.as_fd(), Some(*kind))
                .context(|| "enter the container's namespaces")?;
        }
        rustix::process::chdir("/").context(|| "enter the container's root")?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let terminal = match guest.streams {
            Streams::Files(_) => None,
            Streams::Terminal(socket) => {
                let root =
                    rustix::fs::open("/", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                        .context(|| "open the container's root")?;
                let dev = open_dir(root.as_fd(), "dev").context(|| "open the container's /dev")?;
                Some(terminal::open(dev.as_fd(), socket, false)?)
            }
        };
        enter::enter_cwd(guest)?;
        enter::take_on(guest, program, terminal)
    }
}
