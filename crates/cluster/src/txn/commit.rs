//! The end of a transaction: one entry if it changed rows or the catalog, three if both; and rows sent ahead of it.

use super::Txn;
use super::buffer::split_write;
use crate::cluster::OwnTables;
use crate::command::{Command, Kind};
use crate::meta::encode_content;
use crate::proposer::Stamp;
use crate::requests::Outcome;
use crate::{CatalogEdit, Cluster};
use bytes::Bytes;
use futures::FutureExt;
use quiver_base::{Error, Result, SqlState, Term, TxnId};
use quiver_storage::ShardWrite;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// The largest entry that is made on purpose; a single row may be larger.
const ENTRY_BYTES: usize = 8 << 20;

impl Txn {
    /// Makes everything durable and visible at once, or nothing.
    pub async fn commit(self) -> Result<()> {
        if !self.has_writes() {
            return Ok(());
        }
        // Locks must be held until the outcome is known, even if nobody waits for it any more.
        let work = AssertUnwindSafe(self.commit_writes()).catch_unwind();
        let failed = |_| Err(Error::internal("a commit failed: it panicked"));
        ToItsEnd::new(work.map(move |done| done.unwrap_or_else(failed))).await
    }

    async fn commit_writes(mut self) -> Result<()> {
        if self.buffer.pending_bytes() > ENTRY_BYTES {
            self.stage().await?;
        }
        let has_rows = self.staged.is_some() || !self.buffer.is_flushed();
        let result = match (has_rows, self.edits.is_empty()) {
            (true, true) => self.commit_rows().await,
            (false, false) => self.commit_edits().await,
            (true, false) => self.commit_both().await,
            (false, true) => Ok(()),
        };
        if !self.edits.is_empty() {
            self.cluster.upkeep.wake();
        }
        result
    }

    async fn commit_rows(&mut self) -> Result<()> {
        let term = self.pin_term()?;
        let request = self.cluster.timestamp().await?.0;
        let command = Command {
            request,
            staged: self.staged.is_some(),
            blobs: self.encode_writes()?,
            ..Command::new(Kind::Commit, self.staged.unwrap_or_default())
        };
        let stamp = Stamp::checked_in(term).with_fresh_ts();
        let outcome = self.cluster.propose_data(&self.group, &command, stamp).await?;
        outcome.into_result()?;
        self.end_staged();
        Ok(())
    }

    async fn commit_edits(&mut self) -> Result<()> {
        let request = self.cluster.timestamp().await?.0;
        self.propose_edits(TxnId(0), request, false).await?.into_result()
    }

    /// Rows are prepared, the catalog's entry decides, then the rows are committed. See docs/decisions/0006.
    async fn commit_both(&mut self) -> Result<()> {
        let txn = self.name_in_log().await?;
        let term = self.pin_term()?;
        let prepare = Command { blobs: self.encode_writes()?, ..Command::new(Kind::Prepare, txn) };
        self.cluster.propose_data(&self.group, &prepare, Stamp::checked_in(term)).await?.into_result()?;
        self.cluster.crash_point("prepared")?;
        let decision = self.propose_edits(txn, txn.0, true).await;
        self.cluster.crash_point("decided")?;
        let cluster = self.cluster.clone();
        let outcome = match decision {
            Ok(outcome) => cluster.finish_prepared(&self.group, txn, outcome).await.map(|()| outcome),
            // Whether the edit was refused or its fate is unknown: who asks for the decision gets it, and makes it final.
            Err(_) => cluster.resolve_prepared(&self.group, txn).await,
        };
        self.end_staged();
        match (outcome?, decision) {
            (Outcome::Refused, Err(error)) => Err(error),
            (outcome, _) => outcome.into_result(),
        }
    }

    async fn propose_edits(&mut self, txn: TxnId, request: u64, decides: bool) -> Result<Outcome> {
        let term = self.pin_meta_term()?;
        self.cluster.sequences.take_uncommitted(self.database_id, &mut self.edits);
        let mut edits = self.edits.clone();
        edits.push(CatalogEdit::RaiseCounters {
            next_oid: self.cluster.next_oid.load(Ordering::Relaxed),
            next_shard: self.cluster.next_shard.load(Ordering::Relaxed),
        });
        let command = Command {
            request,
            staged: decides,
            blobs: vec![(self.group.id.0, Bytes::from(encode_content(&edits)?))],
            ..Command::new(Kind::Edit, txn)
        };
        self.cluster.propose_meta(&command, Stamp::checked_in(term)).await
    }

