//! A terminal for a program: a new pair of the container's own devpts (pty(7)). The program gets
//! the one side, whoever started it the other, over a socket.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::fs::open_in_root;
use crate::sys::mount::bind;

/// For a child: makes the pair in this /dev, hands the caller's side over the socket, and gives the
/// program's. `is_console`: it becomes /dev/console too.
pub fn open(dev: BorrowedFd<'_>, socket: BorrowedFd<'_>, is_console: bool) -> Result<OwnedFd> {
    let says = || "make a terminal";
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let outer = open_in_root(dev, "pts/ptmx", flags, Mode::empty()).context(says)?;
    unlockpt(&outer).context(says)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let inner = ioctl_tiocgptpeer(&outer, flags).context(says)?;
    if is_console {
        crate::sandbox::dev::write(dev, "console", b"", 0o600).context(says)?;
        let place = open_in_root(dev, "console", OFlags::PATH, Mode::empty()).context(says)?;
        bind(inner.as_fd(), place.as_fd()).context(|| "mount /dev/console")?;
    }
    send(socket, outer.as_fd()).context(says)?;
    Ok(inner)
}

fn send(socket: BorrowedFd<'_>, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(socket, &[IoSlice::new(b"t")], &mut control, SendFlags::empty()).map(drop)
}

/// For the caller: its side of the terminal of a program that has been started.
pub fn receive(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)
        .context(|| "receive a terminal")?;
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let file = files.flatten().next();
    file.ok_or_else(|| Error::new(Kind::System, "the program's terminal did not come"))
}
