//! System calls that rustix lacks or that lath always makes in the same way.
//!
//! The only room with `unsafe`; each use has its reason beside it, and each function names its
//! man page.

pub mod fs;
