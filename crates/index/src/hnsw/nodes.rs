//! Which rows of a column become nodes of a graph, and which of them share one. Knows no links and no codes.

use crate::rowset::positions;
use crate::{Metric, RowSet, VectorColumn, distance};

/// The distinct vectors that can be linked. Those whose norm is not a number that a score could use are left
/// out: they are found exactly, when so many rows are asked for.
pub(super) struct Nodes {
    /// Where each node's rows begin in `rows`, and the end.
    pub(super) starts: Vec<u32>,
    pub(super) rows: Vec<u32>,
}

impl Nodes {
    pub(super) fn of(vectors: &VectorColumn, metric: Metric, only: Option<&RowSet>) -> Nodes {
        let mut buffer = Vec::new();
        let mut hashed: Vec<(u64, u32)> = positions(vectors.presence_words().iter().copied())
            .filter(|row| only.is_none_or(|only| only.contains(*row)))
            .filter(|row| can_link(metric, vectors.widened(*row, &mut buffer)))
            .map(|row| (xxhash_rust::xxh3::xxh3_64(vectors.row_bytes(row)), row))
            .collect();
        hashed.sort_unstable();
        // Vectors with one hash are compared; different ones become different groups even then.
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut firsts: Vec<u32> = Vec::with_capacity(hashed.len());
        for same_hash in hashed.chunk_by(|a, b| a.0 == b.0) {
            if let [(_, row)] = same_hash {
                firsts.push(*row);
                continue;
            }
            let own = groups.len();
            for (_, row) in same_hash {
                let bytes = |row: u32| vectors.row_bytes(row);
                match groups[own..].iter_mut().find(|group| bytes(group[0]) == bytes(*row)) {
                    Some(group) => group.push(*row),
                    None => groups.push(vec![*row]),
                }
            }
        }
        Nodes::in_row_order(firsts, groups)
    }

    /// Numbers nodes by their first row, so that without duplicates and NULLs node and row are the same.
    fn in_row_order(mut single: Vec<u32>, mut groups: Vec<Vec<u32>>) -> Nodes {
        single.sort_unstable();
        groups.sort_unstable_by_key(|group| group[0]);
        let (mut starts, mut rows) = (vec![0], Vec::with_capacity(single.len()));
        let mut single = single.into_iter().peekable();
        for group in groups {
            while let Some(row) = single.next_if(|row| *row < group[0]) {
                rows.push(row);
                starts.push(rows.len() as u32);
            }
            rows.extend(group);
            starts.push(rows.len() as u32);
        }
        for row in single {
            rows.push(row);
            starts.push(rows.len() as u32);
        }
        Nodes { starts, rows }
    }

    pub(super) fn count(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// The row that stands for a node.
    pub(super) fn row(&self, node: u32) -> u32 {
        self.rows[self.starts[node as usize] as usize]
    }

    pub(super) fn first_rows(&self) -> Vec<u32> {
        (0..self.count()).map(|node| self.row(node)).collect()
    }
}

fn can_link(metric: Metric, vector: &[f32]) -> bool {
    let square = distance::dot(vector, vector);
    square.is_finite() && (metric != Metric::Cosine || square > 0.0)
}
