//! How much processor time the searches of a plan take. To wake a thread for one and to be woken by it takes about as long as a search in a warm graph, so a kept
//! plan whose last search was quick does the next one where it is asked for. Knows no searches.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What takes longer has a thread of its own, so as not to hold up what else its lane has to do.
const QUICK_MAX: Duration = Duration::from_millis(3);

/// What takes so long by the clock waits for more than its turn: a disk, or other threads.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// A moment of the thread that it is made on. Of the thread's own time, as all searches seem to take long when there are more threads than
/// processors, and then to hand them over costs most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(Timespec, Instant);

impl Moment {
    pub(super) fn now() -> Moment {
        Moment(clock_gettime(ClockId::ThreadCPUTime), Instant::now())
    }

    /// Processor time since then, to be asked on the same thread; time by the clock, which is no less, if that is short enough or very long.
    pub(super) fn elapsed(self) -> Duration {
        self.took(self.1.elapsed())
    }

    fn took(self, waited: Duration) -> Duration {
        if waited <= QUICK_MAX || waited > WAIT_MAX {
            return waited;
        }
        let nanos = |time: Timespec| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        Duration::from_nanos(u64::try_from(nanos(Moment::now().0) - nanos(self.0)).unwrap_or(0))
    }
}

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
        pace.note(Duration::from_millis(4));
        assert!(!pace.is_quick());
    }

    #[test]
    fn a_short_wait_does_not_count_and_a_long_one_does() {
        let began = Moment::now();
        std::thread::sleep(Duration::from_millis(40));
        assert!(began.elapsed() >= Duration::from_millis(40));
        assert!(began.took(Duration::from_millis(15)) < Duration::from_millis(15), "it has computed nothing");
        assert_eq!(
            began.took(Duration::from_millis(2)),
            Duration::from_millis(2),
            "no less than it computed"
        );
    }

    #[tokio::test]
    async fn a_lone_worker_is_not_held_up() {
        let pace = Pace::default();
        pace.note(Duration::from_micros(300));
        assert!(!pace.is_quick());
    }
}
