//! What a child does between clone and exec, in the order in which it must be done.
//!
//! It shares its parent's memory, so it takes nothing that the parent could hold locked, and
//! everything that can be computed before is.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{PidfdFlags, pidfd_open};

use super::proc::Masks;
#[cfg(feature = "containers")]
use super::terminal;
use super::{
    Bind, Cgroup, Content, Guest, Network, Spec, Streams, cgroup, dev, proc, root, seccomp,
};
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::DEFAULT_PATH;
use crate::sys::fs::{NewDir, make_dirs_in_root, open_dir, open_in_root, set_owner};
use crate::sys::identity::become_user;
use crate::sys::mount::{attach, bind, fd_path, mount_onto};
use crate::sys::seccomp::{Instruction, confine};
use crate::sys::{network, process};

/// The words of the command as execve wants them.
pub struct Program {
    argv: Vec<CString>,
    env: Vec<CString>,
    candidates: Vec<CString>,
    /// Which system calls it may make; nothing for all.
    filter: Option<Vec<Instruction>>,
    /// Of its cgroup.
    pub(super) doors: Vec<OwnedFd>,
    /// lath itself, for as long as it lives (pidfd_open(2), kernel 5.3).
    parent: OwnedFd,
}

impl Program {
    /// Prepares the words; the places where the program may be come from the PATH of its own
    /// environment.
    pub fn new(guest: &Guest<'_>) -> Result<Program> {
        for word in guest.argv.iter().chain(guest.env).map(String::as_str).chain([guest.cwd]) {
            if word.contains('\0') {
                return Err(Error::input(format!("{word:?} has a NUL byte")));
            }
        }
        let text = |word: &String| {
            CString::new(word.as_str())
                .map_err(|_| Error::input(format!("{word:?} has a NUL byte")))
        };
        let argv = guest.argv.iter().map(text).collect::<Result<Vec<_>>>()?;
        let env = guest.env.iter().map(text).collect::<Result<Vec<_>>>()?;
        let name = guest.argv.first().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::input("no command specified"))?;
        let path = guest.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
        // Neither has a NUL byte: that was looked at above.
        let path = path.unwrap_or(DEFAULT_PATH);
        let candidates = process::candidates(name.as_bytes(), path.as_bytes());
        let parent =
            pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).context(|| "pidfd_open")?;
        let powers = &guest.powers;
        let filter = (!powers.any_call).then(|| seccomp::filter(powers.capabilities));
        let doors = guest.cgroup.map_or(Ok(Vec::new()), Cgroup::doors)?;
        Ok(Program { argv, env, candidates, filter, doors, parent })
    }
}

const PLAIN_DIR: NewDir = NewDir { mode: 0o755, owner: (0, 0) };

/// Becomes the program. Returns only with the reason why it could not.
pub fn enter(spec: &Spec<'_>, program: &Program) -> Error {
    match set_up(spec, program) {
        Err(error) => error,
        Ok(()) => execute(&spec.guest, program),
    }
}

