//! From a data folder to a cluster: opens the log, puts a state machine behind every group, replays.

use crate::cluster::{Cluster, ClusterConfig};
use crate::data::{DataGroup, DataMachine};
use crate::folder::Folder;
use crate::meta::{MetaGroup, MetaMachine};
use crate::oracle::Oracle;
use crate::ownership;
use quiver_base::{Error, GroupId, NodeId, ReplicaId, Result};
use quiver_raft::{DiskFs, FileCheckpoints, NoWire, Peer, RaftConfig, RaftNode, StateMachine, Wire};
use quiver_storage::{Objects, StorageEnv};
use std::collections::BTreeMap;
use std::sync::Arc;

/// This node's replica of every group that it made alone.
const FIRST_REPLICA: ReplicaId = ReplicaId(1);

/// A node's place among others.
pub(crate) struct Seat {
    /// The node id, if somebody else gives it.
    pub(crate) node: Option<NodeId>,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) first_start: FirstStart,
    /// Changes Raft's settings.
    pub(crate) tune: fn(&mut RaftConfig),
    /// Puts something around a state machine.
    pub(crate) wrap: Wrap,
}

type Wrap = Box<dyn Fn(Box<dyn StateMachine>) -> Box<dyn StateMachine> + Send>;

/// What a node does with a group that is not in its log.
#[derive(Clone, Debug)]
pub(crate) enum FirstStart {
    /// Makes it, as its only replica.
    Alone,
    /// Makes it together with these, who do the same.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(dead_code, reason = "only tests have several nodes yet")
    )]
    Together(Vec<Peer>),
    /// Waits to be filled by its leader, as this replica.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(dead_code, reason = "only tests have several nodes yet")
    )]
    Join(ReplicaId),
}

impl Seat {
    /// Of a node without others.
    pub(crate) fn alone() -> Seat {
        Seat {
            node: None,
            wire: Arc::new(NoWire),
            first_start: FirstStart::Alone,
            tune: |_| {},
            wrap: Box::new(|machine| machine),
        }
    }
}

/// What opening the folder gave: groups that replay their logs.
pub(crate) struct Opened {
    pub(crate) config: ClusterConfig,
    pub(crate) folder: Folder,
    pub(crate) raft: RaftNode,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) meta: Arc<MetaGroup>,
    pub(crate) data: BTreeMap<GroupId, Arc<DataGroup>>,
}

impl Cluster {
    /// Opens folder, object store and log; nothing leads yet.
    pub(crate) async fn open_seat(config: ClusterConfig, seat: Seat) -> Result<Arc<Cluster>> {
        let folder = Folder::open(&config.data_dir)?;
        let url = match &config.object_store {
            Some(url) => url.clone(),
            None => local_url(&folder)?,
        };
        let objects = Objects::open(&url, &folder.cache()).await?;
        // Nodes that share a cluster are told apart from others by who starts them.
        if matches!(seat.first_start, FirstStart::Alone) && seat.node.is_none() {
            let (objects, node, is_new) = (objects.clone(), folder.node, folder.groups == 0);
            let claimed =
                tokio::task::spawn_blocking(move || ownership::claim(&objects, &url, node, is_new)).await;
            claimed.map_err(|panic| Error::internal(format!("the start failed: {panic}")))??;
        }
        let env = StorageEnv::new(objects, config.memory.clone(), config.storage.clone());
        let opening = tokio::task::spawn_blocking(move || Opened::new(config, folder, env, &seat)).await;
        let opened = opening.map_err(|panic| Error::internal(format!("the start failed: {panic}")))??;
        Ok(Arc::new(Cluster::of(opened)))
    }
}

fn local_url(folder: &Folder) -> Result<String> {
    let objects = std::path::absolute(folder.objects()).map_err(|cause| Error::io("data folder", cause))?;
    Ok(format!("file://{}", objects.display()))
}

impl Opened {
    fn new(config: ClusterConfig, mut folder: Folder, env: Arc<StorageEnv>, seat: &Seat) -> Result<Opened> {
        let fs = Arc::new(DiskFs);
        let checkpoints = Arc::new(FileCheckpoints::open(folder.checkpoints(), fs.clone())?);
        let node = seat.node.unwrap_or(folder.node);
        let mut raft_config =
            RaftConfig { log_bytes_max: config.log_bytes_max, ..RaftConfig::new(node, folder.raft()) };
        (seat.tune)(&mut raft_config);
        let raft = RaftNode::open(raft_config, fs, checkpoints, seat.wire.clone())?;
        let oracle = Arc::new(Oracle::default());
        let meta = MetaGroup::new(oracle.clone());
        let groups =
            if folder.groups == 0 { u64::from(config.data_groups.max(1)) + 1 } else { folder.groups };
        open_group(&raft, &folder, seat, GroupId::META, MetaMachine::new(meta.clone()))?;
        let mut data = BTreeMap::new();
        for id in (1..groups).map(GroupId) {
            let group = DataGroup::new(id, env.clone(), oracle.clone());
            open_group(&raft, &folder, seat, id, DataMachine::new(group.clone()))?;
            data.insert(id, group);
        }
        if folder.groups == 0 {
            folder.set_groups(groups)?;
        }
        Ok(Opened { config, folder, raft, oracle, meta, data })
    }
}

/// Opens a group of the log, or makes it if the folder is new.
fn open_group(
    raft: &RaftNode,
    folder: &Folder,
    seat: &Seat,
    id: GroupId,
    machine: Box<dyn StateMachine>,
) -> Result<()> {
    let machine = (seat.wrap)(machine);
    if raft.stored_groups().contains(&id) {
        return raft.open_group(id, machine);
    }
    if folder.groups != 0 {
        return Err(Error::corrupt(format!(
            "group {id} is missing in the log \"{}\"",
            folder.raft().display()
        )));
    }
    match &seat.first_start {
        FirstStart::Alone => {
            raft.create_group(id, &[Peer { replica: FIRST_REPLICA, node: raft.node() }], machine)
        }
        FirstStart::Together(peers) => raft.create_group(id, peers, machine),
        FirstStart::Join(replica) => raft.join_group(id, *replica, machine),
    }
}
