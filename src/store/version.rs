//! The format's number, and whether the layers have marks by name. A store of a newer lath is refused, an older one is read.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::seal;
use crate::error::{Error, Result};
use crate::sys::fs::{read_small, write_new};

const FORMAT: u32 = 1;

/// Behind the number, when layers say by name what is gone.
const NAMES: &str = "names";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// The number, and whether the layers have marks by name.
    Format(u32, bool),
    Damage,
}

/// `lath N`, perhaps `names`, and the checksum of that line; older ones have none.
fn parse(text: &str) -> Says {
    let (first, sum) = text.split_at(text.find('\n').map_or(text.len(), |at| at + 1));
    let mut words = first.split_whitespace();
    let number = match words.next() {
        Some("lath") => words.next().and_then(|word| word.parse().ok()),
        _ => None,
    };
    match number {
        Some(number) if sum.is_empty() || sum == seal::line(first) => {
            Says::Format(number, words.next() == Some(NAMES))
        }
        _ => Says::Damage,
    }
}

pub(super) fn text(marks_by_name: bool) -> String {
    let names = if marks_by_name { " names" } else { "" };
    let first = format!("lath {FORMAT}{names}\n");
    let sum = seal::line(&first);
    first + &sum
}

/// What there is.
pub enum Found {
    /// No store yet.
    Nothing,
    /// A store, and whether its layers have marks by name.
    Store(bool),
    /// A store whose file with the format is damaged.
    Damaged,
}

/// Looks for a store. Another format than this program knows is an error.
pub fn check(root: BorrowedFd<'_>, path: &Path) -> Result<Found> {
    let Some(text) = read_small(root, "VERSION", 256)? else { return Ok(Found::Nothing) };
    match parse(&String::from_utf8_lossy(&text)) {
        Says::Format(FORMAT, marks_by_name) => Ok(Found::Store(marks_by_name)),
        Says::Format(newer, _) => Err(Error::unsupported(format!(
            "the store {path:?} has format {newer}, this lath knows {FORMAT}"
        ))
        .hint("use the lath that made it, or another place with --root")),
        // One damaged file is in the way of nobody, where all the rest says that it is a store.
        Says::Damage if super::is_dir(root, "layers") && super::is_dir(root, "chains") => {
            Ok(Found::Damaged)
        }
        Says::Damage => {
            Err(Error::corrupt(format!("the VERSION of the store {path:?} is not readable"))
                .hint(format!("if it is a store of lath, write \"lath {FORMAT}\" into it")))
        }
    }
}

/// Says that the store is complete.
pub fn write(root: BorrowedFd<'_>, marks_by_name: bool) -> Result<()> {
    // Written aside and renamed, so that it is never there and empty.
    let name = format!("tmp/VERSION.{}", std::process::id());
    let file = write_new(root, &name, text(marks_by_name).as_bytes())?;
    rustix::fs::fsync(&file)?;
    rustix::fs::renameat(root, &name, root, "VERSION")?;
    Ok(rustix::fs::fsync(root)?)
}

#[cfg(feature = "fsck")]
impl super::Store {
    /// Whether the file with the format is as it was written.
    pub(super) fn has_whole_version(&self) -> Result<bool> {
        let text = read_small(self.fd(), "VERSION", 256)?.unwrap_or_default();
        Ok(parse(&String::from_utf8_lossy(&text)) == Says::Format(FORMAT, self.marks_by_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_told_from_damage() {
        assert_eq!(parse("lath 1\n"), Says::Format(1, false));
        assert_eq!(parse("lath 1 names\n"), Says::Format(1, true));
        assert_eq!(parse("lath 2\n"), Says::Format(2, false));
        for names in [false, true] {
            let text = text(names);
            assert_eq!(parse(&text), Says::Format(FORMAT, names));
            assert_eq!(parse(&text.replace("lath 1", "lath 3")), Says::Damage);
            for end in 0..6 {
                assert_eq!(parse(text.get(..end).unwrap()), Says::Damage, "{end}");
            }
            let half = text.find('\n').unwrap() + 2;
            assert_eq!(parse(text.get(..half).unwrap()), Says::Damage);
        }
    }
}
