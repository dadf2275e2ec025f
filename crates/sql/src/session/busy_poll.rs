//! When a session asks its socket again and again for a moment before it sleeps. To wake a processor that sleeps takes a virtual
//! machine 30 to 100 µs, more than a small statement; a client that sends one after the other is spared one of the two wake-ups of
//! each. Knows no sockets.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// What took longer gains little by it, and its processor time would be spent where there is work.
const STATEMENT_MAX: Duration = Duration::from_millis(1);
/// So many messages of nobody else make a session the only one that talks.
const ALONE_MIN: u32 = 16;
/// More than these are not counted.
const ALONE_MAX: u32 = 64;
/// So many of them somebody else's word takes away: who says something now and then changes little.
const ALONE_LOST: u32 = 8;
/// So many in a row since somebody else spoke show that he has finished: what he asked for needs the processor meanwhile.
const ROW_MIN: u32 = 3;
/// At least so often a session waits as usual, so that whatever else is on its thread gets its turn.
const WITHOUT_WAIT_MAX: Duration = Duration::from_millis(5);
/// After many polls in vain the next one is this power of two of messages away.
const IN_VAIN_MAX: u32 = 10;

/// Who of a server's sessions got a message last.
#[derive(Debug, Default)]
pub(crate) struct Talker(AtomicI32);

impl Talker {
    /// Whether it was the same session as the last time.
    fn speak(&self, pid: i32) -> bool {
        // A look first: a lone session need not own the cache line anew.
        self.is(pid) || self.0.swap(pid, Ordering::Relaxed) == pid
    }

    /// Whether nobody has spoken since this session.
    pub(super) fn is(&self, pid: i32) -> bool {
        self.0.load(Ordering::Relaxed) == pid
    }
}

/// What a session has learned of its client.
#[derive(Debug)]
pub(super) struct BusyPoll {
    /// Whether there is a processor for the client beside the one that polls.
    is_possible: bool,
    /// When the message came that is answered now, and when one was waited for as usual.
    heard: Instant,
    waited: Instant,
    alone: u32,
    row: u32,
    in_vain: u32,
    /// Messages that are waited for as usual, because polls were in vain.
    skip: u32,
}

impl BusyPoll {
    /// For a new session. `processors`: how many the server may use.
    pub(super) fn new(processors: usize, now: Instant) -> BusyPoll {
        BusyPoll {
            is_possible: processors > 1,
            heard: now,
            waited: now,
            alone: 0,
            row: 0,
            in_vain: 0,
            skip: 0,
        }
    }

    /// Whether to poll for the next message, now that the last one has been answered.
    pub(super) fn wants(&mut self, now: Instant) -> bool {
        let is_apt = self.is_possible
            && self.alone >= ALONE_MIN
            && self.row >= ROW_MIN
            && now.duration_since(self.heard) <= STATEMENT_MAX
            && now.duration_since(self.waited) <= WITHOUT_WAIT_MAX;
        if is_apt && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        is_apt
    }

    /// A poll has ended.
    pub(super) fn polled(&mut self, found: bool) {
        if found {
            self.in_vain = self.in_vain.saturating_sub(1);
        } else {
            self.in_vain = (self.in_vain + 1).min(IN_VAIN_MAX);
            self.skip = 1 << self.in_vain;
        }
    }

    /// A message has come; `waited`: as usual, and not by a poll.
    pub(super) fn heard(&mut self, talker: &Talker, pid: i32, now: Instant, waited: bool) {
        self.heard = now;
        if waited {
            self.waited = now;
        }
        if talker.speak(pid) {
            self.alone = (self.alone + 1).min(ALONE_MAX);
            self.row = self.row.saturating_add(1);
        } else {
            self.alone = self.alone.saturating_sub(ALONE_LOST);
            self.row = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(20);

    /// A session to whom this client has talked alone for long.
    fn alone(talker: &Talker, now: Instant) -> BusyPoll {
        let mut poll = BusyPoll::new(2, now);
        for _ in 0..=ALONE_MIN {
            assert!(!poll.wants(now));
            poll.heard(talker, 7, now, true);
        }
        poll
    }

    #[test]
    fn a_lone_talker_of_short_statements_is_polled_for() {
        let (talker, now) = (Talker::default(), Instant::now());
        let mut poll = alone(&talker, now);
        assert!(poll.wants(now + SHORT));
        assert!(!poll.wants(now + STATEMENT_MAX + SHORT), "what took long is not");
        poll.heard(&talker, 8, now, true);
        poll.heard(&talker, 7, now, true);
        assert!(!poll.wants(now + SHORT), "somebody else has talked");
        for _ in 0..ROW_MIN {
            assert!(!poll.wants(now + SHORT), "he may not have finished");
            poll.heard(&talker, 7, now, true);
        }
        assert!(!poll.wants(now + SHORT), "nor has this session been alone for long");
        let mut single = BusyPoll { is_possible: false, ..alone(&Talker::default(), now) };
        assert!(!single.wants(now + SHORT), "the client needs the only processor");
    }

    #[test]
    fn who_says_little_does_not_keep_another_from_being_polled_for() {
        let (talker, now) = (Talker::default(), Instant::now());
        let mut poll = alone(&talker, now);
        let mut hear = |turns: u32, others_every: u32| {
            let mut polls = 0u32;
            for turn in 0..turns {
                if turn % others_every == 0 {
                    talker.speak(8);
                }
                poll.heard(&talker, 7, now, true);
                polls += u32::from(poll.wants(now + SHORT));
            }
            f64::from(polls) / f64::from(turns)
        };
        hear(100, 100);
        let share = hear(1_000, 50);
        assert!(share > 0.9 && share < 0.95, "{share}: not while the other may not have finished");
        assert!(hear(1_000, 5) < 0.1);
        assert_eq!(hear(1_000, 2), 0.0);
    }

    #[test]
    fn the_thread_is_let_go_of_every_few_milliseconds() {
        let (talker, begin) = (Talker::default(), Instant::now());
        let mut poll = alone(&talker, begin);
        let mut now = begin;
        while poll.wants(now + SHORT) {
            now += 2 * SHORT;
            poll.polled(true);
            poll.heard(&talker, 7, now, false);
        }
        let without = now - begin;
        assert!(without <= WITHOUT_WAIT_MAX && without >= WITHOUT_WAIT_MAX - 4 * SHORT, "{without:?}");
        poll.heard(&talker, 7, now, true);
        assert!(poll.wants(now + SHORT));
    }

    #[test]
    fn polls_in_vain_become_rare() {
        let (talker, now) = (Talker::default(), Instant::now());
        let mut poll = alone(&talker, now);
        let mut polls = 0;
        for _ in 0..10_000 {
            if poll.wants(now + SHORT) {
                polls += 1;
                poll.polled(false);
            }
            poll.heard(&talker, 7, now, true);
        }
        assert!((IN_VAIN_MAX..30).contains(&polls), "{polls}");
        while !poll.wants(now + SHORT) {}
        for _ in 0..IN_VAIN_MAX {
            poll.polled(true);
        }
        assert!(poll.wants(now + SHORT), "and usual again once they find something");
    }
}
