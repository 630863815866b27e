//! Which files of a context are not what they were: for `--explain`, by a cache as it was before
//! the build.

use rustix::fs::Stat;

use super::{Reader, StatCache, stamp};

/// How many files are named.
const NAMED: usize = 3;

/// The first files that have changed, and how many there are.
pub struct Changes<'a> {
    before: Reader<'a>,
    names: Vec<String>,
    count: usize,
}

impl<'a> Changes<'a> {
    /// None yet. `None` where nothing is known of before.
    pub fn new(cache: &'a StatCache) -> Option<Changes<'a>> {
        let file = cache.first.get()?.as_ref()?;
        let before = cache.reader_of(file.try_clone().ok());
        Some(Changes { before, names: Vec::new(), count: 0 })
    }

    /// Looks at a file, which has this content.
    pub fn look(&mut self, path: &[u8], stat: &Stat, digest: &[u8; 32]) {
        let stamp = stamp(stat);
        let is_other = self.before.at(path).is_none_or(|old| !old.is_of(&stamp, digest));
        if is_other {
            self.count += 1;
            if self.names.len() < NAMED {
                self.names.push(String::from_utf8_lossy(path).escape_debug().to_string());
            }
        }
    }

    /// The files in words; nothing when there are none.
    pub fn told(&self) -> Option<String> {
        let names = self.names.join(", ");
        match self.count.checked_sub(self.names.len())? {
            _ if self.count == 0 => None,
            0 => Some(names),
            more => Some(format!("{names} and {more} more")),
        }
    }
}
