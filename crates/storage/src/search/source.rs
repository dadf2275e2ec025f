//! Whose vectors a search compares: a column's, or those that an index computes.

use super::{VectorQuery, different_dimensions};
use crate::objects::ObjectRef;
use crate::snapshot::part::Part;
use crate::{ComputedVectors, Indexed, Opened, Segment, SegmentMeta, TableLayout};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use quiver_base::{ColumnId, Error, IndexId, Result};
use quiver_index::VectorColumn;
use std::ops::Range;
use std::sync::Arc;

/// The vectors of a search.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// A column's.
    Column(ColumnId),
    /// An index's own.
    Computed(IndexId, &'a dyn ComputedVectors),
}

impl<'a> Source<'a> {
    pub(super) fn of(layout: &'a TableLayout, query: &VectorQuery) -> Result<Source<'a>> {
        let Some(id) = query.index else { return Ok(Source::Column(query.column)) };
        let index = layout.vector_index(id);
        match index.map(|index| &index.of) {
            Some(Indexed::Column { column, .. }) => Ok(Source::Column(*column)),
            Some(Indexed::Computed(computed)) => Ok(Source::Computed(id, computed.as_ref())),
            Some(Indexed::Unknown) | None => Err(Error::internal(format!("index {id} cannot be searched"))),
        }
    }

    /// The query must have as many dimensions as every vector, where that is known.
    pub(super) fn check_dimensions(&self, layout: &TableLayout, query: &VectorQuery) -> Result<()> {
        if query.sparse.is_some() != self.is_sparse() {
            return Err(Error::internal("a sparse search over dense vectors, or the other way round"));
        }
        let asked = query.sparse.as_ref().map_or(query.query.len(), |sparse| sparse.dim as usize);
        let stored = match self {
            Source::Computed(_, computed) => Some(computed.dim() as usize),
            Source::Column(column) => match crate::columns::definition(layout, *column)?.field.data_type() {
                DataType::FixedSizeList(_, dim) => Some(*dim as usize),
                DataType::List(_) => None,
                other => {
                    return Err(Error::internal(format!("a vector search over a column of type {other}")));
                }
            },
        };
        match stored {
            Some(stored) if stored != asked => Err(different_dimensions(stored, asked)),
            _ => Ok(()),
        }
    }

    fn is_sparse(&self) -> bool {
        matches!(self, Source::Computed(_, computed) if computed.is_sparse())
    }

    /// A range of rows in pieces whose vectors can be had at once.
    pub(super) fn pieces(&self, rows: Range<u32>) -> Vec<Range<u32>> {
        let Source::Computed(_, computed) = self else { return std::iter::once(rows).collect() };
        let size = computed.batch_rows();
        let starts = rows.clone().step_by(size as usize);
        starts.map(|start| start..rows.end.min(start.saturating_add(size))).collect()
    }

    /// The vectors of a range of rows.
    pub(super) fn vectors(&self, part: &Part, layout: &TableLayout, rows: Range<u32>) -> Result<ArrayRef> {
        match self {
            Source::Column(column) => Ok(part.read(layout, &[*column], rows)?.column(0).clone()),
            Source::Computed(_, computed) => {
                computed.evaluate(&part.read(layout, computed.columns(), rows)?)
            }
        }
    }

    /// The object of their flat file, if the segment has one.
    pub(super) fn flat_object<'m>(&self, meta: &'m SegmentMeta) -> Option<&'m ObjectRef> {
        match self {
            Source::Column(column) => meta.vector_file(*column),
            Source::Computed(index, _) => meta.index_vector_file(*index),
        }
    }

    /// Their flat file, if the segment has one.
    pub(super) fn flat_file(&self, segment: &Segment) -> Result<Option<Arc<Opened<VectorColumn>>>> {
        match self {
            Source::Column(column) => segment.vectors(*column),
            Source::Computed(index, _) => segment.index_vectors(*index),
        }
    }
}
