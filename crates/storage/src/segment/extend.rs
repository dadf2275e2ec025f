//! The graph of one segment as the beginning of that of another one, which has most of its rows. Knows no links.

use super::{RowIds, Segment};
use crate::segment::reader::Opened;
use crate::{StorageEnv, VectorIndexDef};
use quiver_base::{Reservation, Result};
use quiver_index::{Earlier, RowSet, VectorIndex, VectorIndexKind};
use std::sync::Arc;

/// Rows that an index is built over.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexedRows<'a> {
    /// These; all if none are named.
    pub only: Option<&'a RowSet>,
    /// A segment with a graph for the index that may go on in the new one.
    pub earlier: Option<&'a Segment>,
}

/// A graph, and where its rows went.
#[derive(Debug)]
pub(super) struct Heritage {
    index: Arc<Opened<VectorIndex>>,
    rows: Vec<u32>,
    _memory: Reservation,
}

impl Heritage {
    /// What `earlier` leaves to a segment of rows `ids`, whose vectors have `dim` dimensions. `None` if its graph is of another kind than is declared now.
    pub(super) fn of(
        earlier: &Segment,
        def: &VectorIndexDef,
        ids: &RowIds,
        dim: u16,
        env: &StorageEnv,
    ) -> Result<Option<Heritage>> {
        let Some(index) = earlier.graph(def.id)? else { return Ok(None) };
        let is_alike = match (&**index, def.kind) {
            (VectorIndex::Hnsw(graph), VectorIndexKind::Hnsw(params)) => {
                graph.metric() == def.metric && graph.params() == params && graph.dim() == dim
            }
            _ => false,
        };
        if !is_alike {
            return Ok(None);
        }
        let memory = env.memory.try_reserve("Building an hnsw index", earlier.meta().rows as usize * 4)?;
        let rows = successors(&earlier.meta().row_ids, ids);
        Ok(Some(Heritage { index, rows, _memory: memory }))
    }

    pub(super) fn earlier(&self) -> Option<Earlier<'_>> {
        match &**self.index {
            VectorIndex::Hnsw(graph) => Some(Earlier { graph, rows: &self.rows }),
            _ => None,
        }
    }
}

/// The position in `new` of each row of `old`.
fn successors(old: &RowIds, new: &RowIds) -> Vec<u32> {
    let mut new = new.iter().zip(0u32..).peekable();
    let position = |id| {
        while new.next_if(|(other, _)| *other < id).is_some() {}
        new.next_if(|(other, _)| *other == id).map_or(Earlier::NO_ROW, |(_, position)| position)
    };
    old.iter().map(position).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use quiver_base::RowId;

    #[test]
    fn rows_are_found_again() {
        let ids = |ids: &[u64]| RowIds::from_ascending(ids.iter().copied().map(RowId)).unwrap();
        let gone = Earlier::NO_ROW;
        assert_eq!(successors(&ids(&[1, 4, 5, 9]), &ids(&[0, 1, 2, 5, 6])), [1, gone, 3, gone]);
        assert_eq!(successors(&ids(&[]), &ids(&[7])), [0u32; 0]);
        assert_eq!(successors(&ids(&[3, 4]), &ids(&[])), [gone, gone]);
    }
}
