//! Where a search gets lists and vectors from: a file that lies in memory, or somebody who fetches them.

use super::format::Head;
use crate::VectorColumn;
use crate::distance::prefetch;
use quiver_base::{Error, Result};
use std::ops::Range;

/// A list that a search wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedList {
    /// Its number, for [`ListHead::check_list`](super::ListHead::check_list).
    pub list: u32,
    /// Where it lies in the file, in bytes; never empty.
    pub place: Range<u64>,
}

/// A full vector that a search wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedVector {
    /// The row's position.
    pub row: u32,
    /// crc32c of the vector's bytes; 0 from a file of version 1, which does not have it.
    pub crc32c: u32,
}

/// Hands out what a search wants. Each call is one round: what it asks for does not depend on one another.
pub trait ListSource {
    /// Calls `each` with every list's bytes (at an address that is a multiple of 4), in any order, by its place in `lists`.
    fn lists(&self, lists: &[WantedList], each: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// Calls `each` with every vector, in any order, by its place in `rows`.
    fn vectors(&self, rows: &[WantedVector], each: &mut dyn FnMut(usize, &[f32])) -> Result<()>;

    /// How many vectors to ask for at once: few where rounds cost nothing, so that the first spare the last.
    fn vectors_at_once(&self) -> usize;

    /// Down to how many rows that a filter leaves it is better to compare them all than to look through lists of `probed` rows.
    fn exact_max(&self, probed: usize) -> usize;
}

/// Files that lie in memory.
pub(super) struct InPlace<'a> {
    pub(super) head: &'a Head,
    pub(super) vectors: &'a VectorColumn,
}

/// Enough to hide that memory is slow, few enough that the bound of the best so far spares some.
const AT_ONCE: usize = 16;

impl ListSource for InPlace<'_> {
    fn lists(&self, lists: &[WantedList], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        lists.iter().enumerate().for_each(|(at, wanted)| each(at, self.head.list_bytes(wanted.list)));
        Ok(())
    }

    fn vectors(&self, rows: &[WantedVector], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        rows.iter().for_each(|wanted| prefetch(self.vectors.row_bytes(wanted.row)));
        let mut buffer = Vec::new();
        for (at, wanted) in rows.iter().enumerate() {
            let vector = self.vectors.get(wanted.row, &mut buffer);
            each(at, vector.ok_or_else(|| Error::corrupt("ivfflat lists: a row without a vector"))?);
        }
        Ok(())
    }

    fn vectors_at_once(&self) -> usize {
        AT_ONCE
    }

    fn exact_max(&self, probed: usize) -> usize {
        probed
    }
}
