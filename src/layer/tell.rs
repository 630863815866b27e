//! A whole tree, entry by entry, for the formats that are no tar: the order, the clamped times and
//! what counts as one file are those of its tar.

use std::fs::File;
use std::io::Read as _;

use crate::error::{Context, Error, Result};
use crate::layer::entry::{Entry, show};
use crate::layer::links::Links;
use crate::layer::pack::{View, describe};
use crate::layer::walk::{Visit, Walk};
use crate::sys::signal;

const BUFFER: usize = 64 << 10;

/// An entry and what a tar would say with a hard link.
pub struct Told {
    /// What it is; of a file with several names the same each time.
    pub entry: Entry,
    /// The open file, of a regular one.
    pub content: Option<File>,
    /// Which file it is, from 1 on: names of one file share it.
    pub number: u64,
    /// Whether it is one more name of a file that has been told.
    pub is_again: bool,
    /// Whether there may be more names.
    pub has_names: bool,
}

/// Tells all that a view shows, each directory before what is in it, and nothing (`None`) when a
/// directory is left. The root itself is not told.
pub fn tell(view: &View<'_>, each: &mut dyn FnMut(Option<Told>) -> Result<()>) -> Result<()> {
    let mut links = Links::new(view.spill);
    let mut walk = Walk::new(view.root, None)?;
    let mut last = 0_u64;
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        let Visit::Enter(found) = visit else {
            each(None)?;
            continue;
        };
        let mut put = || {
            let Some((entry, content)) = describe(None, &found, view.newest)? else {
                return Ok(());
            };
            // What is remembered of a file's first name is its number.
            let next = last + 1;
            let first = match found.directory {
                Some(_) => None,
                None => links.first(&found.stat, &next.to_le_bytes())?,
            };
            let first = first.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
            let number = first.unwrap_or(next);
            last = last.max(number);
            let has_names = found.directory.is_none() && found.stat.st_nlink > 1;
            each(Some(Told { entry, content, number, is_again: first.is_some(), has_names }))
        };
        put().context(|| show(found.path))?;
    }
    Ok(())
}

/// Calls `each` with all pieces of a file, which must have `size` bytes. All but the last are of
/// 64 kB.
pub fn pieces(
    content: &mut File,
    size: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut left = size;
    while left > 0 {
        signal::check()?;
        let length = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
        let piece = buffer.get_mut(..length).unwrap_or_default();
        content.read_exact(piece).context(|| "the file became shorter while it was read")?;
        each(piece)?;
        left -= length as u64;
    }
    match content.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::input("the file became longer while it was read")),
        Err(error) => Err(error.into()),
    }
}
