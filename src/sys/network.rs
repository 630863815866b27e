//! Network namespaces, and the loopback interface of a new one (man 7 network_namespaces, man 7 netdevice).

#[cfg(feature = "bridge")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Context, Error, Result};

/// Sets `lo` up, as a namespace of its own begins with it down.
pub fn raise_loopback() -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context(|| "socket")?;
    // SAFETY: an ifreq is plain data; the kernel reads the name and the flags of it, and it
    // lives for the call.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Error::from(std::io::Error::last_os_error()).during("set up the loopback interface"))
    }
}

/// That of this thread.
#[cfg(feature = "bridge")]
pub fn own() -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty())
        .context(|| "open /proc/thread-self/ns/net")
}

/// Makes a network namespace, does `work` in it, and comes back. What keeps it is the file alone.
#[cfg(feature = "bridge")]
pub fn in_new_namespace(work: &mut dyn FnMut() -> Result<()>) -> Result<OwnedFd> {
    let home = own()?;
    // SAFETY: of all that unshare(2) can divide only the network is, which concerns this thread's later
    // sockets and no memory or descriptor.
    let divided = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
    divided.map_err(|errno| {
        Error::from(errno)
            .during("make a network namespace")
            .hint("this needs root and CONFIG_NET_NS; --network host does without")
    })?;
    let made = own().and_then(|made| work().map(|()| made));
    enter(std::os::fd::AsFd::as_fd(&home))?;
    made
}

/// Goes into a network namespace (setns(2)).
pub fn enter(namespace: BorrowedFd<'_>) -> Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
        .context(|| "enter a network namespace")
}
