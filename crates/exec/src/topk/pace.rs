//! How long the searches of a plan take. To wake a thread for one and to be woken by it takes about as long as a search in a warm graph, so a kept
//! plan whose last search was quick does the next one where it is asked for. Knows no searches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// What takes longer has a thread of its own, so as not to hold up what else its worker has to do.
const QUICK_MAX: Duration = Duration::from_millis(1);

/// Shared by all runs of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Microseconds of the last search, and one more; 0 if there was none.
    last: Arc<AtomicU64>,
}

impl Pace {
    pub(super) fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last.store(micros.saturating_add(1), Ordering::Relaxed);
    }

    /// Whether the next search is expected to be quick; and there is another worker, in case it is not.
    pub(super) fn is_quick(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let is_quick = last > 0 && u128::from(last) <= QUICK_MAX.as_micros();
        is_quick && Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_search_says_how_quick_the_next_is() {
        let pace = Pace::default();
        assert!(!pace.is_quick(), "nothing is known");
        pace.clone().note(Duration::from_micros(300));
        assert!(pace.is_quick());
        pace.note(Duration::from_millis(3));
        assert!(!pace.is_quick());
    }

    #[tokio::test]
    async fn a_lone_worker_is_not_held_up() {
        let pace = Pace::default();
        pace.note(Duration::from_micros(300));
        assert!(!pace.is_quick());
    }
}
