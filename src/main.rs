//! The program: hands the words to `cli` and gives back its exit code, the only exit.
//!
//! Links to it work under any name (`docker` is the one that people make).

#![cfg_attr(not(test), no_main)]

use std::ffi::OsString;

#[cfg(not(test))]
lath::entry!(run);

/// Does what the words say, of which the first is the program's own name.
pub fn run(mut words: std::vec::IntoIter<OsString>) -> i32 {
    let is_init = words.next().is_some_and(|name| name == lath::container::init::PATH);
    if is_init { lath::container::init::main(words) } else { lath::cli::main(words) }
}
