//! In the place of `push` in a lath without the feature `net`.

use crate::error::{Error, Result};
use crate::event::Listener;
use crate::session::Session;

/// Says that nothing is pushed.
pub fn push(_: &Session, _: &str, _: bool, _: &mut dyn Listener) -> Result<()> {
    Err(Error::built_without("net"))
}
