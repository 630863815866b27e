//! What several steps of a build need, and one of them brings for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

type Slot<V> = Arc<Mutex<Option<V>>>;

/// Things by their keys, each made once; who comes meanwhile waits for it.
pub struct Once<V>(Mutex<BTreeMap<String, Slot<V>>>);

impl<V> Default for Once<V> {
    fn default() -> Self {
        Once(Mutex::default())
    }
}

impl<V: Clone> Once<V> {
    /// What has this key, or is made now. When that fails, the next who asks tries it again.
    pub fn get(&self, key: String, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let slot = lock(&self.0).entry(key).or_default().clone();
        let mut slot = lock(&slot);
        if let Some(made) = &*slot {
            return Ok(made.clone());
        }
        let made = make()?;
        *slot = Some(made.clone());
        Ok(made)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
