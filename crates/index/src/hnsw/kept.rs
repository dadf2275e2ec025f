//! What of an earlier graph a new one starts from: the links among vectors that both have, in the new numbering. Knows no
//! distances.

use super::HnswGraph;
use super::format::{NO_LINK, Section};
use super::nodes::Nodes;
use super::rows::NodeRows;
use crate::VectorColumn;
use quiver_base::{Error, Result};

/// A graph over some of the rows that another is to be built over.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// The graph.
    pub graph: &'a HnswGraph,
    /// For each row of its segment, the row of the new one that has the same vector; [`NO_ROW`](Self::NO_ROW) where there is none.
    pub rows: &'a [u32],
}

impl Earlier<'_> {
    /// Stands for a row that is gone.
    pub const NO_ROW: u32 = u32::MAX;
}

/// Links of the lowest level that are there before anything is linked.
pub(super) struct Kept {
    /// As many slots for each node as the level has.
    pub(super) links: Vec<u32>,
    /// A node to start from.
    pub(super) entry: u32,
    /// How many nodes have their links.
    pub(super) nodes: u32,
    linked: Vec<bool>,
}

impl Kept {
    /// `None` if nothing is left of the earlier graph.
    pub(super) fn new(earlier: Earlier<'_>, nodes: &Nodes, vectors: &VectorColumn) -> Result<Option<Kept>> {
        let file = &earlier.graph.file;
        if earlier.rows.len() != file.header.rows as usize || vectors.dim() != file.header.dim {
            return Err(Error::internal("an earlier graph of another segment"));
        }
        let numbers = new_numbers(earlier, nodes, vectors.rows());
        let degree = file.header.degree();
        let mut kept = Kept {
            links: vec![NO_LINK; nodes.count() as usize * degree],
            entry: NO_LINK,
            nodes: 0,
            linked: vec![false; nodes.count() as usize],
        };
        for (links, node) in file.numbers(Section::Links).chunks_exact(degree).zip(&numbers) {
            if *node != NO_LINK {
                kept.take(links, *node, &numbers);
            }
        }
        Ok((kept.entry != NO_LINK).then_some(kept))
    }

    /// Whether a node has its links already.
    pub(super) fn has(&self, node: u32) -> bool {
        self.linked[node as usize]
    }

    /// Takes over a node's links, unless too many lead to nodes that are gone, now or merge by merge: then it is linked like a new one.
    fn take(&mut self, old: &[u32], node: u32, numbers: &[u32]) {
        let old = old.iter().take_while(|link| **link != NO_LINK);
        let before = old.clone().count();
        let left = old.filter_map(|link| numbers.get(*link as usize)).filter(|link| **link != NO_LINK);
        let (degree, left_over) = (self.links.len() / self.linked.len(), left.clone().count());
        if left_over == 0 || left_over * 2 < before || (left_over < before && left_over * 4 < degree) {
            return;
        }
        let start = node as usize * degree;
        self.links[start..].iter_mut().zip(left).for_each(|(slot, link)| *slot = *link);
        self.linked[node as usize] = true;
        self.nodes += 1;
        self.entry = self.entry.min(node);
    }
}

/// The new number of each node of the earlier graph.
fn new_numbers(earlier: Earlier<'_>, nodes: &Nodes, rows: u32) -> Vec<u32> {
    let mut node_of_row = vec![NO_LINK; rows as usize];
    for (node, bounds) in nodes.starts.windows(2).enumerate() {
        for row in &nodes.rows[bounds[0] as usize..bounds[1] as usize] {
            node_of_row[*row as usize] = node as u32;
        }
    }
    let own = NodeRows::of(&earlier.graph.file);
    let new_row = |row: u32| earlier.rows.get(row as usize).copied();
    let new_node =
        |row: u32| node_of_row.get(new_row(row)? as usize).copied().filter(|node| *node != NO_LINK);
    (0..earlier.graph.nodes())
        .map(|node| own.of_node(node).iter().find_map(new_node).unwrap_or(NO_LINK))
        .collect()
}
