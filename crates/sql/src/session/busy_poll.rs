//! When a session asks its socket again and again for a moment before it sleeps. To wake a processor that sleeps takes a virtual
//! machine 30 to 100 µs, more than a small statement; a client that sends one after the other is spared one of the two wake-ups of
//! each. Knows no sockets.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// What took longer gains little by it, and its processor time would be spent where there is work.
const STATEMENT_MAX: Duration = Duration::from_millis(1);
/// So many messages in a row of nobody else make a session the only one that talks.
const ALONE_MIN: u32 = 16;
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
    in_vain: u32,
    /// Messages that are waited for as usual, because polls were in vain.
    skip: u32,
}

impl BusyPoll {
    /// For a new session. `processors`: how many the server may use.
    pub(super) fn new(processors: usize, now: Instant) -> BusyPoll {
        BusyPoll { is_possible: processors > 1, heard: now, waited: now, alone: 0, in_vain: 0, skip: 0 }
    }

    /// Whether to poll for the next message, now that the last one has been answered.
    pub(super) fn wants(&mut self, now: Instant) -> bool {
        let is_apt = self.is_possible
            && self.alone >= ALONE_MIN
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
        self.alone = if talker.speak(pid) { self.alone.saturating_add(1) } else { 0 };
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
        let mut single = BusyPoll { is_possible: false, ..alone(&Talker::default(), now) };
        assert!(!single.wants(now + SHORT), "the client needs the only processor");
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
