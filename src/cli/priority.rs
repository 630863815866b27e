//! `--priority` of `build` and `pull`: whether long work gives way to the rest of the device, so that
//! a watchdog is fed in time.

use crate::error::{Error, Result};
use crate::sys::{kernel, priority};

/// Takes the priority that the word says: `low` or `normal`. Without a word it is low where there is
/// one processor.
pub fn take(word: Option<&str>) -> Result<()> {
    let is_low = match word {
        Some("low") => true,
        Some("normal") => false,
        Some(other) => {
            return Err(Error::usage(format!("--priority {other:?}: write low or normal")));
        }
        None => kernel::processors() == 1,
    };
    if is_low {
        priority::step_back();
    }
    Ok(())
}
