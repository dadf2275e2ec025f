//! Advisory locks: numbers that applications give a meaning to. Held by a session as often as it took them, or to the end of its
//! transaction.

use crate::Cluster;
use crate::locks::{ListedLock, LockSet, Mode, Resource};
use quiver_base::{DatabaseId, Result, TableId};
use std::collections::HashMap;
use std::time::Duration;

/// What is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdvisoryKey {
    /// Each database has its own.
    pub database: DatabaseId,
    /// The upper half of a bigint, or the first of two integers.
    pub high: u32,
    /// The lower half, or the second.
    pub low: u32,
    /// Two integers, which are never the same lock as a bigint.
    pub is_pair: bool,
}

/// As a deadlock's DETAIL names it.
impl std::fmt::Display for AdvisoryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_pair { 2 } else { 1 };
        write!(f, "[{},{},{},{kind}]", self.database, self.high, self.low)
    }
}

/// How a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdvisoryMode {
    /// Others may share it.
    pub shared: bool,
    /// To the end of the transaction, and not until it is given back.
    pub to_transaction_end: bool,
}

/// How often each of the two modes is held.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    exclusive: usize,
    shared: usize,
}

impl Counts {
    fn of(&mut self, shared: bool) -> &mut usize {
        if shared { &mut self.shared } else { &mut self.exclusive }
    }
}

/// The advisory locks of one session. Freed on drop.
#[derive(Debug)]
pub struct AdvisoryLocks {
    set: LockSet,
    by_session: HashMap<AdvisoryKey, Counts>,
    /// Taken to the end of the transaction, in that order: savepoints go back in it.
    by_transaction: Vec<(AdvisoryKey, bool)>,
}

impl Cluster {
    /// None yet, for a session.
    pub fn advisory_locks(&self, session: u64) -> AdvisoryLocks {
        AdvisoryLocks {
            set: self.locks.new_set(session),
            by_session: HashMap::new(),
            by_transaction: Vec::new(),
        }
    }

    /// The locks of all sessions, those of rows and keys only if somebody waits for them.
    pub fn list_locks(&self) -> Vec<LockInfo> {
        self.locks.list().into_iter().map(LockInfo::of).collect()
    }

    /// The sessions that keep a session waiting.
    pub fn blocking_sessions(&self, session: u64) -> Vec<u64> {
        self.locks.blockers(session)
    }
}

impl AdvisoryLocks {
    /// Waits for a lock; 40P01 on a deadlock, 55P03 past the timeout.
    pub async fn lock(
        &mut self,
        key: AdvisoryKey,
        mode: AdvisoryMode,
        timeout: Option<Duration>,
    ) -> Result<()> {
        self.set.acquire([Resource::Advisory(key)], lock_mode(mode.shared), timeout).await?;
        self.count(key, mode);
        Ok(())
    }

    /// Takes a lock if that needs no wait.
    pub fn try_lock(&mut self, key: AdvisoryKey, mode: AdvisoryMode) -> bool {
        let taken = self.set.try_acquire(Resource::Advisory(key), lock_mode(mode.shared));
        if taken {
            self.count(key, mode);
        }
        taken
    }

    fn count(&mut self, key: AdvisoryKey, mode: AdvisoryMode) {
        if mode.to_transaction_end {
            self.by_transaction.push((key, mode.shared));
        } else {
            *self.by_session.entry(key).or_default().of(mode.shared) += 1;
        }
    }

    /// Gives back what was taken once; false if it is not held for the session in this mode.
    pub fn unlock(&mut self, key: AdvisoryKey, shared: bool) -> bool {
        let Some(counts) = self.by_session.get_mut(&key) else { return false };
        let count = counts.of(shared);
        if *count == 0 {
            return false;
        }
        *count -= 1;
        if counts.exclusive + counts.shared == 0 {
            self.by_session.remove(&key);
        }
        self.settle(key);
        true
    }

    /// Gives back all that is held for the session.
    pub fn unlock_all(&mut self) {
        let keys: Vec<AdvisoryKey> = self.by_session.drain().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.settle(key));
    }

    /// How many are held to the end of the transaction, for [`AdvisoryLocks::back_to`].
    pub fn position(&self) -> usize {
        self.by_transaction.len()
    }

    /// Gives back what was taken to the end of the transaction since there were so many; 0: all.
    pub fn back_to(&mut self, position: usize) {
        let later = self.by_transaction.split_off(position.min(self.by_transaction.len()));
        later.into_iter().for_each(|(key, _)| self.settle(key));
    }

    /// Holds a key as strongly as the counts say, and no stronger.
    fn settle(&mut self, key: AdvisoryKey) {
        let mut counts = self.by_session.get(&key).copied().unwrap_or_default();
        for (_, shared) in self.by_transaction.iter().filter(|(held, _)| *held == key) {
            *counts.of(*shared) += 1;
        }
        match counts {
            Counts { exclusive: 0, shared: 0 } => self.set.release(Resource::Advisory(key)),
            Counts { exclusive: 0, .. } => self.set.downgrade(Resource::Advisory(key)),
            _ => {}
        }
    }
}

