//! The allocator of the process, and giving back to the system what is no longer used. Knows nothing of who allocates.

use quiver_base::{Error, Result};
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TRIM_EVERY: Duration = Duration::from_secs(10);

/// mimalloc's `mi_option_purge_delay`, in milliseconds, for which its crate has no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Gives freed memory back every few seconds, for as long as the process lives. The allocator does so only where memory is asked for
/// again: an idle server would keep what its start, a load or an index build had used. While rows arrive it did so a second later, and what was asked
/// for next had to be cleared by the system anew; now it leaves that to this thread.
pub(crate) fn trim_in_background() -> Result<()> {
    // SAFETY: sets a number, unless the environment has.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 2 * TRIM_EVERY.as_millis() as libc::c_long)
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_option_is_that_of_the_purge_delay() {
        // SAFETY: reads and sets numbers. The neighbours have other values, the delay is the only one of a second.
        unsafe {
            assert_eq!(libmimalloc_sys::mi_option_get(PURGE_DELAY), 1_000);
        }
    }
}