fn set_up(spec: &Spec<'_>, program: &Program) -> Result<()> {
    let guest = &spec.guest;
    cgroup::enter(&program.doors)?;
    if let Network::Other(namespace) = spec.network {
        network::enter(namespace)?;
    }
    if guest.is_expendable {
        proc::offer_to_oom_killer();
    }
    // By path, since descriptors from outside belong to the other mount namespace.
    let staging = rustix::fs::open(
        spec.staging,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .context(|| format!("open {:?}", spec.staging))?;
    root::make_private()?;
    attach(spec.tree, staging.as_fd()).context(|| "mount the root")?;
    // A plain directory's mount has what that of the store allows and forbids.
    let wanted = StatVfsMountFlags::NODEV;
    let other = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::NOSUID;
    if rustix::fs::fstatvfs(spec.tree)?.f_flag & (wanted | other) != wanted {
        rustix::mount::mount_remount(fd_path(spec.tree), MountFlags::BIND | MountFlags::NODEV, c"")
            .context(|| "mount the root without devices")?;
    }
    rustix::process::umask(Mode::empty());
    let dev = dev::mount(spec.tree, spec.scripts, guest.limits.shm_bytes)?;
    let terminal = match guest.streams {
        Streams::Files(_) => None,
        #[cfg(feature = "containers")]
        Streams::Terminal(socket) => Some(terminal::open(dev.as_fd(), socket, true)?),
    };
    bind_files(spec, dev.as_fd())?;
    mount_proc(spec, dev.as_fd())?;
    for one in spec.binds {
        attach_bind(spec, dev.as_fd(), one).context(|| format!("mount {:?}", one.target))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    root::change(spec.tree)?;

    rustix::system::sethostname(spec.hostname.as_bytes()).context(|| "set the host name")?;
    if matches!(spec.network, Network::None) {
        network::raise_loopback()?;
    }
    enter_cwd(guest)?;
    if spec.is_read_only {
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
        rustix::mount::mount_remount("/", flags, c"").context(|| "mount the root read-only")?;
    }
    take_on(guest, program, terminal)
}

/// Becomes whom the program shall run as, with its streams; from then on there is no way back.
pub fn take_on(guest: &Guest<'_>, program: &Program, terminal: Option<OwnedFd>) -> Result<()> {
    // Away from the caller's terminal, so that nothing can be typed into it (CVE-2017-5226).
    rustix::process::setsid().context(|| "setsid")?;
    process::leave_keyring();
    let who = guest.identity;
    let [input, output, errors] = match (&guest.streams, &terminal) {
        (_, Some(terminal)) => {
            rustix::process::ioctl_tiocsctty(terminal).context(|| "take the terminal")?;
            rustix::fs::fchown(terminal, Some(Uid::from_raw(who.uid)), None)
                .context(|| "chown the terminal")?;
            [terminal.as_fd(); 3]
        }
        (Streams::Files(files), None) => *files,
        #[cfg(feature = "containers")]
        (Streams::Terminal(_), None) => return Err(Error::unsupported("there is no terminal")),
    };
    // Copies first: a stream may itself be one of the three numbers.
    let copies = [copy(input)?, copy(output)?, copy(errors)?];
    let [input, output, errors] = &copies;
    rustix::stdio::dup2_stdin(input).context(|| "dup2")?;
    rustix::stdio::dup2_stdout(output).context(|| "dup2")?;
    rustix::stdio::dup2_stderr(errors).context(|| "dup2")?;
    process::hide_descriptors();
    // Late, so that they hold for the program alone, and while it is still allowed.
    guest.limits.apply()?;
    if let Some(filter) = &program.filter {
        match confine(filter) {
            // A kernel without filters: `info` says so.
            Err(Errno::NOSYS | Errno::INVAL) => {}
            other => other.context(|| "filter system calls")?,
        }
    }
    become_user(who.uid, who.gid, &who.groups, guest.powers.capabilities)?;
    if guest.powers.no_new_privileges {
        rustix::thread::set_no_new_privs(true).context(|| "no_new_privs")?;
    }
    // Whoever was killed before the death signal was asked for sends none.
    let mut watched = [PollFd::new(&program.parent, PollFlags::IN)];
    match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(1..) => Err(Error::new(Kind::System, "lath is gone")),
        _ => Ok(()),
    }
}

fn copy(stream: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(stream, 3).context(|| "dup")
}

fn mount_proc(spec: &Spec<'_>, dev: BorrowedFd<'_>) -> Result<()> {
    if spec.guest.powers.sees_kernel {
        return proc::mount(spec.tree, spec.sysctls, None);
    }
    const NOTHING: &str = ".nothing";
    let null = open_in_root(spec.tree, "dev/null", OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
        .context(|| "open /dev/null")?;
    rustix::fs::mkdirat(dev, NOTHING, Mode::from_raw_mode(0o555)).context(|| "make a mask")?;
    let nothing = open_dir(dev, NOTHING).context(|| "open a mask")?;
    let masks = Masks { null: null.as_fd(), nothing: nothing.as_fd() };
    proc::mount(spec.tree, spec.sysctls, Some(&masks))?;
    rustix::fs::unlinkat(dev, NOTHING, AtFlags::REMOVEDIR).context(|| "remove a mask's name")
}

/// resolv.conf, hosts and hostname.
fn bind_files(spec: &Spec<'_>, dev: BorrowedFd<'_>) -> Result<()> {
    let hostname = format!("{}\n", spec.hostname);
    let mut hosts = spec.files.hosts.clone();
    // The host name resolves, as programs expect that ask for their own.
    hosts.extend_from_slice(format!("{}\t{}\n", spec.files.own, spec.hostname).as_bytes());
    let files: [(&str, &[u8]); 3] = [
        ("etc/resolv.conf", &spec.files.resolv_conf),
        ("etc/hosts", &hosts),
        ("etc/hostname", hostname.as_bytes()),
    ];
    let own = rustix::fs::fstat(dev).context(|| "stat /dev")?.st_dev;
    for (target, bytes) in files {
        let onto = open_in_root(spec.tree, target, OFlags::PATH, Mode::empty());
        let onto = onto.context(|| format!("mount /{target}"))?;
        // A link to /dev/null, as some images have: that must stay what it is.
        if rustix::fs::fstat(&onto).context(|| format!("stat /{target}"))?.st_dev == own {
            continue;
        }
        bind_file(dev, bytes, 0o644, (0, 0), onto.as_fd())
            .context(|| format!("mount /{target}"))?;
    }
    Ok(())
}

/// A file of the new /dev's tmpfs, bound and then unlinked: it is in memory and has no other name.
fn bind_file(
    dev: BorrowedFd<'_>,
    bytes: &[u8],
    mode: u32,
    owner: (u32, u32),
    onto: BorrowedFd<'_>,
) -> Result<()> {
    const NAME: &str = ".file";
    dev::write(dev, NAME, bytes, mode)?;
    let from = rustix::fs::openat(dev, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    set_owner(from.as_fd(), owner.0, owner.1)?;
    bind(from.as_fd(), onto)?;
    Ok(rustix::fs::unlinkat(dev, NAME, AtFlags::empty())?)
}

/// Mounts the directory or file `path` of a detached mount: the mount is attached aside, the path
/// bound, and the mount taken away again; what was bound keeps it.
fn bind_inside(
    dev: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    path: &Path,
    onto: BorrowedFd<'_>,
) -> Result<()> {
    const NAME: &str = ".tree";
    rustix::fs::mkdirat(dev, NAME, Mode::from_raw_mode(0o700))?;
    let aside = open_dir(dev, NAME)?;
    attach(tree, aside.as_fd())?;
    let from = open_in_root(tree, path, OFlags::PATH, Mode::empty())?;
    bind(from.as_fd(), onto)?;
    rustix::mount::unmount(fd_path(tree), UnmountFlags::DETACH)?;
    Ok(rustix::fs::unlinkat(dev, NAME, AtFlags::REMOVEDIR)?)
}

fn attach_bind(spec: &Spec<'_>, dev: BorrowedFd<'_>, one: &Bind) -> Result<()> {
    let target = Path::new(&one.target);
    if target.starts_with("/dev") {
        // lath's own /dev: nothing of the image, so it is filled here.
        if one.is_dir {
            make_dirs_in_root(spec.tree, target, PLAIN_DIR)?;
        } else {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            open_in_root(spec.tree, target, flags, Mode::from_raw_mode(0o644))?;
        }
    }
    let onto = open_in_root(spec.tree, target, OFlags::PATH, Mode::empty())?;
    let onto = onto.as_fd();
    match &one.content {
        Content::Tree(tree) => attach(tree.as_fd(), onto)?,
        Content::Inside(tree, path) => bind_inside(dev, tree.as_fd(), path, onto)?,
        Content::Tmpfs(tmpfs) => mount_onto("tmpfs", onto, tmpfs.flags, &tmpfs.options)?,
        Content::File { bytes, mode, owner } => bind_file(dev, bytes, *mode, *owner, onto)?,
    }
    // A node in a directory of the host, or in a context, would be a door to the host's disks.
    if one.readonly || !one.is_device {
        let mounted = open_in_root(spec.tree, target, OFlags::PATH, Mode::empty())?;
        let mut flags = MountFlags::BIND | kept_flags(mounted.as_fd())?;
        flags.set(MountFlags::RDONLY, one.readonly || flags.contains(MountFlags::RDONLY));
        flags.set(MountFlags::NODEV, !one.is_device || flags.contains(MountFlags::NODEV));
        rustix::mount::mount_remount(fd_path(mounted.as_fd()), flags, c"")?;
    }
    Ok(())
}

/// What the host has forbidden on a mount, which a remount would allow again (statvfs(3)).
fn kept_flags(mounted: BorrowedFd<'_>) -> rustix::io::Result<MountFlags> {
    let has = rustix::fs::fstatvfs(mounted)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    let set = pairs.into_iter().filter(|(flag, _)| has.contains(*flag)).map(|(_, flag)| flag);
    Ok(set.fold(MountFlags::empty(), MountFlags::union))
}

/// The working directory, made when it is missing. Checked to be inside: a descriptor of the
/// host's that leaked would be a way out (CVE-2024-21626).
pub fn enter_cwd(guest: &Guest<'_>) -> Result<()> {
    let cwd = if guest.cwd.is_empty() { "/" } else { guest.cwd };
    let says = || format!("working directory {cwd:?}");
    let root = rustix::fs::open("/", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Without the magic links of /proc, so that no descriptor is a way anywhere.
    let dir = make_dirs_in_root(root.as_fd(), Path::new(cwd), PLAIN_DIR).context(says)?;
    rustix::process::fchdir(&dir).context(says)?;
    let here = rustix::process::getcwd(Vec::new()).context(|| "getcwd")?;
    if here.to_bytes().first() != Some(&b'/') {
        let text = format!("working directory {cwd:?} is outside of the image");
        return Err(Error::new(Kind::Denied, text));
    }
    Ok(())
}

/// Executes it. Returns only with the reason why that was not possible.
pub fn execute(guest: &Guest<'_>, program: &Program) -> Error {
    let worst = process::exec_first(&program.candidates, &program.argv, &program.env);
    let name = guest.argv.first().map(String::as_str).unwrap_or_default();
    match worst {
        Errno::NOENT if name.contains('/') => {
            Error::new(Kind::NotFound, format!("exec: {name:?}: no such file or directory"))
                .hint("its interpreter or the loader of its libraries may be what is missing")
        }
        Errno::NOENT => Error::new(
            Kind::NotFound,
            format!("exec: {name:?}: executable file not found in $PATH"),
        ),
        Errno::NOEXEC => Error::new(Kind::Denied, format!("exec: {name:?}: exec format error"))
            .hint(
                "is it a program for another processor, or a script without #! in its first line?",
            ),
        other => {
            let text = Error::from(other).text().to_ascii_lowercase();
            Error::new(Kind::Denied, format!("exec: {name:?}: {text}"))
        }
    }
}
