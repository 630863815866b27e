//! The format's number. A store of a newer lath is refused, an older one is read.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys::fs::{read_small, write_new};

const FORMAT: u32 = 1;

/// Whether the store is laid out in a format that this program knows.
pub fn check(root: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    let Some(text) = read_small(root, "VERSION", 64)? else { return Ok(false) };
    let text = String::from_utf8_lossy(&text);
    let number = text.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok());
    match number {
        Some(FORMAT) => Ok(true),
        Some(newer) => Err(Error::unsupported(format!(
            "the store {path:?} has format {newer}, this lath knows {FORMAT}"
        ))
        .hint("use the lath that made it, or another place with --root")),
        None => Err(Error::corrupt(format!("the VERSION of the store {path:?} is not readable"))
            .hint(format!("if it is a store of lath, write \"lath {FORMAT}\" into it"))),
    }
}

/// Says that the store is complete.
pub fn write(root: BorrowedFd<'_>) -> Result<()> {
    // Written aside and renamed, so that it is never there and empty.
    let name = format!("tmp/VERSION.{}", std::process::id());
    let file = write_new(root, &name, format!("lath {FORMAT}\n").as_bytes())?;
    rustix::fs::fsync(&file)?;
    rustix::fs::renameat(root, &name, root, "VERSION")?;
    Ok(rustix::fs::fsync(root)?)
}
