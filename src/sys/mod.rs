//! System calls that rustix lacks or that lath always makes in the same way.
//!
//! The only room with `unsafe`; each use has its reason beside it, and each function names its
//! man page. Calls that rustix has safely are made where they are needed.

#![allow(
    unsafe_code,
    reason = "system calls that no safe crate has; each block says why it is sound"
)]

pub mod copy;
pub mod flow;
pub mod fs;
pub mod identity;
pub mod kernel;
pub mod mount;
pub mod network;
pub mod priority;
pub mod process;
#[cfg(any(feature = "containers", feature = "net", feature = "outputs"))]
pub mod program;
pub mod seccomp;
pub mod signal;
pub mod start;
#[cfg(all(target_env = "musl", not(debug_assertions)))]
mod thread_name;
// Tests of a debug build unwind; the released binary aborts. 32-bit ARM has an unwinder of another
// form (EHABI), whose entry points are not all known here.
#[cfg(all(panic = "abort", not(debug_assertions), not(target_arch = "arm")))]
mod unwind;
pub mod usage;
