//! Transactions that nobody finishes: what a crash left prepared gets its decision, what it left staged is dropped.

use crate::cluster::Cluster;
use crate::command::{Command, Kind};
use crate::data::DataGroup;
use crate::proposer::Stamp;
use crate::requests::Outcome;
use quiver_base::{Result, TxnId};
use std::sync::Arc;
use std::time::Duration;

/// Between tries to reach a group that does not answer.
const RETRY: Duration = Duration::from_millis(100);

impl Cluster {
    /// Finishes every transaction that an earlier leader began in this group, and forgets decisions that all have heard.
    pub(crate) async fn recover(self: &Arc<Self>, group: &Arc<DataGroup>) -> Result<()> {
        for (txn, unresolved) in group.unresolved() {
            if self.live_staged.lock().contains_key(&txn) {
                continue;
            }
            if unresolved.prepared {
                self.resolve_prepared(group, txn).await?;
            } else {
                self.abort_staged(group, txn).await;
            }
        }
        let decisions = self.meta.view().decisions;
        for (txn, _) in decisions.iter().filter(|(_, at)| **at == group.id) {
            if !group.is_prepared(*txn) {
                self.forget_decision(*txn).await?;
            }
        }
        Ok(())
    }

    /// Finds out, and makes final, whether a prepared transaction commits; then does it.
    pub(crate) async fn resolve_prepared(&self, group: &Arc<DataGroup>, txn: TxnId) -> Result<Outcome> {
        let outcome = loop {
            if self.meta.view().decisions.contains_key(&txn) {
                break Outcome::Done;
            }
            // The same request id as the deciding edit's: if that was first, its answer comes back.
            let refuse = Command { request: txn.0, ..Command::new(Kind::RefuseDecision, txn) };
            match self.propose_meta(&refuse, Stamp::any_term()).await {
                Ok(outcome) => break outcome,
                Err(error) if self.is_stopping() => return Err(error),
                Err(error) => tracing::warn!(%error, %txn, "a prepared transaction waits for its decision"),
            }
            tokio::time::sleep(RETRY).await;
        };
        self.finish_prepared(group, txn, outcome).await?;
        Ok(outcome)
    }

    /// Carries a decision out. Once it is to commit, this is tried until it succeeds.
    pub(crate) async fn finish_prepared(
        &self,
        group: &Arc<DataGroup>,
        txn: TxnId,
        outcome: Outcome,
    ) -> Result<()> {
        if outcome != Outcome::Done {
            self.abort_staged(group, txn).await;
            return Ok(());
        }
        while group.is_prepared(txn) {
            let commit = Command { staged: true, ..Command::new(Kind::Commit, txn) };
            match self.propose_data(group, &commit, Stamp::any_term().with_fresh_ts()).await {
                Ok(_) => break,
                Err(error) if self.is_stopping() => return Err(error),
                Err(error) => tracing::warn!(%error, %txn, "a decided transaction waits for its group"),
            }
            tokio::time::sleep(RETRY).await;
        }
        self.crash_point("committed")?;
        self.forget_decision(txn).await
    }

    async fn forget_decision(&self, txn: TxnId) -> Result<()> {
        let forget = Command::new(Kind::ForgetDecision, txn);
        self.propose_meta(&forget, Stamp::any_term()).await.map(drop)
    }

    /// Drops what a transaction staged. If that fails, the next recovery does it.
    pub(crate) async fn abort_staged(&self, group: &Arc<DataGroup>, txn: TxnId) {
        let abort = Command::new(Kind::Abort, txn);
        if let Err(error) = self.propose_data(group, &abort, Stamp::any_term()).await {
            tracing::warn!(%error, %txn, "a transaction's staged rows are still there");
        }
    }
}
