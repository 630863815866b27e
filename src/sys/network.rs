//! The loopback interface of a new network namespace (man 7 netdevice).

use std::os::fd::AsRawFd;

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
