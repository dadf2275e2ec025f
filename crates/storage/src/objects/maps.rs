//! Which objects are mapped, which are in the cache folder, and which may leave it. Knows names and sizes; touches no file.

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use quiver_index::Mapped;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// A mapped object. While it lives, the cache keeps the file.
pub struct ObjectMap {
    mapped: Mapped,
}

impl ObjectMap {
    /// Bytes that keep it alive.
    pub fn bytes(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Owner(self.clone()))
    }

    /// The bytes, to hand on. Keep the `ObjectMap` as long as these are used.
    pub fn mapped(&self) -> Mapped {
        self.mapped.clone()
    }
}

impl Deref for ObjectMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.mapped
    }
}

struct Owner(Arc<ObjectMap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ObjectMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectMap({} bytes)", self.mapped.len())
    }
}

#[derive(Debug, Default)]
struct Entry {
    map: Weak<ObjectMap>,
    /// Checked against its checksum by this process.
    verified: bool,
    /// In the cache folder, with this many bytes.
    cached_bytes: Option<u64>,
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, Entry>,
    cached_bytes: u64,
    clock: u64,
}

#[derive(Debug)]
pub(super) struct MapTable {
    state: Mutex<State>,
    in_flight: Mutex<HashSet<String>>,
    landed: Condvar,
    cached_bytes_max: u64,
}

impl MapTable {
    pub(super) fn new(cached_bytes_max: u64) -> MapTable {
        MapTable {
            state: Mutex::default(),
            in_flight: Mutex::default(),
            landed: Condvar::new(),
            cached_bytes_max,
        }
    }

    /// Lets one thread at a time fetch or check an object.
    pub(super) fn enter(&self, path: &str) -> Flight<'_> {
        let mut in_flight = self.in_flight.lock();
        while !in_flight.insert(path.to_owned()) {
            self.landed.wait(&mut in_flight);
        }
        Flight { table: self, path: path.to_owned() }
    }

    /// The object's mapping, if somebody holds one.
    pub(super) fn live(&self, path: &str) -> Option<Arc<ObjectMap>> {
        let mut state = self.state.lock();
        let clock = state.tick();
        let entry = state.entries.get_mut(path)?;
        entry.used = clock;
        entry.map.upgrade()
    }

    pub(super) fn add_live(&self, path: &str, mapped: Mapped) -> Arc<ObjectMap> {
        let map = Arc::new(ObjectMap { mapped });
        let mut state = self.state.lock();
        let clock = state.tick();
        let entry = state.entries.entry(path.to_owned()).or_default();
        (entry.map, entry.used) = (Arc::downgrade(&map), clock);
        map
    }

    pub(super) fn is_verified(&self, path: &str) -> bool {
        self.state.lock().entries.get(path).is_some_and(|entry| entry.verified)
    }

    pub(super) fn set_verified(&self, path: &str) {
        self.state.lock().entries.entry(path.to_owned()).or_default().verified = true;
    }

    pub(super) fn is_cached(&self, path: &str) -> bool {
        self.state.lock().entries.get(path).is_some_and(|entry| entry.cached_bytes.is_some())
    }

    pub(super) fn add_cached(&self, path: &str, bytes: u64) {
        let mut state = self.state.lock();
        let clock = state.tick();
        let entry = state.entries.entry(path.to_owned()).or_default();
        entry.used = clock;
        let before = entry.cached_bytes.replace(bytes).unwrap_or(0);
        state.cached_bytes = state.cached_bytes - before + bytes;
    }

    pub(super) fn forget(&self, path: &str) {
        let mut state = self.state.lock();
        let bytes = state.entries.remove(path).and_then(|entry| entry.cached_bytes).unwrap_or(0);
        state.cached_bytes -= bytes;
    }

    /// Chooses what must leave the cache so that `bytes` more fit: what was used longest ago and is not mapped. The cache
    /// passes its bound when all of it is in use.
    pub(super) fn make_room(&self, bytes: u64) -> Vec<String> {
        let state = self.state.lock();
        let mut over = (state.cached_bytes.saturating_add(bytes)).saturating_sub(self.cached_bytes_max);
        if over == 0 {
            return Vec::new();
        }
        let mut idle: Vec<_> = state
            .entries
            .iter()
            .filter(|(_, entry)| entry.cached_bytes.is_some() && entry.map.strong_count() == 0)
            .collect();
        idle.sort_by_key(|(_, entry)| entry.used);
        let mut chosen = Vec::new();
        for (path, entry) in idle {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(entry.cached_bytes.unwrap_or(0));
            chosen.push(path.clone());
        }
        chosen
    }

    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> u64 {
        self.state.lock().cached_bytes
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// The right to fetch one object, until dropped.
pub(super) struct Flight<'a> {
    table: &'a MapTable,
    path: String,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.table.in_flight.lock().remove(&self.path);
        self.table.landed.notify_all();
    }
}
