//! No names for threads: std gives each new thread a name with `pthread_setname_np`, and musl's
//! needs the whole of `printf` for it. 8 KB.
//!
//! Source: pthread_setname_np(3).

use std::os::raw::{c_char, c_int, c_ulong};

/// Leaves the name as it is.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_: c_ulong, _: *const c_char) -> c_int {
    0
}
