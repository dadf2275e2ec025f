//! Which rows a node stands for, and which node a row has. Knows no vectors.

use super::HnswGraph;
use super::format::{GraphFile, NO_LINK, Section};

/// Which rows a node stands for.
#[derive(Clone, Copy)]
pub(super) struct NodeRows<'a> {
    /// Empty when node and row are the same number.
    starts: &'a [u32],
    rows: &'a [u32],
}

impl<'a> NodeRows<'a> {
    pub(super) fn of(file: &'a GraphFile) -> NodeRows<'a> {
        NodeRows { starts: file.numbers(Section::RowStarts), rows: file.numbers(Section::Rows) }
    }

    #[inline(always)]
    pub(super) fn of_node(&self, node: u32) -> RowsOfNode<'a> {
        if self.starts.is_empty() {
            return RowsOfNode::Same(node);
        }
        let bounds = self.starts.get(node as usize..node as usize + 2);
        let rows = bounds.and_then(|b| self.rows.get(b[0] as usize..b[1] as usize));
        RowsOfNode::Listed(rows.unwrap_or_default())
    }
}

#[derive(Clone, Copy)]
pub(super) enum RowsOfNode<'a> {
    Same(u32),
    Listed(&'a [u32]),
}

impl<'a> RowsOfNode<'a> {
    #[inline(always)]
    pub(super) fn first(self) -> Option<u32> {
        match self {
            RowsOfNode::Same(row) => Some(row),
            RowsOfNode::Listed(rows) => rows.first().copied(),
        }
    }

    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = u32> + 'a {
        let (same, listed) = match self {
            RowsOfNode::Same(row) => (Some(row), [].as_slice()),
            RowsOfNode::Listed(rows) => (None, rows),
        };
        same.into_iter().chain(listed.iter().copied())
    }
}

/// The node that stands for a row.
#[derive(Clone, Copy)]
pub(super) struct RowNodes<'a> {
    /// `NO_LINK` for a row that no node stands for. Empty when node and row are the same number.
    nodes: &'a [u32],
}

impl<'a> RowNodes<'a> {
    pub(super) fn of(graph: &'a HnswGraph) -> RowNodes<'a> {
        let header = &graph.file.header;
        if header.identity {
            return RowNodes { nodes: &[] };
        }
        let nodes = graph.node_of_row.get_or_init(|| {
            let mut nodes = vec![NO_LINK; header.rows as usize];
            let rows = NodeRows::of(&graph.file);
            for node in 0..header.nodes {
                for row in rows.of_node(node).iter() {
                    // A damaged file may name a row that does not exist.
                    if let Some(place) = nodes.get_mut(row as usize) {
                        *place = node;
                    }
                }
            }
            nodes
        });
        RowNodes { nodes }
    }

    #[inline(always)]
    pub(super) fn of_row(self, row: u32) -> Option<u32> {
        if self.nodes.is_empty() {
            return Some(row);
        }
        self.nodes.get(row as usize).copied().filter(|node| *node != NO_LINK)
    }
}
