//! The data of one open file to another: shared by both where the file system can, else copied in
//! the kernel, else read and written.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::fs::{BUFFER, write_all};
use super::signal;
use crate::error::Result;

/// How much is copied by one call: large enough for few calls, small enough to hear a signal and
/// to announce each.
const PIECE: usize = 128 << 10;

/// Copies all of a file; `will` hears of the bytes that come next, and can refuse them.
pub fn copy_data(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    will: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let size = u64::try_from(rustix::fs::fstat(from)?.st_size).unwrap_or(0);
    if size == 0 {
        return Ok(());
    }
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return will(size);
    }
    let mut total = 0u64;
    loop {
        signal::check()?;
        let left = usize::try_from(size.saturating_sub(total)).unwrap_or(usize::MAX);
        let piece = left.clamp(4096, PIECE);
        will(piece as u64)?;
        match rustix::fs::copy_file_range(from, None, to, None, piece) {
            Ok(0) => break,
            Ok(count) => total += count as u64,
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Not between these file systems, or not on this kernel.
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM)
                if total == 0 =>
            {
                return read_and_write(from, to, will);
            }
            Err(other) => return Err(other.into()),
        }
    }
    // Files of some special file systems give nothing to copy_file_range.
    if total == 0 { read_and_write(from, to, will) } else { Ok(()) }
}

fn read_and_write(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    will: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        signal::check()?;
        let count = match rustix::io::read(from, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(other) => return Err(other.into()),
        };
        will(count as u64)?;
        write_all(to, buffer.get(..count).unwrap_or_default())?;
    }
}