fn lock_mode(shared: bool) -> Mode {
    if shared { Mode::Shared } else { Mode::Exclusive }
}

/// A lock as pg_locks shows it.
#[derive(Clone, Copy, Debug)]
pub struct LockInfo {
    /// Of what.
    pub target: LockTarget,
    /// Whose.
    pub session: u64,
    /// Shared with others or not.
    pub exclusive: bool,
    /// Held, and not waited for.
    pub granted: bool,
}

/// What a listed lock is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTarget {
    /// A table.
    Table(DatabaseId, TableId),
    /// An advisory lock.
    Advisory(AdvisoryKey),
    /// A row, or a key of a unique index.
    Row,
    /// A name of something that is being made or dropped.
    Name,
}

impl LockInfo {
    fn of(lock: ListedLock) -> LockInfo {
        let target = match lock.resource {
            Resource::Table(database, table) => LockTarget::Table(database, table),
            Resource::Advisory(key) => LockTarget::Advisory(key),
            Resource::Row(..) | Resource::Key(..) => LockTarget::Row,
            Resource::Name(..) => LockTarget::Name,
        };
        LockInfo { target, session: lock.session, exclusive: lock.exclusive, granted: lock.granted }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;
    use crate::locks::Locks;
    use std::sync::Arc;

    fn session(locks: &Arc<Locks>, id: u64) -> AdvisoryLocks {
        AdvisoryLocks { set: locks.new_set(id), by_session: HashMap::new(), by_transaction: Vec::new() }
    }

    const KEY: AdvisoryKey = AdvisoryKey { database: DatabaseId(5), high: 0, low: 7, is_pair: false };
    const PAIR: AdvisoryKey = AdvisoryKey { is_pair: true, ..KEY };
    const SESSION: AdvisoryMode = AdvisoryMode { shared: false, to_transaction_end: false };
    const SHARED: AdvisoryMode = AdvisoryMode { shared: true, ..SESSION };
    const XACT: AdvisoryMode = AdvisoryMode { to_transaction_end: true, ..SESSION };

    #[test]
    fn a_lock_is_held_as_often_as_it_was_taken() {
        let locks = Arc::new(Locks::default());
        let (mut one, mut two) = (session(&locks, 1), session(&locks, 2));
        assert!(one.try_lock(KEY, SESSION) && one.try_lock(KEY, SESSION));
        assert!(!two.try_lock(KEY, SESSION) && two.try_lock(PAIR, SESSION));
        assert!(one.unlock(KEY, false) && !two.try_lock(KEY, SHARED));
        assert!(one.unlock(KEY, false) && !one.unlock(KEY, false));
        assert!(two.try_lock(KEY, SHARED) && one.try_lock(KEY, SHARED));
        assert!(!one.unlock(KEY, false), "held, but not in this mode");
        drop(two);
        assert!(one.try_lock(PAIR, SESSION));
        one.unlock_all();
        assert_eq!(locks.counts(), (0, 0));
    }

    #[test]
    fn the_stronger_mode_goes_first_and_the_weaker_stays() {
        let locks = Arc::new(Locks::default());
        let (mut one, mut two) = (session(&locks, 1), session(&locks, 2));
        assert!(one.try_lock(KEY, SHARED) && one.try_lock(KEY, SESSION));
        assert!(!two.try_lock(KEY, SHARED));
        assert!(one.unlock(KEY, false));
        assert!(two.try_lock(KEY, SHARED) && !two.try_lock(KEY, SESSION));
    }

    #[test]
    fn a_transaction_gives_back_what_it_took_and_no_more() {
        let locks = Arc::new(Locks::default());
        let (mut one, mut two) = (session(&locks, 1), session(&locks, 2));
        assert!(one.try_lock(KEY, SESSION) && one.try_lock(KEY, XACT));
        let savepoint = one.position();
        assert!(one.try_lock(PAIR, XACT) && !one.unlock(PAIR, false));
        one.back_to(savepoint);
        assert!(two.try_lock(PAIR, XACT));
        one.back_to(0);
        assert!(!two.try_lock(KEY, XACT), "the session still holds it");
        one.unlock_all();
        assert!(two.try_lock(KEY, XACT));
    }
}
