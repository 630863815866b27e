//! Mounts: overlays without a place in the tree, and mounts onto an open directory or file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::error::{Error, Result};

/// The path of an open descriptor; works as long as a /proc of the host is there.
pub fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// What an overlay is made of, highest layer first.
pub struct Overlay<'a> {
    /// Read-only layers.
    pub lowers: &'a [BorrowedFd<'a>],
    /// The upper and the empty work directory; none for a read-only view.
    pub writable: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// Nobody needs what is written after a power cut before somebody has synced it from outside:
    /// the file system makes no sync of its own.
    pub is_volatile: bool,
}

/// Mounts an overlay that is attached nowhere and goes with its descriptor (fsopen(2), kernel
/// 5.2). `nodev`: the device nodes of an image are data, not doors.
pub fn overlay(parts: &Overlay<'_>) -> Result<OwnedFd> {
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
            Error::from(errno)
                .during("overlayfs is not available here")
                .hint("use a kernel of 5.2 or newer with CONFIG_OVERLAY_FS")
        })?;
    let fs = context.as_fd();
    let explain = |errno: Errno, what: &str| {
        // The kernel's own words, which say more than the number.
        let mut words = [0u8; 512];
        let count = rustix::io::read(fs, &mut words).unwrap_or(0);
        let text = String::from_utf8_lossy(words.get(..count).unwrap_or_default());
        let text = text.trim().trim_start_matches("e ").replace('\n', "; ");
        let error = Error::from(errno).during(format!("mount overlay: {what}"));
        let error = if text.is_empty() { error } else { error.during(text) };
        error.hint("the store must be on a file system that overlayfs can write to, such as ext4; choose another place with --root")
    };
    let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(fs, key, value);
    set("source", "lath").map_err(|errno| explain(errno, "source"))?;
    if let Some((upper, work)) = parts.writable {
        set("upperdir", &fd_path(upper)).map_err(|errno| explain(errno, "upperdir"))?;
        set("workdir", &fd_path(work)).map_err(|errno| explain(errno, "workdir"))?;
        if parts.is_volatile {
            let _ = rustix::mount::fsconfig_set_flag(fs, "volatile");
        }
    }
    for (key, value) in
        [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off")]
    {
        let _ = set(key, value);
    }
    let back = stand_in("/proc/self/fd")?;
    let created = set_lowers(fs, parts.lowers).and_then(|()| rustix::mount::fsconfig_create(fs));
    rustix::process::fchdir(back)?;
    match created {
        // Since 5.10; without it the unmount syncs, which is only slower. Until 6.5 overlayfs looks at
        // what was set when it is put together, and not before.
        Err(Errno::INVAL) if parts.is_volatile => {
            return overlay(&Overlay { is_volatile: false, ..*parts });
        }
        created => created.map_err(|errno| explain(errno, "create"))?,
    }
    rustix::mount::fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
        .map_err(|errno| explain(errno, "fsmount"))
}

/// So many lower directories find room in one string, by numbers of three digits.
pub const LOWERS_IN_ONE: usize = 62;

/// Whether overlayfs takes more than these (kernel 6.7). Until 6.5 all that is set is taken.
pub fn takes_more_lowers() -> bool {
    let Ok(fs) = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
        return false;
    };
    let takes = |key| rustix::mount::fsconfig_set_string(fs.as_fd(), key, "/").is_ok();
    takes("lowerdir+") && !takes("-")
}

/// Names the lower directories, seen from /proc/self/fd. Until 6.7 one string of 255 bytes must hold
/// them all, so they have the shortest names there are.
fn set_lowers(fs: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let name = |fd: &BorrowedFd<'_>| fd.as_raw_fd().to_string();
    let all = lowers.iter().map(name).collect::<Vec<_>>().join(":");
    if all.len() < 256 {
        return rustix::mount::fsconfig_set_string(fs, "lowerdir", all);
    }
    lowers.iter().try_for_each(|fd| rustix::mount::fsconfig_set_string(fs, "lowerdir+", name(fd)))
}

/// Makes a directory this thread's working directory, and no other thread's. Gives the one it was.
fn stand_in(dir: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let back = rustix::fs::open(".", flags, Mode::empty())?;
    // SAFETY: descriptors stay shared as they are; only the root, the working directory and the
    // umask become this thread's own, as they were.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS)? };
    rustix::process::chdir(dir)?;
    Ok(back)
}

/// A detached copy of a directory's mount, to be attached elsewhere (open_tree(2), kernel 5.2).
pub fn clone_tree(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::mount::open_tree(
        dir,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH,
    )
}

/// Attaches a detached mount onto an open directory or file (move_mount(2)).
pub fn attach(tree: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::mount::move_mount(
        tree,
        "",
        onto,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// Mounts a new file system onto an open directory (mount(2)).
pub fn mount_onto(
    kind: &str,
    onto: BorrowedFd<'_>,
    flags: MountFlags,
    options: &str,
) -> rustix::io::Result<()> {
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(kind, fd_path(onto), kind, flags, options.as_c_str())
}

/// Binds one open file or directory over another.
pub fn bind(from: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::mount::mount_bind(fd_path(from), fd_path(onto))
}

/// Binds a directory with all that is mounted below it.
pub fn bind_recursive(from: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::mount::mount_bind_recursive(fd_path(from), fd_path(onto))
}

/// Gives this process mounts of its own, as they are now: what it mounts from then on nobody else
/// sees, and it goes with this process (unshare(2), CLONE_NEWNS). Descriptors from before are of the
/// others' mounts.
#[cfg(any(feature = "containers", feature = "outputs"))]
pub fn own_mounts() -> rustix::io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    // SAFETY: file descriptors stay shared as they are; only the mounts, the root and the working
    // directory become this thread's own.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}
