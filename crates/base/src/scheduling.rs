//! How the system shares processors out among threads: who goes first where there are fewer of them than work. Knows not what the threads do.
//! Where the system knows nothing of it, or does not allow it, threads go on as they were.

use std::cell::Cell;

/// How long a thread may go on while others wait that have woken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// As the system thinks best.
    Usual,
    /// Long ones, which threads with turns as usual may interrupt in return as soon as they wake up: for writes beside searches, whose
    /// fraction of a millisecond is longer than a search. The share of the processors is the same. Threads that this one starts have usual
    /// turns.
    Long,
}

thread_local! {
    /// What this thread has.
    static TURNS: Cell<Turns> = const { Cell::new(Turns::Usual) };
}

/// A thread that yields to all others, as do those that it starts: what nobody waits for.
pub fn yield_to_others() {
    system::set_nice();
}

/// Says which turns this thread is to have from now on. Costs nothing where it has them.
pub fn take_turns(turns: Turns) {
    if TURNS.replace(turns) != turns {
        system::set_turns(turns);
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::Turns;
    use std::mem;

    /// Nanoseconds; the scheduler's own is about three million (EEVDF, Linux 6.12 and later; before, there is none of a thread's own).
    pub(super) const LONG: u64 = 20_000_000;
    const USUAL: u64 = 0;
    /// A thread gets a tenth of what one at 0 gets beside it.
    const YIELDING: libc::c_int = 10;

    pub(super) fn set_nice() {
        // SAFETY: it reads three numbers; 0 is this thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, YIELDING) };
    }

    pub(super) fn set_turns(turns: Turns) {
        if let Some(mut attributes) = attributes() {
            attributes.sched_runtime = if turns == Turns::Long { LONG } else { USUAL };
            attributes.sched_flags |= libc::SCHED_FLAG_RESET_ON_FORK as u64;
            // SAFETY: it reads a structure of the size that it names; 0 is this thread.
            unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        }
    }

    /// Those of this thread, if it is one among others: not one of real time.
    pub(super) fn attributes() -> Option<libc::sched_attr> {
        let size = size_of::<libc::sched_attr>() as u32;
        // SAFETY: numbers only, for which zero is a value.
        let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
        // SAFETY: it writes as many bytes as it is told that there are; 0 is this thread.
        let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        let usual =
            [libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(attributes.sched_policy as libc::c_int));
        (failed == 0 && usual).then_some(attributes)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn set_nice() {}

    pub(super) fn set_turns(_turns: super::Turns) {}
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn turns() -> u64 {
        system::attributes().unwrap().sched_runtime
    }

    #[test]
    fn long_turns_are_a_threads_own() {
        std::thread::spawn(|| {
            let usual = turns();
            take_turns(Turns::Long);
            // Zero on systems where a thread has no turns of its own.
            let long = turns();
            assert!(long == system::LONG || long == usual, "{long}");
            assert_eq!(std::thread::spawn(turns).join().unwrap(), usual);
            take_turns(Turns::Usual);
            assert_eq!(turns(), usual);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_that_yields_passes_it_on() {
        let nice = || system::attributes().unwrap().sched_nice;
        let passed_on = move || {
            yield_to_others();
            std::thread::spawn(nice).join().unwrap()
        };
        assert!(std::thread::spawn(passed_on).join().unwrap() >= 10);
    }
}
