//! Values that are made when they are first wanted, each by one thread while others who want it wait.

use hashbrown::HashMap;
use parking_lot::Mutex;
use quiver_base::Result;
use std::hash::Hash;
use std::sync::Arc;

/// A map whose values make themselves. A failure is not kept: the next who asks tries again.
#[derive(Debug)]
pub(super) struct Lazy<K, V> {
    slots: Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>,
}

impl<K, V> Default for Lazy<K, V> {
    fn default() -> Self {
        Lazy { slots: Mutex::default() }
    }
}

impl<K: Eq + Hash, V: Clone> Lazy<K, V> {
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let slot = self.slots.lock().entry(key).or_default().clone();
        let mut value = slot.lock();
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = make()?;
        Ok(value.insert(made).clone())
    }

    /// Lets go of values whose keys are not wanted any more.
    pub(super) fn retain(&self, mut keep: impl FnMut(&K) -> bool) {
        self.slots.lock().retain(|key, _| keep(key));
    }
}
