//! Lists of one segment's vectors around centres found by k-means: built once, searched list by list, nearest centre first; in
//! place, or with no more at hand than the head of the file and somebody who fetches the rest.

mod build;
mod codes;
mod format;
mod kmeans;
mod search;
mod source;

use crate::segment::exact_outcome;
use crate::{BuildControl, BuildStats, Mapped, Metric, RowSet, SearchOutcome, VectorColumn};
use format::Head;
use quiver_base::Result;
use serde::{Deserialize, Serialize};
use std::io::Write;

pub(crate) use format::is_list_file;
pub use source::{ListSource, WantedList, WantedVector};

/// What `WITH (lists = …)` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IvfParams {
    /// How many lists; a segment with fewer vectors has as many as it has vectors.
    pub lists: u16,
}

impl Default for IvfParams {
    fn default() -> Self {
        IvfParams { lists: 100 }
    }
}

/// A file of lists, opened.
#[derive(Clone, Debug)]
pub struct IvfIndex {
    head: Head,
}

impl IvfIndex {
    /// Sorts the rows of a column (of `only`, if it is given) into lists and writes their file.
    pub fn build(
        vectors: &VectorColumn,
        metric: Metric,
        params: IvfParams,
        only: Option<&RowSet>,
        control: &BuildControl,
        out: &mut dyn Write,
    ) -> Result<BuildStats> {
        build::build(vectors, metric, params, only, control, out)
    }

    /// Opens a file. Reads its head only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<IvfIndex> {
        let len = bytes.len() as u64;
        Ok(IvfIndex { head: Head::open(bytes, len)? })
    }

    /// Reads everything, compares it with its checksums and checks that every row exists.
    pub fn verify(&self) -> Result<()> {
        self.head.verify()
    }

    /// The metric it was built for.
    pub fn metric(&self) -> Metric {
        self.head.header.metric
    }

    /// Rows of the segment it was built over, NULLs included.
    pub fn rows(&self) -> u32 {
        self.head.header.rows
    }

    /// Lists that the file has.
    pub fn lists(&self) -> u32 {
        self.head.header.lists
    }

    /// Finds the `k` nearest of the allowed rows in the `probes` nearest lists, and in more while fewer than `k` were found.
    pub fn search(
        &self,
        vectors: &VectorColumn,
        query: &[f32],
        k: usize,
        probes: usize,
        allowed: Option<&RowSet>,
    ) -> SearchOutcome {
        let header = &self.head.header;
        let fits = vectors.rows() == header.rows && vectors.dim() == header.dim;
        let source = source::InPlace { head: &self.head, vectors };
        let found = fits.then(|| search::search(&self.head, &source, query, k, probes, allowed));
        match found {
            Some(Ok(Some(outcome))) => outcome,
            // Files in memory fail only where they are of different segments: then they are of no use for each other.
            _ => exact_outcome(vectors, header.metric, query, k, allowed),
        }
    }
}

/// The head of a file of lists: what is needed to know which parts of the rest a search wants.
#[derive(Clone, Debug)]
pub struct ListHead {
    head: Head,
}

impl ListHead {
    /// Bytes of the head of a file of so many lists over vectors of so many dimensions, or a little more.
    pub fn bytes_guess(lists: u32, dim: u16) -> u64 {
        format::head_bytes_max(lists, dim)
    }

    /// Bytes of the head of a file that begins so; 64 are enough. Nothing if the file's version is one that cannot be searched
    /// without having all of it.
    pub fn bytes_of(beginning: &[u8]) -> Result<Option<u64>> {
        format::head_bytes(beginning)
    }

    /// Opens the head of a file of `file_bytes`, and checks it. There may be more behind it.
    pub fn open(bytes: Mapped, file_bytes: u64) -> Result<ListHead> {
        Ok(ListHead { head: Head::open(bytes, file_bytes)? })
    }

    /// The metric the lists were built for.
    pub fn metric(&self) -> Metric {
        self.head.header.metric
    }

    /// Rows of the segment they were built over, NULLs included.
    pub fn rows(&self) -> u32 {
        self.head.header.rows
    }

    /// Dimensions of the vectors.
    pub fn dim(&self) -> u16 {
        self.head.header.dim
    }

    /// Memory that it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.head.memory_bytes()
    }

    /// Compares a list's bytes with their checksum and checks that its rows exist.
    pub fn check_list(&self, list: u32, bytes: &[u8]) -> Result<()> {
        self.head.check_list(list, bytes)
    }

    /// As [`IvfIndex::search`], with lists and vectors from a source: one round of each, and of both again while fewer than `k` were
    /// found. Nothing if all allowed rows have to be compared, because lists cannot answer or would be more work. Lists that are
    /// not wrong but incomplete (a source that leaves some out) give a worse answer, so a source fails instead.
    pub fn search(
        &self,
        source: &dyn ListSource,
        query: &[f32],
        k: usize,
        probes: usize,
        allowed: Option<&RowSet>,
    ) -> Result<Option<SearchOutcome>> {
        search::search(&self.head, source, query, k, probes, allowed)
    }
}

#[cfg(test)]
mod tests;
