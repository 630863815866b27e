//! Connections that are open and wait for the next request (RFC 9112, 9.3).

use std::sync::{Mutex, PoisonError};

use super::connection::Input;

/// More are not kept: a client asks few servers, and each by few connections at once.
const MOST: usize = 8;

/// Open connections, each with the place that it leads to.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(String, Input)>>);

impl Idle {
    /// Keeps one that has given all of its answer.
    pub fn put(&self, place: String, input: Input) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push((place, input));
    }

    /// The one that was used last of those that lead there, if it is open still and silent.
    pub fn take(&self, place: &str) -> Option<Input> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let at = kept.iter().rposition(|(known, _)| known == place)?;
            let (_, mut input) = kept.remove(at);
            // Who speaks without having been asked is not to be believed later.
            if input.buffer().is_empty() && input.get_mut().wire().is_silent() {
                return Some(input);
            }
        }
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}
