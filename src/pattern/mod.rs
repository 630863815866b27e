//! Patterns of file names: COPY's globs and the rules of `.dockerignore`.
//!
//! Pure: nothing here touches a file system. A walker asks about the names that it meets. Names are
//! bytes, since file systems hold any; patterns are text.

mod dockerignore;
mod glob;

pub use dockerignore::{Ignore, Verdict};
pub use glob::{Glob, Part, has_wildcards, matches};
