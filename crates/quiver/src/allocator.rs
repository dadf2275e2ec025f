//! The allocator of the process, and giving back to the system what is no longer used. Knows nothing of who allocates.

use quiver_base::{Error, Result};
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TRIM_EVERY: Duration = Duration::from_secs(10);

/// Gives freed memory back every few seconds, for as long as the process lives. The allocator does so only where memory is asked for
/// again: an idle server would keep what its start, a load or an index build had used.
pub(crate) fn trim_in_background() -> Result<()> {
    let trim = || {
        loop {
            thread::sleep(TRIM_EVERY);
            // SAFETY: may be called at any time from any thread.
            unsafe { libmimalloc_sys::mi_collect(true) };
        }
    };
    let thread = thread::Builder::new().name("quiver-trim".to_owned()).spawn(trim);
    thread.map(drop).map_err(|cause| Error::io("cannot start the thread that trims memory", cause))
}
