//! What became of recent requests, replicated with the state they changed: a request that comes again gets its stored answer, one
//! older than the window is refused instead of executed twice. And the waiters of this process.

use parking_lot::Mutex;
use quiver_base::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// How many answers are kept.
const WINDOW: usize = 16_384;

/// What applying a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It took effect.
    Done,
    /// Nothing happened: it was checked in another term than it was appended in, or is older than the window.
    Refused,
    /// A publish that no longer fitted.
    Stale,
}

impl Outcome {
    /// `Refused` as the error a client sees.
    pub(crate) fn into_result(self) -> Result<()> {
        match self {
            Outcome::Done | Outcome::Stale => Ok(()),
            Outcome::Refused => Err(leader_changed()),
        }
    }
}

/// The retryable error of a transaction whose locks went with their leader.
pub(crate) fn leader_changed() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "could not commit: the leader changed during the transaction")
        .with_hint("It has not taken effect; the transaction might succeed if retried.")
}

/// Answers by request id. Ids rise with time, so the smallest goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requests {
    answers: BTreeMap<u64, Outcome>,
    /// The largest id that was dropped.
    floor: u64,
}

impl Requests {
    /// The answer of a request that was seen before or is too old to tell.
    pub(crate) fn known(&self, request: u64) -> Option<Outcome> {
        if request == 0 {
            return None;
        }
        match self.answers.get(&request) {
            Some(outcome) => Some(*outcome),
            None => (request <= self.floor).then_some(Outcome::Refused),
        }
    }

    /// Keeps an answer.
    pub(crate) fn remember(&mut self, request: u64, outcome: Outcome) {
        if request == 0 {
            return;
        }
        self.answers.insert(request, outcome);
        while self.answers.len() > WINDOW {
            if let Some((oldest, _)) = self.answers.pop_first() {
                self.floor = self.floor.max(oldest);
            }
        }
    }
}

/// Those in this process who wait for the outcome of an entry, by a number that the entry does not carry over a restart.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<HashMap<u64, Outcome>>);

impl Outcomes {
    /// Registers interest in the entry at this index.
    pub(crate) fn expect(&self, index: u64) {
        self.0.lock().insert(index, Outcome::Refused);
    }

    /// Tells who is interested.
    pub(crate) fn set(&self, index: u64, outcome: Outcome) {
        if let Some(slot) = self.0.lock().get_mut(&index) {
            *slot = outcome;
        }
    }

    /// Takes the outcome.
    pub(crate) fn take(&self, index: u64) -> Option<Outcome> {
        self.0.lock().remove(&index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_older_than_the_window_is_refused_and_a_recent_one_keeps_its_answer() {
        let mut requests = Requests::default();
        for request in 1..=WINDOW as u64 + 2 {
            assert_eq!(requests.known(request), None);
            requests.remember(request, Outcome::Done);
        }
        assert_eq!(requests.known(2), Some(Outcome::Refused));
        assert_eq!(requests.known(3), Some(Outcome::Done));
        assert_eq!(requests.known(0), None);
    }
}
