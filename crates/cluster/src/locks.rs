//! Locks of the leader, in memory: tables, names, keys, rows. FIFO queues, deadlocks found as soon as they close, all freed when
//! their owner's [`LockSet`] goes. Knows nothing of what the resources are.

use crate::advisory::AdvisoryKey;
use parking_lot::Mutex;
use quiver_base::{DatabaseId, Error, IndexId, Result, RowId, ShardId, SqlState, TableId};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// What is locked. Keys and names go by hash: a collision costs a wait, never a wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Resource {
    Table(DatabaseId, TableId),
    Name(u32, u64),
    Key(IndexId, u64),
    Row(ShardId, RowId),
    Advisory(AdvisoryKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

/// Who holds locks: a set of a session. A session that waits with one set waits with all of them, which is what deadlocks are made
/// of; sets of no session have one of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Owner {
    session: u64,
    set: u64,
}

/// Sessions above this are made up for sets without one.
const NO_SESSION: u64 = 1 << 63;

#[derive(Debug)]
struct Waiter {
    owner: Owner,
    mode: Mode,
    granted: oneshot::Sender<()>,
}

/// A held lock. Most have one holder and no queue, and there may be a million of them.
#[derive(Debug)]
struct Slot {
    mode: Mode,
    holder: Owner,
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    /// Holders besides the first.
    holders: Vec<Owner>,
    queue: VecDeque<Waiter>,
}

impl Slot {
    fn holders(&self) -> impl Iterator<Item = Owner> + '_ {
        let others = self.more.iter().flat_map(|more| more.holders.iter().copied());
        std::iter::once(self.holder).chain(others)
    }

    fn is_held_only_by(&self, owner: Owner) -> bool {
        self.holders().all(|holder| holder == owner)
    }

    fn queue(&self) -> impl Iterator<Item = &Waiter> {
        self.more.iter().flat_map(|more| more.queue.iter())
    }

    fn first_waiting(&self) -> Option<(Owner, Mode)> {
        self.queue().next().map(|waiter| (waiter.owner, waiter.mode))
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Resource, Slot>,
    waiting: BTreeMap<Owner, Resource>,
}

enum Attempt {
    /// Taken now.
    New,
    /// Was held already.
    Held,
    /// In the queue.
    Queued(oneshot::Receiver<()>),
}

impl State {
    fn acquire(&mut self, owner: Owner, resource: Resource, mode: Mode) -> Attempt {
        let Some(slot) = self.slots.get_mut(&resource) else {
            self.slots.insert(resource, Slot { mode, holder: owner, more: None });
            return Attempt::New;
        };
        let holds = slot.holders().any(|holder| holder == owner);
        if holds && (slot.mode == Mode::Exclusive || mode == Mode::Shared) {
            return Attempt::Held;
        }
        if holds && slot.is_held_only_by(owner) {
            slot.mode = Mode::Exclusive;
            return Attempt::Held;
        }
        if !mode.conflicts(slot.mode) && slot.queue().next().is_none() {
            slot.more().holders.push(owner);
            return Attempt::New;
        }
        let (granted, receiver) = oneshot::channel();
        let waiter = Waiter { owner, mode, granted };
        // Who holds it already must be next, or it and the queue would wait for each other.
        if holds {
            slot.more().queue.push_front(waiter);
        } else {
            slot.more().queue.push_back(waiter);
        }
        self.waiting.insert(owner, resource);
        Attempt::Queued(receiver)
    }

    /// Takes an owner out of a resource's holders and queue, and lets in who can come next.
    fn release(&mut self, owner: Owner, resource: Resource) {
        self.leave_queue(owner, resource);
        let Some(slot) = self.slots.get_mut(&resource) else { return };
        if let Some(more) = &mut slot.more {
            more.holders.retain(|holder| *holder != owner);
        }
        if slot.holder == owner {
            match slot.more.as_mut().and_then(|more| more.holders.pop()) {
                Some(other) => slot.holder = other,
                None => return self.hand_over(resource),
            }
        }
        self.admit(resource);
    }

    /// Nobody holds it: to the first in the queue, or away with it.
    fn hand_over(&mut self, resource: Resource) {
        let Some(slot) = self.slots.get_mut(&resource) else { return };
        let Some(waiter) = slot.more.as_mut().and_then(|more| more.queue.pop_front()) else {
            self.slots.remove(&resource);
            return;
        };
        slot.holder = waiter.owner;
        slot.mode = waiter.mode;
        self.waiting.remove(&waiter.owner);
        // A waiter that gave up releases what it was given when its lock set goes.
        let _ = waiter.granted.send(());
        self.admit(resource);
    }

    /// Lets in from the front of the queue who does not conflict with the holders.
    fn admit(&mut self, resource: Resource) {
        let Some(slot) = self.slots.get_mut(&resource) else { return };
        while let Some((owner, mode)) = slot.first_waiting() {
            if slot.is_held_only_by(owner) {
                slot.mode = Mode::Exclusive;
            } else if mode.conflicts(slot.mode) {
                return;
            } else {
                slot.more().holders.push(owner);
            }
            self.waiting.remove(&owner);
            if let Some(waiter) = slot.more().queue.pop_front() {
                let _ = waiter.granted.send(());
            }
        }
    }

