//! A growing column of `vector` or `halfvec`.

use arrow::array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use half::f16;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::vector::Dense;
use std::sync::Arc;

/// Room for the first elements: memory that is asked for in large pieces has to be cleared first, more of it than a few rows need.
const FIRST_FLOATS: usize = 16 << 10;

/// Rows of one dense type, of one dimension or of any.
#[derive(Debug)]
pub(super) struct DenseBuilder {
    kind: Dense,
    dim: Option<u16>,
    /// Elements; those of `halfvec` are rounded already.
    floats: Vec<f32>,
    /// How many to make room for once the next comes: as many as the batch before had.
    expected: usize,
    /// Where each row ends, if rows may differ in dimension.
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl DenseBuilder {
    /// For a dense type; `None` for all others.
    pub(super) fn new(ty: &SqlType, rows: usize) -> Option<DenseBuilder> {
        let (kind, dim) = match ty {
            SqlType::Vector(dim) => (Dense::Vector, *dim),
            SqlType::Halfvec(dim) => (Dense::Halfvec, *dim),
            _ => return None,
        };
        let expected = (rows * dim.map_or(0, usize::from)).min(FIRST_FLOATS);
        let (floats, ends, valid) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
        Some(DenseBuilder { kind, dim, floats, expected, ends, valid })
    }

    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    pub(super) fn append_null(&mut self) {
        match self.dim {
            Some(dim) => self.floats.resize(self.floats.len() + usize::from(dim), 0.0),
            None => self.ends.push(self.floats.len() as i32),
        }
        self.valid.push(false);
    }

    pub(super) fn append_text(&mut self, text: &str) -> Result<()> {
        self.append(|kind, dim, floats| kind.parse(text, dim, floats))
    }

    pub(super) fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(|kind, dim, floats| kind.read(bytes, dim, floats))
    }

    fn append(
        &mut self,
        read: impl FnOnce(Dense, Option<u16>, &mut Vec<f32>) -> Result<usize>,
    ) -> Result<()> {
        let before = self.floats.len();
        if self.floats.capacity() == 0 {
            self.floats.reserve_exact(self.expected);
        }
        let end = read(self.kind, self.dim, &mut self.floats).and_then(|_| list_end(self.floats.len()));
        let end = end.inspect_err(|_| self.floats.truncate(before))?;
        if self.dim.is_none() {
            self.ends.push(end);
        }
        self.valid.push(true);
        Ok(())
    }

    /// The array; the builder is empty again.
    pub(super) fn finish(&mut self, ty: &SqlType) -> ArrayRef {
        let floats = std::mem::take(&mut self.floats);
        self.expected = floats.len();
        let items: ArrayRef = match self.kind {
            Dense::Vector => Arc::new(Float32Array::from(floats)),
            Dense::Halfvec => Arc::new(floats.into_iter().map(f16::from_f32).collect::<Float16Array>()),
        };
        let nulls = nulls(&mut self.valid);
        match ty.arrow_type() {
            DataType::FixedSizeList(field, dim) => {
                Arc::new(FixedSizeListArray::new(field, dim, items, nulls))
            }
            DataType::List(field) => Arc::new(ListArray::new(field, offsets(&mut self.ends), items, nulls)),
            _ => items,
        }
    }
}

pub(super) fn nulls(valid: &mut Vec<bool>) -> Option<NullBuffer> {
    let valid = std::mem::take(valid);
    valid.contains(&false).then(|| NullBuffer::from(valid))
}

pub(super) fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(std::iter::once(0).chain(std::mem::take(ends)).collect())
}

pub(super) fn list_end(length: usize) -> Result<i32> {
    i32::try_from(length)
        .map_err(|_| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many array items in one batch"))
}
