//! What several steps of a build need, and one of them brings for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::map::Map;

type Slot<V> = Arc<Mutex<Option<V>>>;

/// Things by their keys, each made once; who comes meanwhile waits for it.
pub struct Once<V>(Mutex<Map<String, Slot<V>>>);

impl<V> Default for Once<V> {
    fn default() -> Self {
        Once(Mutex::default())
    }
}

impl<V: Clone> Once<V> {
    /// What has this key, or is made now. When that fails, the next who asks tries it again.
    pub fn get(&self, key: String, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let slot = {
            let mut slots = lock(&self.0);
            match slots.get(&key) {
                Some(slot) => slot.clone(),
                None => {
                    let slot = Slot::default();
                    slots.insert(key, slot.clone());
                    slot
                }
            }
        };
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