    fn encode_writes(&self) -> Result<Vec<(u64, Bytes)>> {
        let writes = self.buffer.to_writes()?;
        writes.iter().map(|(shard, write)| Ok((shard.0, Bytes::from(write.encode()?)))).collect()
    }

    /// Sends buffered rows ahead if they are many, unless a savepoint may want to take some of them back.
    pub(super) async fn stage_if_large(&mut self) -> Result<()> {
        if self.buffer.pending_bytes() > self.cluster.config.txn_stage_bytes && self.savepoints.is_empty() {
            self.stage().await?;
        }
        Ok(())
    }

    /// Sends everything buffered to the log, where it waits for the commit.
    async fn stage(&mut self) -> Result<()> {
        let term = self.pin_term()?;
        let txn = self.name_in_log().await?;
        self.cluster.live_staged.lock().insert(txn, self.own_tables());
        let mut entries = Vec::new();
        for (shard, write) in self.buffer.to_writes()? {
            for piece in split_write(write, ENTRY_BYTES) {
                entries.push(self.stage_entry(txn, term, shard.0, piece));
            }
        }
        for outcome in futures::future::try_join_all(entries).await? {
            outcome.into_result()?;
        }
        let bytes = self.memory.bytes();
        self.memory.shrink(bytes);
        self.buffer.set_flushed();
        self.own_keys.clear();
        Ok(())
    }

    fn own_tables(&self) -> OwnTables {
        let table = |edit: &CatalogEdit| match edit {
            CatalogEdit::PutTable(database, table) => Some((*database, table.clone())),
            _ => None,
        };
        self.edits.iter().filter_map(table).collect()
    }

    fn stage_entry(
        &self,
        txn: TxnId,
        term: Term,
        shard: u64,
        write: ShardWrite,
    ) -> impl Future<Output = Result<Outcome>> + Send + 'static {
        let (cluster, group) = (self.cluster.clone(), self.group.clone());
        async move {
            let bytes = Bytes::from(write.encode()?);
            drop(write);
            let command = Command { blobs: vec![(shard, bytes)], ..Command::new(Kind::Stage, txn) };
            cluster.propose_data(&group, &command, Stamp::checked_in(term)).await
        }
    }

    /// The transaction's name in the log: a timestamp, so that it is never used twice.
    async fn name_in_log(&mut self) -> Result<TxnId> {
        if let Some(txn) = self.staged {
            return Ok(txn);
        }
        let txn = TxnId(self.cluster.timestamp().await?.0);
        self.cluster.live_staged.lock().insert(txn, Vec::new());
        self.staged = Some(txn);
        Ok(txn)
    }

    /// Nothing is left in the log to abort.
    fn end_staged(&mut self) {
        if let Some(txn) = self.staged.take() {
            self.cluster.live_staged.lock().remove(&txn);
        }
    }
}

/// Work that is done where it is waited for, without a change of threads, and in the background once nobody waits.
struct ToItsEnd<F: Future<Output: Send> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> ToItsEnd<F> {
    fn new(work: F) -> ToItsEnd<F> {
        ToItsEnd { work: Some(Box::pin(work)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let output = std::task::ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToItsEnd<F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.runtime.spawn(work);
        }
    }
}

impl Cluster {
    /// Whether an error leaves open if the entry took effect.
    pub(crate) fn is_unknown(error: &Error) -> bool {
        error.state() == SqlState::TRANSACTION_RESOLUTION_UNKNOWN
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::ToItsEnd;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_nevertheless() {
        let (go, wait) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let mut work = ToItsEnd::new(async move {
            wait.await.unwrap();
            done.send(7).unwrap();
        });
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(is_done.await, Ok(7));
        assert_eq!(ToItsEnd::new(async { 8 }).await, 8);
    }
}
