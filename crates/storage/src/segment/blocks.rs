//! Rows of one column of a data file, by way of the cache of decoded blocks.

use super::data_file::DataFile;
use crate::column_cache::{BlockKey, ColumnCache};
use arrow::array::{Array, ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::{concat, interleave, take};
use hashbrown::HashMap;
use quiver_base::{Error, Result};
use std::ops::Range;

/// One column and the cache that its blocks are in.
pub(super) struct Blocks<'a> {
    pub(super) file: &'a DataFile,
    pub(super) cache: &'a ColumnCache,
    /// The open segment's number.
    pub(super) segment: u64,
    /// The column's place in the file.
    pub(super) column: usize,
}

impl Blocks<'_> {
    /// Rows at a range of positions.
    pub(super) fn read(&self, rows: Range<u32>) -> Result<ArrayRef> {
        let mut pieces = Vec::new();
        let mut at = rows.start;
        while at < rows.end {
            let group = self.file.group_of(at);
            let bounds = self.file.group(group);
            let end = rows.end.min(bounds.end);
            self.read_group(group, at - bounds.start..end - bounds.start, &mut pieces)?;
            at = end;
        }
        match pieces.len() {
            0 => Ok(self.empty()),
            1 => Ok(pieces.remove(0)),
            _ => Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?),
        }
    }

    /// Rows of one row group, counted within it.
    fn read_group(&self, group: usize, rows: Range<u32>, pieces: &mut Vec<ArrayRef>) -> Result<()> {
        let block_rows = self.file.block_rows(self.column);
        let blocks = rows.start / block_rows..rows.end.div_ceil(block_rows);
        let mut found: Vec<Option<ArrayRef>> =
            blocks.clone().map(|block| self.cache.get(&self.key(group, block))).collect();
        let mut at = 0;
        while at < found.len() {
            let missing = found[at..].iter().take_while(|block| block.is_none()).count();
            if missing == 0 {
                at += 1;
                continue;
            }
            let first = blocks.start + at as u32;
            for (block, array) in (first..).zip(self.decode(group, first..first + missing as u32)?) {
                self.cache.insert(self.key(group, block), &array);
                found[(block - blocks.start) as usize] = Some(array);
            }
            at += missing;
        }
        for (block, array) in blocks.zip(found) {
            let array = array.ok_or_else(|| Error::internal("a block was not decoded"))?;
            let start = block * block_rows;
            let (from, to) = (rows.start.max(start), rows.end.min(start + array.len() as u32));
            pieces.push(array.slice((from - start) as usize, (to - from) as usize));
        }
        Ok(())
    }

    /// Rows at any positions, in their order.
    pub(super) fn take(&self, positions: &[u32]) -> Result<ArrayRef> {
        let block_rows = self.file.block_rows(self.column);
        let place_of = |position: u32| {
            let group = self.file.group_of(position);
            let row = position - self.file.group(group).start;
            (group, row / block_rows, (row % block_rows) as usize)
        };
        if let [position] = positions {
            let (group, block, row) = place_of(*position);
            let row = UInt32Array::from_value(row as u32, 1);
            return Ok(take(&self.block(group, block)?, &row, None)?);
        }
        let mut places = HashMap::new();
        let mut arrays = Vec::new();
        let mut indices = Vec::with_capacity(positions.len());
        for position in positions {
            let (group, block, row) = place_of(*position);
            let place = match places.get(&(group, block)) {
                Some(place) => *place,
                None => {
                    arrays.push(self.block(group, block)?);
                    places.insert((group, block), arrays.len() - 1);
                    arrays.len() - 1
                }
            };
            indices.push((place, row));
        }
        if arrays.is_empty() {
            return Ok(self.empty());
        }
        Ok(interleave(&arrays.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>(), &indices)?)
    }

    fn block(&self, group: usize, block: u32) -> Result<ArrayRef> {
        self.cache.get_or_decode(&self.key(group, block), || {
            let decoded = self.decode(group, block..block + 1)?;
            decoded.into_iter().next().ok_or_else(|| Error::internal("a block was not decoded"))
        })
    }

    fn decode(&self, group: usize, blocks: Range<u32>) -> Result<Vec<ArrayRef>> {
        let block_rows = self.file.block_rows(self.column);
        let end = (blocks.end * block_rows).min(self.file.group(group).len() as u32);
        self.file.decode(self.column, group, blocks.start * block_rows..end)
    }

    fn key(&self, group: usize, block: u32) -> BlockKey {
        BlockKey { segment: self.segment, column: self.column as u32, row_group: group as u32, block }
    }

    fn empty(&self) -> ArrayRef {
        new_empty_array(self.file.schema().field(self.column).data_type())
    }
}
