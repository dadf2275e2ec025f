//! Makes every node reachable from the entry point at the lowest level. Pruning can leave nodes that nobody
//! links to; a search would never find them.

use super::codes::Scorer;
use super::format::NO_LINK;
use super::grow::{Distances, Graph};
use super::walk::{Ending, FrozenLinks, Scratch, beam};

/// How many near nodes are asked for a slot.
const NEAREST: usize = 64;

/// Links what cannot be reached; returns how many nodes that were.
pub(super) fn repair(graph: &mut Graph, nodes: u32, degree: usize, distances: &impl Distances) -> u32 {
    let entry = graph.entry();
    let mut reach = Reach { parent: vec![NO_LINK; nodes as usize], degree };
    if nodes == 0 {
        return 0;
    }
    reach.parent[entry as usize] = entry;
    reach.spread(&graph.links, entry);
    let mut repaired = 0;
    let mut scratch = Scratch::take();
    for node in 0..nodes {
        if reach.has(node) {
            continue;
        }
        let scorer = Seen { distances, from: node };
        let links = FrozenLinks { links: &graph.links, degree, points: nodes };
        let near =
            beam(&links, &scorer, entry, NEAREST, Ending::LAST, &mut scratch).iter().map(|near| near.point());
        let giver = near
            .chain((0..nodes).filter(|other| reach.has(*other)))
            .find_map(|giver| Some((giver, reach.free_slot(&graph.links, giver)?)));
        // There is always one: of the reachable nodes some are leaves of the tree, with all slots to give.
        if let Some((giver, slot)) = giver {
            graph.links[slot] = node;
            reach.parent[node as usize] = giver;
            reach.spread(&graph.links, node);
            repaired += 1;
        }
    }
    repaired
}

struct Seen<'a, D> {
    distances: &'a D,
    from: u32,
}

impl<D: Distances> Scorer for Seen<'_, D> {
    fn score(&self, node: u32) -> f32 {
        self.distances.between(node, self.from)
    }

    fn prefetch(&self, node: u32) {
        self.distances.prefetch(node);
    }
}

/// A tree of links that reaches every node that can be reached.
struct Reach {
    /// The node each was first reached from; itself for the entry point.
    parent: Vec<u32>,
    degree: usize,
}

impl Reach {
    fn has(&self, node: u32) -> bool {
        self.parent[node as usize] != NO_LINK
    }

    fn spread(&mut self, links: &[u32], from: u32) {
        let mut waiting = vec![from];
        while let Some(node) = waiting.pop() {
            let start = node as usize * self.degree;
            for link in links[start..start + self.degree].iter().take_while(|link| **link != NO_LINK) {
                if !self.has(*link) {
                    self.parent[*link as usize] = node;
                    waiting.push(*link);
                }
            }
        }
    }

    /// A slot that is free, or whose link the tree does not need: the farthest of those.
    fn free_slot(&self, links: &[u32], node: u32) -> Option<usize> {
        let start = node as usize * self.degree;
        let slots = &links[start..start + self.degree];
        let free = slots.iter().position(|link| *link == NO_LINK);
        let slot = free.or_else(|| slots.iter().rposition(|link| self.parent[*link as usize] != node))?;
        Some(start + slot)
    }
}
