//! Messages for one thread, and promises of what comes of them. std's channels do more and are
//! larger: 8 KB.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Result;

/// Messages in the order in which they came.
pub struct Queue<T> {
    state: Mutex<(VecDeque<T>, bool)>,
    changed: Condvar,
}

/// What comes out of a queue.
pub enum Next<T> {
    /// A message.
    Message(T),
    /// None came for as long as was to be waited.
    Nothing,
    /// There are no more and will be none.
    Closed,
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new() -> Queue<T> {
        Queue { state: Mutex::default(), changed: Condvar::new() }
    }

    /// Puts a message at the end.
    pub fn push(&self, message: T) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.push_back(message);
        self.changed.notify_one();
    }

    /// Says that there will be no more.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_one();
    }

    /// Takes the next message; waits for it, for ever or for a while.
    pub fn next(&self, patience: Option<Duration>) -> Next<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_over = false;
        loop {
            if let Some(message) = state.0.pop_front() {
                return Next::Message(message);
            }
            if state.1 {
                return Next::Closed;
            }
            if is_over {
                return Next::Nothing;
            }
            state = match patience {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(state, patience);
                    // Woken for nothing it is over early, which is no harm.
                    is_over = true;
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A result that somebody will know.
pub struct Promise<T>(Arc<(Mutex<Option<Result<T>>>, Condvar)>);

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Promise<T> {
        Promise(self.0.clone())
    }
}

impl<T: Clone> Promise<T> {
    /// One that nobody knows yet.
    pub fn open() -> Promise<T> {
        Promise(Arc::new((Mutex::new(None), Condvar::new())))
    }

    /// Makes the result known.
    pub fn settle(&self, result: Result<T>) {
        let (cell, changed) = &*self.0;
        *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        changed.notify_all();
    }

    /// Waits until it is known.
    pub fn wait(&self) -> Result<T> {
        let (cell, changed) = &*self.0;
        let mut result = cell.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*result {
                Some(result) => return result.clone(),
                None => result = changed.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
