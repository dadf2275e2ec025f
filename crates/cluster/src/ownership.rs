//! Whose an object store is. Two clusters that write under one prefix would delete each other's objects, so the first one leaves
//! its mark there and nobody else may use it. And what a crash left there of shards that are gone.
//!
//! The mark is the object `CLUSTER`: magic `QVOW`, version u32, cluster id u64, crc32c of all before it; little endian.

use crate::cluster::Cluster;
use quiver_base::{Error, NodeId, Result, ShardId, SqlState};
use quiver_storage::{Objects, Shard};
use std::collections::BTreeSet;
use std::sync::Arc;

const PATH: &str = "CLUSTER";
const MAGIC: &[u8; 4] = b"QVOW";
const VERSION: u32 = 1;

/// Marks a new store, or checks the mark of one that this data folder has used before.
pub(crate) fn claim(objects: &Arc<Objects>, url: &str, cluster: NodeId, is_new: bool) -> Result<()> {
    let mark = encode(cluster);
    match objects.get(PATH) {
        Ok(found) if found[..] == mark[..] => Ok(()),
        Ok(found) if found.len() < 4 || &found[..4] != MAGIC => {
            Err(Error::corrupt(format!("object \"{PATH}\" in \"{url}\" is not a cluster's mark")))
        }
        Ok(_) => Err(Error::new(
            SqlState::OBJECT_IN_USE,
            format!("object store \"{url}\" belongs to another cluster"),
        )
        .with_hint("Give each cluster a prefix of its own.")),
        Err(error) if error.state() == SqlState::UNDEFINED_FILE && is_new => {
            objects.put(PATH, &mark).map(drop)
        }
        Err(error) if error.state() == SqlState::UNDEFINED_FILE => Err(Error::new(
            SqlState::CONFIG_FILE_ERROR,
            format!("object store \"{url}\" is not the one that this data folder was used with"),
        )
        .with_detail(format!("It has no object \"{PATH}\"."))),
        Err(error) => Err(error),
    }
}

fn encode(cluster: NodeId) -> Vec<u8> {
    let mut mark = MAGIC.to_vec();
    mark.extend_from_slice(&VERSION.to_le_bytes());
    mark.extend_from_slice(&cluster.0.to_le_bytes());
    let crc = crc32c::crc32c(&mark);
    mark.extend_from_slice(&crc.to_le_bytes());
    mark
}

impl Cluster {
    /// Deletes objects of shards that no group has: a crash came between their drop and their objects'. Blocks.
    pub(crate) fn sweep_dropped_shards(&self) -> Result<()> {
        let Some(group) = self.data.values().next() else { return Ok(()) };
        let env = &group.env;
        let listed = env.objects.list("shards")?;
        let id_of = |path: &str| path.strip_prefix("shards/")?.split('/').next()?.parse().ok().map(ShardId);
        let found: BTreeSet<ShardId> = listed.iter().filter_map(|object| id_of(&object.path)).collect();
        let next_shard = self.catalog().next_shard;
        for id in found.into_iter().filter(|id| id.0 < next_shard) {
            // A shard that comes into being has no objects before it is in its group.
            if self.data.values().all(|group| group.shard(id).is_none()) {
                tracing::info!(shard = %id, "deleting what a crash left of a dropped shard");
                Shard::new(id, env.clone()).destroy()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;
    use quiver_storage::objects::RealFs;

    #[test]
    fn a_store_serves_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path(), Arc::new(RealFs)).unwrap();
        let state =
            |id, is_new| claim(&objects, "file:///x", NodeId(id), is_new).map_err(|error| error.state());
        assert_eq!(state(1, false), Err(SqlState::CONFIG_FILE_ERROR));
        assert_eq!(state(1, true), Ok(()));
        assert_eq!(state(1, true), Ok(()));
        assert_eq!(state(1, false), Ok(()));
        assert_eq!(state(2, true), Err(SqlState::OBJECT_IN_USE));
    }
}
