//! Who reads at which timestamp: what background work must keep readable. A reader that stays past its lease loses it.

use parking_lot::Mutex;
use quiver_base::{Error, Result, SqlState, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a snapshot may be read.
pub(crate) const LEASE_MAX: Duration = Duration::from_secs(3_600);

/// Live reads of one group.
#[derive(Debug)]
pub(crate) struct Leases {
    state: Mutex<State>,
    lease_max: Duration,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    live: BTreeMap<(Timestamp, u64), Instant>,
}

impl Default for Leases {
    fn default() -> Self {
        Leases::new(LEASE_MAX)
    }
}

impl Leases {
    pub(crate) fn new(lease_max: Duration) -> Leases {
        Leases { state: Mutex::default(), lease_max }
    }

    /// A lease on what `now` gives. No background work computes the oldest read in between.
    pub(crate) fn take(self: &Arc<Self>, now: impl FnOnce() -> Timestamp) -> Lease {
        let mut state = self.state.lock();
        let read_ts = now();
        state.next += 1;
        let id = state.next;
        let until = Instant::now() + self.lease_max;
        state.live.insert((read_ts, id), until);
        Lease { leases: self.clone(), read_ts, id, until }
    }

    /// The oldest timestamp that somebody reads at, or what `now` gives. Lapsed leases are gone.
    pub(crate) fn oldest(&self, now: impl FnOnce() -> Timestamp) -> Timestamp {
        let mut state = self.state.lock();
        self.drop_lapsed(&mut state);
        let now = now();
        state.live.keys().next().map_or(now, |(ts, _)| (*ts).min(now))
    }

    /// A mark for [`Leases::all_ended_since`].
    pub(crate) fn mark(&self) -> u64 {
        self.state.lock().next
    }

    /// Whether all reads that had begun at the mark have ended.
    pub(crate) fn all_ended_since(&self, mark: u64) -> bool {
        let mut state = self.state.lock();
        self.drop_lapsed(&mut state);
        state.live.keys().all(|(_, id)| *id > mark)
    }

    fn drop_lapsed(&self, state: &mut State) {
        let now = Instant::now();
        state.live.retain(|_, until| *until > now);
    }
}

/// One read's right to its timestamp.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Arc<Leases>,
    pub(crate) read_ts: Timestamp,
    id: u64,
    until: Instant,
}

impl Lease {
    /// Whether nearly all of its time is left.
    pub(crate) fn is_new(&self) -> bool {
        self.until.saturating_duration_since(Instant::now()) > self.leases.lease_max / 16 * 15
    }

    /// 72000 past its time.
    pub(crate) fn check(&self) -> Result<()> {
        if Instant::now() < self.until {
            return Ok(());
        }
        Err(Error::new(SqlState::SNAPSHOT_TOO_OLD, "snapshot too old")
            .with_detail(format!("A snapshot can be read for {} seconds.", self.leases.lease_max.as_secs())))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.state.lock().live.remove(&(self.read_ts, self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_read_counts_until_it_ends_or_lapses() {
        let leases = Arc::new(Leases::new(Duration::from_millis(20)));
        let now = || Timestamp(9);
        let first = leases.take(|| Timestamp(3));
        let mark = leases.mark();
        let second = leases.take(|| Timestamp(5));
        assert_eq!(leases.oldest(now), Timestamp(3));
        assert!(!leases.all_ended_since(mark));
        drop(first);
        assert!(leases.all_ended_since(mark));
        assert_eq!(leases.oldest(now), Timestamp(5));
        assert!(second.check().is_ok());
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(leases.oldest(now), Timestamp(9));
        assert!(!second.is_new());
        assert!(Arc::new(Leases::default()).take(now).is_new());
        assert_eq!(second.check().map_err(|error| error.state()), Err(SqlState::SNAPSHOT_TOO_OLD));
    }
}
