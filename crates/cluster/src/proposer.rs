//! From a command to its outcome: stamps term and timestamp on the Raft thread, waits for apply, looks up what it did.

use crate::command::Encoded;
use crate::oracle::Oracle;
use crate::requests::{Outcome, Outcomes, leader_changed};
use parking_lot::RwLock;
use quiver_base::{Error, GroupId, Result, SqlState, Term, Timestamp};
use quiver_raft::RaftNode;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The way into the log.
pub(crate) struct Proposer {
    /// Gone once the node has stopped: the last handle closes the log's files.
    raft: RwLock<Option<RaftNode>>,
    pub(crate) oracle: Arc<Oracle>,
}

impl std::fmt::Debug for Proposer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposer").field("oracle", &self.oracle).finish_non_exhaustive()
    }
}

/// When a command may be appended, and with which timestamp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// The only term it may be appended in; `None`: any, as it depends on no lock.
    pub(crate) term: Option<Term>,
    pub(crate) ts: StampTs,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum StampTs {
    /// A new one, above all that went before it in the log.
    Fresh,
    /// This one.
    Given(Timestamp),
}

impl Stamp {
    /// For what changes nothing that is read at a timestamp.
    pub(crate) fn any_term() -> Stamp {
        Stamp { term: None, ts: StampTs::Given(Timestamp::ZERO) }
    }

    pub(crate) fn checked_in(term: Term) -> Stamp {
        Stamp { term: Some(term), ..Stamp::any_term() }
    }

    pub(crate) fn with_fresh_ts(self) -> Stamp {
        Stamp { ts: StampTs::Fresh, ..self }
    }
}

/// Forgets the interest in an outcome even if nobody waits any more.
struct Interest {
    outcomes: Arc<Outcomes>,
    index: Arc<AtomicU64>,
}

impl Interest {
    fn take(&self) -> Option<Outcome> {
        self.outcomes.take(self.index.swap(0, Ordering::AcqRel))
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.take();
    }
}

impl Proposer {
    pub(crate) fn new(raft: RaftNode, oracle: Arc<Oracle>) -> Proposer {
        Proposer { raft: RwLock::new(Some(raft)), oracle }
    }

    /// The log; 57P01 once it is stopped.
    pub(crate) fn raft(&self) -> Result<RaftNode> {
        let stopped = || Error::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down");
        self.raft.read().clone().ok_or_else(stopped)
    }

    /// Stops the log and lets go of its files. Blocks.
    pub(crate) fn stop(&self) {
        let raft = self.raft.write().take();
        if let Some(raft) = raft {
            raft.stop();
        }
    }

    /// Appends a command and waits until it is applied here. An error means that it did not take effect, but for 08007.
    pub(crate) async fn propose(
        &self,
        group: GroupId,
        outcomes: &Arc<Outcomes>,
        encoded: Encoded,
        stamp: Stamp,
    ) -> Result<Outcome> {
        let interest = Interest { outcomes: outcomes.clone(), index: Arc::default() };
        let (index, outcomes, oracle) = (interest.index.clone(), outcomes.clone(), self.oracle.clone());
        let refusal = Arc::new(OnceLock::new());
        let refuse = refusal.clone();
        let applied = self
            .raft()?
            .propose_with(group, move |slot| {
                if stamp.term.is_some_and(|term| term != slot.term) {
                    let _ = refuse.set(leader_changed());
                    return None;
                }
                let ts = match stamp.ts {
                    StampTs::Given(ts) => ts,
                    StampTs::Fresh => match oracle.next() {
                        Some(ts) => ts,
                        None => {
                            let _ = refuse.set(no_timestamp());
                            return None;
                        }
                    },
                };
                index.store(slot.index.0, Ordering::Release);
                outcomes.expect(slot.index.0);
                Some(encoded.stamp(slot.term, ts))
            })
            .await?;
        match applied {
            Some(_) => Ok(interest.take().unwrap_or(Outcome::Refused)),
            None => Err(refusal.get().cloned().unwrap_or_else(leader_changed)),
        }
    }
}

/// The bound is raised long before it is reached, so this means that the meta group cannot commit.
pub(crate) fn no_timestamp() -> Error {
    Error::new(SqlState::CANNOT_CONNECT_NOW, "no timestamp can be given out now")
        .with_hint("The meta group does not accept writes; the transaction might succeed if retried.")
}
