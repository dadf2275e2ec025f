//! Shards that no table names any more: of dropped and truncated tables, and of transactions that did not commit.

use super::Upkeep;
use crate::cluster::Cluster;
use crate::command::{Command, Kind};
use crate::data::DataGroup;
use crate::proposer::Stamp;
use crate::requests::Outcome;
use bytes::Bytes;
use quiver_base::{Error, Result, ShardId, TxnId};
use quiver_storage::Shard;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Upkeep {
    /// Drops orphans whose last readers have gone. Run again after a restart, it finds what was left.
    pub(super) async fn drop_orphans(&self, cluster: &Cluster, group: &Arc<DataGroup>) {
        let orphans = self.ripe_orphans(cluster, group);
        if orphans.is_empty() {
            return;
        }
        let blobs = orphans.iter().map(|shard| (shard.id().0, Bytes::new())).collect();
        let command = Command { blobs, ..Command::new(Kind::DropShards, TxnId(0)) };
        match cluster.propose_data(group, &command, Stamp::any_term()).await {
            Ok(Outcome::Done) => {}
            Ok(outcome) => return tracing::warn!(?outcome, "dropped tables' shards are still there"),
            Err(error) => return tracing::warn!(%error, "dropped tables' shards are still there"),
        }
        for shard in orphans {
            self.state.lock().orphans.remove(&shard.id());
            cluster.forget_rows(shard.id());
            let id = shard.id();
            let destroyed = tokio::task::spawn_blocking(move || shard.destroy()).await;
            let destroyed: Result<()> = destroyed
                .unwrap_or_else(|panic| Err(Error::internal(format!("a storage task failed: {panic}"))));
            if let Err(error) = destroyed {
                tracing::warn!(%error, shard = %id, "objects of a dropped shard are still there");
            }
        }
    }

    fn ripe_orphans(&self, cluster: &Cluster, group: &Arc<DataGroup>) -> Vec<Arc<Shard>> {
        let shards = group.shards();
        let unresolved = group.unresolved();
        // Read last: a shard that is in use and in no unfinished transaction is in a catalog that is as new as this one.
        let catalog = cluster.catalog();
        let written: HashSet<ShardId> =
            unresolved.values().flat_map(|txn| txn.shards.iter().copied()).collect();
        let tables = catalog.databases.values().flat_map(|database| database.tables.values());
        let named: HashSet<ShardId> = tables.flat_map(|table| table.shards.iter().copied()).collect();
        let is_orphan = |shard: &Arc<Shard>| {
            let id = shard.id();
            // Ids that the catalog has not given out yet belong to a transaction that is about to commit.
            id.0 < catalog.next_shard && !named.contains(&id) && !written.contains(&id)
        };
        let mut ripe: Vec<Arc<Shard>> = shards.into_iter().filter(is_orphan).collect();
        ripe.retain(|shard| self.has_no_readers(group, shard.id()));
        ripe
    }

    fn has_no_readers(&self, group: &DataGroup, shard: ShardId) -> bool {
        let mut state = self.state.lock();
        let mark = *state.orphans.entry(shard).or_insert_with(|| group.leases.mark());
        let mut running = false;
        for job in state.running.iter().filter(|running| running.job.shard == shard) {
            job.control.cancel.store(true, Ordering::Release);
            running = true;
        }
        !running && group.leases.all_ended_since(mark)
    }
}
