//! Threads for searches that take long: as many as there are idle processors, so that many searches at once do not fight over them.
//! Knows no vectors.

use quiver_base::Result;
use std::num::NonZero;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that are searching now.
static SEARCHING: AtomicUsize = AtomicUsize::new(0);

static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));

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

/// Pieces that a long search should be cut into at most: more would find no thread.
pub(super) fn pieces_max() -> usize {
    *PROCESSORS
}

/// Processors that no search uses.
fn idle() -> usize {
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
    let mut done = std::thread::scope(|scope| {
        let help = || {
            let _searching = Searching::begin();
            take()
        };
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(help)).collect();
        let mut done = take()?;
        for helper in helpers {
            match helper.join() {
                Ok(found) => done.extend(found?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, quiver_base::Error>(done)
    })?;
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