    fn leave_queue(&mut self, owner: Owner, resource: Resource) {
        if self.waiting.get(&owner) != Some(&resource) {
            return;
        }
        self.waiting.remove(&owner);
        if let Some(more) = self.slots.get_mut(&resource).and_then(|slot| slot.more.as_mut()) {
            more.queue.retain(|waiter| waiter.owner != owner);
            self.admit(resource);
        }
    }

    /// What a session waits for.
    fn waits_of(&self, session: u64) -> impl Iterator<Item = (Owner, Resource)> + '_ {
        let sets = Owner { session, set: 0 }..=Owner { session, set: u64::MAX };
        self.waiting.range(sets).map(|(owner, resource)| (*owner, *resource))
    }

    /// Whom a session waits for: holders and those before it in the queue, as far as they conflict.
    fn blockers(&self, session: u64) -> Vec<u64> {
        let mut blockers = Vec::new();
        for (owner, resource) in self.waits_of(session) {
            let Some(slot) = self.slots.get(&resource) else { continue };
            let waiter = slot.queue().find(|waiter| waiter.owner == owner);
            let Some(mode) = waiter.map(|waiter| waiter.mode) else { continue };
            let holders = slot.holders().filter(|_| mode.conflicts(slot.mode));
            let ahead = slot.queue().take_while(|waiter| waiter.owner != owner);
            let ahead = ahead.filter(|waiter| mode.conflicts(waiter.mode)).map(|waiter| waiter.owner);
            blockers
                .extend(holders.chain(ahead).map(|other| other.session).filter(|other| *other != session));
        }
        blockers
    }

    /// The sessions of a cycle of waits through `start`, in order, if there is one.
    fn cycle(&self, start: u64) -> Option<Vec<u64>> {
        let mut seen = HashSet::new();
        let mut path = vec![(start, self.blockers(start))];
        while let Some((_, blockers)) = path.last_mut() {
            match blockers.pop() {
                Some(next) if next == start => {
                    return Some(path.into_iter().map(|(session, _)| session).collect());
                }
                Some(next) if seen.insert(next) => path.push((next, self.blockers(next))),
                Some(_) => {}
                None => {
                    path.pop();
                }
            }
        }
        None
    }

    fn deadlock(&self, cycle: &[u64]) -> Error {
        let line = |(at, session): (usize, &u64)| {
            let blocker = cycle[(at + 1) % cycle.len()];
            let what = match self.waits_of(*session).next().map(|(_, resource)| resource) {
                Some(Resource::Table(database, table)) => {
                    format!("AccessExclusiveLock on relation {table} of database {database}")
                }
                Some(Resource::Name(schema, _)) => format!("ExclusiveLock on a name of schema {schema}"),
                Some(Resource::Advisory(key)) => format!("ExclusiveLock on advisory lock {key}"),
                _ => format!("ShareLock on transaction {blocker}"),
            };
            format!("Process {session} waits for {what}; blocked by process {blocker}.")
        };
        let detail: Vec<String> = cycle.iter().enumerate().map(line).collect();
        Error::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
            .with_detail(detail.join("\n"))
            .with_hint("See server log for query details.")
    }
}

/// All locks of a node.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    next_set: AtomicU64,
}

impl Locks {
    /// A set of locks of a session; 0: of none.
    pub(crate) fn new_set(self: &Arc<Self>, session: u64) -> LockSet {
        let set = self.next_set.fetch_add(1, Ordering::Relaxed) + 1;
        let session = if session == 0 { NO_SESSION | set } else { session };
        LockSet { locks: self.clone(), owner: Owner { session, set }, held: Vec::new() }
    }

    /// Whom a session waits for: others' sessions.
    pub(crate) fn blockers(&self, session: u64) -> Vec<u64> {
        let mut blockers = self.state.lock().blockers(session);
        blockers.sort_unstable();
        blockers.dedup();
        blockers.retain(|session| session & NO_SESSION == 0);
        blockers
    }

    /// Locks that are held or waited for. Those of keys and rows, of which there may be a million, only if somebody waits.
    pub(crate) fn list(&self) -> Vec<ListedLock> {
        let state = self.state.lock();
        let mut list = Vec::new();
        for (resource, slot) in &state.slots {
            let is_many = matches!(resource, Resource::Key(..) | Resource::Row(..));
            if is_many && slot.first_waiting().is_none() {
                continue;
            }
            let listed = |owner: Owner, mode, granted| ListedLock {
                resource: *resource,
                session: owner.session,
                exclusive: mode == Mode::Exclusive,
                granted,
            };
            list.extend(slot.holders().map(|owner| listed(owner, slot.mode, true)));
            list.extend(slot.queue().map(|waiter| listed(waiter.owner, waiter.mode, false)));
        }
        list.retain(|lock| lock.session & NO_SESSION == 0);
        list
    }

    /// Locked resources, and owners that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.slots.len(), state.waiting.len())
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.slots.is_empty() && state.waiting.is_empty()
    }
}

