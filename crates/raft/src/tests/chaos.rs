//! Everything at once, at random: kills, torn files, partitions, losses, snapshots, moving leaders.

use super::cluster::{Cluster, Start, write};
use super::*;
use crate::testing::{Dice, Residue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_chaos() {
    for seed in 10..13 {
        let mut dice = Dice::new(seed);
        let mut cluster = Cluster::new(seed);
        cluster.network.disturb(2, 2, Duration::from_millis(3));
        let mut acknowledged = Vec::new();
        for round in 0..8 {
            let nodes = cluster.running();
            let writers: Vec<_> = (0..3)
                .map(|w| {
                    let nodes = nodes.clone();
                    tokio::spawn(async move { write(&nodes, &format!("s{seed}r{round}w{w}-"), 12).await })
                })
                .collect();
            drop(nodes);
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            let victim = 1 + dice.below(3);
            match dice.below(4) {
                0 => {
                    cluster.isolate(victim);
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    cluster.network.heal();
                }
                1 => {
                    let residue = [Residue::Nothing, Residue::Some][dice.below(2) as usize];
                    cluster.kill_leaving(victim, residue, dice.below(1000));
                    tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
                    cluster.start(victim, Start::Open);
                }
                2 => {
                    let _not_leading_or_cut = cluster.node(victim).checkpoint(GROUP).await;
                }
                _ => {
                    let to = ReplicaId(1 + dice.below(3));
                    let _not_leading = cluster.node(victim).transfer_leader(GROUP, to).await;
                }
            }
            for writer in writers {
                acknowledged.extend(writer.await.unwrap());
            }
        }
        cluster.network.disturb(0, 0, Duration::ZERO);
        acknowledged.extend(write(&cluster.running(), "last", 1).await);
        assert!(acknowledged.len() > 100, "seed {seed}: only {} were acknowledged", acknowledged.len());
        cluster.agree_on(&acknowledged).await;
    }
}
