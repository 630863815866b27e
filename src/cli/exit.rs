//! Exit codes. docker's, so that scripts need no change.
//!
//! Commands answer 0, 1 (failed) or 2 (the command line is wrong); commands that end with a
//! program's own code (`run`, `exec`) keep 125 to 127 for what happened before the program ran.

use crate::error::{Error, Kind};

/// All went well.
pub const SUCCESS: i32 = 0;
/// It did what it should, and what it has found is not good.
pub const FAILED: i32 = 1;
/// The program never started, and it is not the program's fault.
pub const NOT_STARTED: i32 = 125;
/// The program exists and cannot be executed.
pub const NOT_EXECUTABLE: i32 = 126;
/// The program does not exist.
pub const NOT_FOUND: i32 = 127;

/// The exit code for a process that a signal ended.
pub fn by_signal(signal: i32) -> i32 {
    128_i32.saturating_add(signal)
}

/// The exit code for an error. `runs_program`: the command's code is otherwise that of a program,
/// so 1 and 2 would be mistaken for the program's.
pub fn of_error(error: &Error, runs_program: bool) -> i32 {
    match error.kind() {
        Kind::Interrupted(_) => error.exit_code(),
        _ if runs_program => NOT_STARTED,
        _ => error.exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_and_exec_keep_the_codes_of_their_program_apart() {
        let usage = Error::usage("x");
        let interrupted = Error::new(Kind::Interrupted(15), "x");
        assert_eq!((of_error(&usage, false), of_error(&usage, true)), (2, 125));
        assert_eq!((of_error(&interrupted, false), of_error(&interrupted, true)), (143, 143));
        assert_eq!(of_error(&Error::input("x"), false), 1);
        assert_eq!(by_signal(9), 137);
    }
}