/// A lock as pg_locks shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListedLock {
    pub(crate) resource: Resource,
    pub(crate) session: u64,
    pub(crate) exclusive: bool,
    pub(crate) granted: bool,
}

/// What one transaction holds. Freed on drop.
#[derive(Debug)]
pub(crate) struct LockSet {
    locks: Arc<Locks>,
    owner: Owner,
    /// May name what is still waited for or was given up: releasing checks.
    held: Vec<Resource>,
}

/// Leaves the queue if the wait ends in any way but by getting the lock.
struct WaitGuard<'a>(&'a Locks, Owner, Resource);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.state.lock().leave_queue(self.1, self.2);
    }
}

impl LockSet {
    /// Takes all of `resources`, one after the other, waiting where others hold them. Returns whether it waited.
    pub(crate) async fn acquire(
        &mut self,
        resources: impl IntoIterator<Item = Resource, IntoIter: Send>,
        mode: Mode,
        timeout: Option<Duration>,
    ) -> Result<bool> {
        let mut resources = resources.into_iter();
        let mut waited = false;
        while self.acquire_some(&mut resources, mode, timeout).await? {
            waited = true;
        }
        Ok(waited)
    }

    /// Takes resources up to and including the first that it has to wait for. Returns whether there was one; if not, it has all.
    pub(crate) async fn acquire_some(
        &mut self,
        resources: &mut (impl Iterator<Item = Resource> + Send),
        mode: Mode,
        timeout: Option<Duration>,
    ) -> Result<bool> {
        let Some((resource, granted)) = self.acquire_free(resources, mode)? else { return Ok(false) };
        let guard = WaitGuard(&self.locks, self.owner, resource);
        let granted = match timeout {
            Some(limit) => tokio::time::timeout(limit, granted).await.map_err(|_| {
                Error::new(SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
            })?,
            None => granted.await,
        };
        drop(guard);
        granted.map_err(|_| Error::internal("a lock's queue is gone"))?;
        Ok(true)
    }

    /// Frees those of `resources` that were taken after a [`LockSet::mark`].
    pub(crate) fn release_since(&mut self, mark: usize, resources: &HashSet<Resource>) {
        let mut state = self.locks.state.lock();
        let later = self.held.split_off(mark.min(self.held.len()));
        for resource in later {
            if resources.contains(&resource) {
                state.release(self.owner, resource);
            } else {
                self.held.push(resource);
            }
        }
    }

    /// What is held so far.
    pub(crate) fn mark(&self) -> usize {
        self.held.len()
    }

    /// Takes what is free; stops at the first that is not, with a place in its queue.
    fn acquire_free(
        &mut self,
        resources: &mut impl Iterator<Item = Resource>,
        mode: Mode,
    ) -> Result<Option<(Resource, oneshot::Receiver<()>)>> {
        let mut state = self.locks.state.lock();
        for resource in resources {
            match state.acquire(self.owner, resource, mode) {
                Attempt::Held => {}
                Attempt::New => self.held.push(resource),
                Attempt::Queued(granted) => {
                    if let Some(cycle) = state.cycle(self.owner.session) {
                        let error = state.deadlock(&cycle);
                        state.leave_queue(self.owner, resource);
                        return Err(error);
                    }
                    self.held.push(resource);
                    return Ok(Some((resource, granted)));
                }
            }
        }
        Ok(None)
    }

    /// Takes a resource if that needs no wait. Returns whether it holds it.
    pub(crate) fn try_acquire(&mut self, resource: Resource, mode: Mode) -> bool {
        let mut state = self.locks.state.lock();
        match state.acquire(self.owner, resource, mode) {
            Attempt::Held => true,
            Attempt::New => {
                self.held.push(resource);
                true
            }
            Attempt::Queued(_) => {
                state.leave_queue(self.owner, resource);
                false
            }
        }
    }

    /// Gives one resource back.
    pub(crate) fn release(&mut self, resource: Resource) {
        self.held.retain(|held| *held != resource);
        self.locks.state.lock().release(self.owner, resource);
    }

    /// Makes an exclusive lock that this set holds a shared one.
    pub(crate) fn downgrade(&mut self, resource: Resource) {
        let mut state = self.locks.state.lock();
        if let Some(slot) = state.slots.get_mut(&resource)
            && slot.is_held_only_by(self.owner)
        {
            slot.mode = Mode::Shared;
            state.admit(resource);
        }
    }

    /// Whether it holds the resource at least so strongly.
    pub(crate) fn holds(&self, resource: Resource, mode: Mode) -> bool {
        let state = self.locks.state.lock();
        state.slots.get(&resource).is_some_and(|slot| {
            (slot.mode == Mode::Exclusive || mode == Mode::Shared)
                && slot.holders().any(|holder| holder == self.owner)
        })
    }
}

impl Drop for LockSet {
    fn drop(&mut self) {
        // In pieces, so that a bulk load's many locks do not stop everybody else.
        for piece in self.held.chunks(4_096) {
            let mut state = self.locks.state.lock();
            for resource in piece {
                state.release(self.owner, *resource);
            }
        }
    }
}

#[cfg(test)]
mod tests;
