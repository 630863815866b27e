//! The way into the program, in place of Rust's own, which brings a handler for overflows of the stack
//! and a map of all threads for it. 12 KB.
//!
//! What that does besides is done here: streams that are closed lead nowhere instead of into the next
//! file that is opened, and a closed pipe is an error value (SIGPIPE is ignored), so that it never kills
//! lath between two writes to the store; whoever starts a program resets it for that.

use std::ffi::{CStr, OsString};
use std::os::raw::{c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// Declares the function where the program begins: it gets all words and gives the exit code, of which
/// the kernel keeps eight bits.
#[macro_export]
macro_rules! entry {
    ($function:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: std::os::raw::c_int,
            words: *const *const std::os::raw::c_char,
        ) -> std::os::raw::c_int {
            // SAFETY: the C library calls this once, with the words of execve(2).
            unsafe { $crate::sys::start::begin(count, words, $function) }
        }
    };
}

/// Makes the process ready and does its work.
///
/// # Safety
///
/// `words` points to `count` strings that nobody changes, and no other thread runs yet.
pub unsafe fn begin(
    count: c_int,
    words: *const *const c_char,
    work: fn(std::vec::IntoIter<OsString>) -> i32,
) -> c_int {
    for stream in 0..=2 {
        // SAFETY: numbers, and paths that are constants. The lowest number that is free is taken, so
        // that each closed stream gets its own. Early at boot there may be no /dev: then it is one that
        // can be neither read nor written, as a closed one.
        unsafe {
            if libc::fcntl(stream, libc::F_GETFD) == -1
                && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == -1
            {
                libc::open(c"/".as_ptr(), libc::O_PATH);
            }
        }
    }
    // SAFETY: no other thread runs, and an ignored signal calls nothing.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let all = (0..usize::try_from(count).unwrap_or(0)).map(|at| {
        // SAFETY: the caller says that there are so many, each a string with a NUL at its end.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        OsString::from_vec(word.to_bytes().to_vec())
    });
    work(all.collect::<Vec<_>>().into_iter()) & 0xff
}
