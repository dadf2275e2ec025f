//! Hands out timestamps: an atomic add below a bound that the meta group replicates in batches, so that no later leader, and no
//! restart, ever goes back. Proposes nothing itself.

use quiver_base::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the bound is raised at once. A restart skips what was left of it.
pub(crate) const BOUND_STEP: u64 = 1 << 20;

/// The timestamp oracle of the meta leader.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    last: AtomicU64,
    bound: AtomicU64,
}

impl Oracle {
    /// A timestamp above all before it; `None` if the bound is used up.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let bound = self.bound.load(Ordering::Acquire);
        self.last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| (last < bound).then_some(last + 1))
            .ok()
            .map(|last| Timestamp(last + 1))
    }

    /// Nothing at or below `ts` is handed out from now on.
    pub(crate) fn raise(&self, ts: Timestamp) {
        self.last.fetch_max(ts.0, Ordering::AcqRel);
    }

    /// Timestamps up to `bound` may be handed out.
    pub(crate) fn raise_bound(&self, bound: Timestamp) {
        self.bound.fetch_max(bound.0, Ordering::AcqRel);
    }

    /// The bound to ask for, if it is time to.
    pub(crate) fn wanted_bound(&self) -> Option<Timestamp> {
        let last = self.last.load(Ordering::Acquire);
        let left = self.bound.load(Ordering::Acquire).saturating_sub(last);
        (left < BOUND_STEP / 2).then_some(Timestamp(last + BOUND_STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_below_the_bound_and_never_goes_back() {
        let oracle = Oracle::default();
        assert_eq!(oracle.next(), None);
        oracle.raise_bound(Timestamp(3));
        oracle.raise(Timestamp(1));
        oracle.raise(Timestamp(0));
        assert_eq!(oracle.next(), Some(Timestamp(2)));
        assert_eq!(oracle.next(), Some(Timestamp(3)));
        assert_eq!(oracle.next(), None);
        assert_eq!(oracle.wanted_bound(), Some(Timestamp(3 + BOUND_STEP)));
    }
}
