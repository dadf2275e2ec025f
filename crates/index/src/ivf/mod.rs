//! Lists of one segment's vectors around centres found by k-means: built once, searched list by list, nearest centre first.

mod build;
mod format;
mod kmeans;
mod search;

use crate::{BuildControl, BuildStats, Mapped, Metric, RowSet, SearchOutcome, VectorColumn};
use format::ListFile;
use quiver_base::Result;
use serde::{Deserialize, Serialize};
use std::io::Write;

pub(crate) use format::is_list_file;

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
    file: ListFile,
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

    /// Opens a file. Reads the header only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<IvfIndex> {
        Ok(IvfIndex { file: ListFile::open(bytes)? })
    }

    /// Reads everything, compares it with its checksums and checks that every row exists.
    pub fn verify(&self) -> Result<()> {
        self.file.verify()
    }

    /// The metric it was built for.
    pub fn metric(&self) -> Metric {
        self.file.header.metric
    }

    /// Rows of the segment it was built over, NULLs included.
    pub fn rows(&self) -> u32 {
        self.file.header.rows
    }

    /// Lists that the file has.
    pub fn lists(&self) -> u32 {
        self.file.header.lists
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
        search::search(&self.file, vectors, query, k, probes, allowed)
    }
}

#[cfg(test)]
mod tests;
