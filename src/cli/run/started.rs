//! The exit codes of what could not be executed, as docker has them.

use crate::cli::{exit, report};
use crate::error::{Error, Kind, Result};

/// What could not be executed has docker's exit codes.
pub fn started(ended: Result<i32>) -> Result<i32> {
    match ended {
        Ok(code) => Ok(code),
        Err(error) => match not_executed(&error) {
            Some(code) => {
                // With standard error gone, the exit code is all that can still be told.
                let _ = report::error(&mut std::io::stderr(), &error);
                Ok(code)
            }
            None => Err(error),
        },
    }
}

/// docker's exit code when the program could not be executed; nothing for other errors.
fn not_executed(error: &Error) -> Option<i32> {
    match (error.text().starts_with("exec:"), error.kind()) {
        (true, Kind::NotFound) => Some(exit::NOT_FOUND),
        (true, Kind::Denied) => Some(exit::NOT_EXECUTABLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_be_executed_have_dockers_codes() {
        for (kind, text, code) in [
            (Kind::NotFound, "exec: \"x\": executable file not found in $PATH", Some(127)),
            (Kind::Denied, "exec: \"/x\": permission denied", Some(126)),
            (Kind::NotFound, "No such image: x", None),
            (Kind::Denied, "mount: Operation not permitted", None),
        ] {
            assert_eq!(not_executed(&Error::new(kind, text)), code, "{text}");
        }
    }
}
