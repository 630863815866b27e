//! The format's number, and whether the layers have marks by name. A store of a newer lath is refused, an older one is read.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys::fs::{read_small, write_new};

const FORMAT: u32 = 1;

/// Behind the number, when layers say by name what is gone.
const NAMES: &str = "names";

/// Whether the layers of a store have marks by name; nothing when it is not laid out. Another
/// format than this program knows is an error.
pub fn check(root: BorrowedFd<'_>, path: &Path) -> Result<Option<bool>> {
    let Some(text) = read_small(root, "VERSION", 64)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let mut words = text.split_whitespace().skip(1);
    let number = words.next().and_then(|word| word.parse::<u32>().ok());
    match number {
        Some(FORMAT) => Ok(Some(words.next() == Some(NAMES))),
        Some(newer) => Err(Error::unsupported(format!(
            "the store {path:?} has format {newer}, this lath knows {FORMAT}"
        ))
        .hint("use the lath that made it, or another place with --root")),
        None => Err(Error::corrupt(format!("the VERSION of the store {path:?} is not readable"))
            .hint(format!("if it is a store of lath, write \"lath {FORMAT}\" into it"))),
    }
}

/// Says that the store is complete.
pub fn write(root: BorrowedFd<'_>, marks_by_name: bool) -> Result<()> {
    // Written aside and renamed, so that it is never there and empty.
    let name = format!("tmp/VERSION.{}", std::process::id());
    let names = if marks_by_name { NAMES } else { "" };
    let text = format!("lath {FORMAT} {names}");
    let file = write_new(root, &name, format!("{}\n", text.trim_end()).as_bytes())?;
    rustix::fs::fsync(&file)?;
    rustix::fs::renameat(root, &name, root, "VERSION")?;
    Ok(rustix::fs::fsync(root)?)
}
