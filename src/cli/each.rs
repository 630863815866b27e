//! Commands that do one thing with each of several containers: what fails stops none of the others.

use std::io::Write as _;

use super::{Globals, Output, arguments, exit, report};
use crate::container::control::find;
use crate::container::{Container, Side, detach};
use crate::error::{Error, Kind, Result};

/// Does it with each and prints the word by which it was named.
pub fn run(
    command: &str,
    words: &[String],
    globals: &Globals,
    out: &mut Output,
    each: &mut dyn FnMut(&Container) -> Result<()>,
) -> Result<i32> {
    let session = globals.open()?;
    all(command, words, false, out, &mut |word| {
        each(&find(&session, word)?)?;
        Ok(Some(word.to_owned()))
    })
}

/// Starts each in the background, after `before`. One that runs already is as it should be.
pub fn start(
    command: &str,
    words: &[String],
    globals: &Globals,
    out: &mut Output,
    before: &mut dyn FnMut(&Container) -> Result<()>,
) -> Result<i32> {
    let session = globals.open()?;
    let mut is_keeper = false;
    let code = all(command, words, false, out, &mut |word| {
        if is_keeper {
            return Ok(None);
        }
        let container = find(&session, word)?;
        before(&container)?;
        if container.is_kept()? {
            return Ok(Some(word.to_owned()));
        }
        container.hold()?;
        match detach(&session, &container)? {
            Side::Caller => Ok(Some(word.to_owned())),
            Side::Keeper => {
                is_keeper = true;
                Ok(None)
            }
        }
    })?;
    Ok(if is_keeper { exit::SUCCESS } else { code })
}

/// Does it with each word, and prints what comes back. One that is not there is told, and is no failure
/// when it is forgiven.
pub fn all(
    command: &str,
    words: &[String],
    is_forgiven: bool,
    out: &mut Output,
    each: &mut dyn FnMut(&str) -> Result<Option<String>>,
) -> Result<i32> {
    arguments::at_least(command, words, 1)?;
    let mut code = exit::SUCCESS;
    for word in words {
        match each(word) {
            Ok(said) => {
                if let Some(said) = said {
                    writeln!(out, "{said}")?;
                }
                // Before the next one, which may take long.
                out.flush()?;
            }
            Err(error) if matches!(error.kind(), Kind::Interrupted(_)) => return Err(error),
            Err(error) => {
                if !(is_forgiven && error.kind() == Kind::NotFound) {
                    code = failed(&error);
                }
                let _ = report::error(&mut std::io::stderr(), &error);
            }
        }
    }
    Ok(code)
}

fn failed(error: &Error) -> i32 {
    exit::of_error(error, false)
}
