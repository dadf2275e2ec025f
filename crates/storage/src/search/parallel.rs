//! Threads for searches that take long: as many as there are idle processors, so that many searches at once do not fight over them.
//! Knows no vectors.

use parking_lot::Mutex;
use quiver_base::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::num::NonZero;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that are searching now.
static SEARCHING: AtomicUsize = AtomicUsize::new(0);

static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));

/// Threads that wait for pieces: to wake one takes a few microseconds, to start one some tens. More than processors, as a search must not wait
/// for the end of another one's piece; those that have nothing to do cost nothing. `None` if the system gives none.
static THREADS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let builder = ThreadPoolBuilder::new().num_threads(2 * *PROCESSORS);
    builder.thread_name(|number| format!("quiver-search-{number}")).build().ok()
});

/// A thread that searches, for as long as it does.
#[derive(Debug)]
pub(super) struct Searching(());

impl Searching {
    pub(super) fn begin() -> Searching {
        SEARCHING.fetch_add(1, Ordering::Relaxed);
        Searching(())
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        SEARCHING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Processors that no search uses.
pub(super) fn idle() -> usize {
    PROCESSORS.saturating_sub(SEARCHING.load(Ordering::Relaxed))
}

/// Does pieces of work, whose results come in their order, on this thread and on others for as many processors as are idle.
pub(super) fn side_by_side<T: Send>(
    pieces: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    on_threads(idle().min(pieces.saturating_sub(1)), pieces, work)
}

fn on_threads<T: Send>(
    helpers: usize,
    pieces: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if helpers == 0 {
        return (0..pieces).map(work).collect();
    }
    // A thread of the pool that waits in it would take up another search's piece.
    let nested = rayon::current_thread_index().is_some();
    let Some(threads) = THREADS.as_ref().filter(|_| !nested) else {
        return (0..pieces).map(work).collect();
    };
    let next = AtomicUsize::new(0);
    let take = || -> Result<Vec<(usize, T)>> {
        let mut done = Vec::new();
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return Ok(done);
            }
            done.push((piece, work(piece)?));
        }
    };
    let helped = Mutex::new(Vec::with_capacity(helpers));
    let own = threads.in_place_scope(|scope| {
        for _ in 0..helpers {
            let searching = Searching::begin();
            scope.spawn(|_| {
                let _searching = searching;
                let found = take();
                helped.lock().push(found);
            });
        }
        take()
    });
    let mut done = own?;
    for found in helped.into_inner() {
        done.extend(found?);
    }
    done.sort_unstable_by_key(|(piece, _)| *piece);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use quiver_base::Error;

    #[test]
    fn results_come_in_order_and_errors_come_out() {
        for helpers in 0..4 {
            let squares = on_threads(helpers, 100, |piece| Ok(piece * piece)).unwrap();
            assert_eq!(squares, (0..100).map(|piece| piece * piece).collect::<Vec<_>>());
            let failed = on_threads(helpers, 10, |piece| match piece {
                7 => Err(Error::internal("seven")),
                other => Ok(other),
            });
            assert_eq!(failed.unwrap_err().message(), "seven");
            assert!(on_threads::<usize>(helpers, 0, Ok).unwrap().is_empty());
        }
    }

    #[test]
    fn a_panic_of_a_helper_is_one_of_the_search() {
        let panicked = std::panic::catch_unwind(|| {
            on_threads(2, 8, |piece| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                assert_ne!(piece, 5, "five");
                Ok(piece)
            })
        });
        assert!(panicked.is_err());
    }
}
