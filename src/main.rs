//! The program: hands the words to `cli` and gives back its exit code, the only exit.
//!
//! Links to it work under any name (`docker` is the one that people make). Rust's start-up code
//! has SIGPIPE ignored, so that a closed pipe is an error value and never kills lath between two
//! writes to the store; whoever starts a program in a container resets it for that.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let is_init = words.next().is_some_and(|name| name == lath::container::init::PATH);
    let code = if is_init { lath::container::init::main(words) } else { lath::cli::main(words) };
    // The kernel keeps eight bits.
    ExitCode::from((code & 0xff) as u8)
}
