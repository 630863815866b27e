//! Mounts: overlays without a place in the tree, and mounts onto an open directory or file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
    let paths: Vec<String> = parts.lowers.iter().map(|fd| fd_path(*fd)).collect();
    for (at, path) in paths.iter().enumerate() {
        match set("lowerdir+", path) {
            Ok(()) => {}
            // Before 6.5 all lower directories go into one string of 255 bytes.
            Err(Errno::INVAL) if at == 0 => {
                set("lowerdir", &paths.join(":")).map_err(|errno| explain(errno, "lowerdir"))?;
                break;
            }
            Err(errno) => return Err(explain(errno, "lowerdir+")),
        }
    }
    if let Some((upper, work)) = parts.writable {
        set("upperdir", &fd_path(upper)).map_err(|errno| explain(errno, "upperdir"))?;
        set("workdir", &fd_path(work)).map_err(|errno| explain(errno, "workdir"))?;
        if parts.is_volatile {
            // Since 5.10; without it the unmount syncs, which is only slower.
            let _ = rustix::mount::fsconfig_set_flag(fs, "volatile");
        }
    }
    // A kernel without one of these does not do what it turns off.
    if set("redirect_dir", "nofollow").is_err() {
        let _ = set("redirect_dir", "off");
    }
    for key in ["metacopy", "index", "xino"] {
        let _ = set(key, "off");
    }
    rustix::mount::fsconfig_create(fs).map_err(|errno| explain(errno, "create"))?;
    rustix::mount::fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
        .map_err(|errno| explain(errno, "fsmount"))
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
