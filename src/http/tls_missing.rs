//! In the place of `tls` in a lath without it: https is refused.

use super::Trust;
use super::connection::Stream;
use crate::error::{Error, Result};

/// There is none.
#[derive(Debug)]
pub(super) enum Tls {}

impl Tls {
    /// An error that says so.
    pub fn new(_: &Trust) -> Result<Tls> {
        Err(Error::unsupported("this lath was built without TLS, so it cannot ask https servers")
            .hint("build it with the feature tls, or use http"))
    }

    /// Not called.
    pub fn wrap(&self, _: Box<dyn Stream>, _: &str) -> Result<Box<dyn Stream>> {
        match *self {}
    }
}
