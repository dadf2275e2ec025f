//! Numbers about a node, for metrics and views, and a check of everything it stores. Changes nothing.

use crate::Table;
use crate::cluster::Cluster;
use quiver_base::{Error, GroupId, LogIndex, Result, ShardId, Term};
use quiver_storage::ShardStats;

/// Numbers about a table.
#[derive(Clone, Debug, Default)]
pub struct TableStats {
    /// Of each shard.
    pub shards: Vec<ShardStats>,
}

/// A Raft group as this node sees it.
#[derive(Clone, Debug)]
pub struct GroupStats {
    /// The group; 0 holds the catalog.
    pub group: GroupId,
    /// The term in which this node leads it.
    pub leads_in: Option<Term>,
    /// The last entry that is on a quorum.
    pub commit: LogIndex,
    /// The last entry that takes effect here.
    pub applied: LogIndex,
    /// The entry that the newest checkpoint covers.
    pub checkpoint: LogIndex,
    /// Bytes applied since then: what a restart replays.
    pub log_bytes: u64,
    /// How long the last write to the log took, with its fsync.
    pub last_fsync_micros: u64,
}

impl Cluster {
    /// Numbers about a table.
    pub fn table_stats(&self, table: &Table) -> TableStats {
        let shard = |id: &ShardId| self.data.values().find_map(|group| group.shard(*id));
        let stats = |id: &ShardId| shard(id).map_or_else(ShardStats::default, |shard| shard.stats());
        TableStats { shards: table.shards.iter().map(stats).collect() }
    }

    /// Numbers about this node's groups; none once it has stopped.
    pub fn group_stats(&self) -> Vec<GroupStats> {
        let statuses = self.proposer.raft().map(|raft| raft.statuses()).unwrap_or_default();
        let mut groups: Vec<GroupStats> = statuses
            .into_iter()
            .map(|status| GroupStats {
                group: status.group,
                leads_in: status.leads_in,
                commit: status.commit,
                applied: status.applied,
                checkpoint: status.checkpoint_index,
                log_bytes: status.log_bytes,
                last_fsync_micros: status.last_fsync_micros,
            })
            .collect();
        groups.sort_by_key(|stats| stats.group);
        groups
    }

    /// Locks that are held, and transactions that wait for one.
    pub fn lock_counts(&self) -> (usize, usize) {
        self.locks.counts()
    }

    /// Reads every live object and checks it; an error names the damaged one.
    pub async fn verify(&self) -> Result<()> {
        let shards: Vec<_> = self.data.values().flat_map(|group| group.shards()).collect();
        let verified =
            tokio::task::spawn_blocking(move || shards.iter().try_for_each(|shard| shard.verify()));
        verified.await.unwrap_or_else(|panic| Err(Error::internal(format!("a check failed: {panic}"))))
    }
}
