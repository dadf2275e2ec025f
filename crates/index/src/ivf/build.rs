//! From a vector column to a file of lists: a sample, its centres, and each row to its nearest one.

use super::IvfParams;
use super::format::{Header, write};
use super::kmeans::{Space, assign, centres};
use crate::mapped::as_bytes;
use crate::rowset::positions;
use crate::{BuildControl, BuildStats, Metric, RowSet, VectorColumn, distance};
use quiver_base::Result;
use std::io::Write;
use std::sync::atomic::Ordering;

/// Vectors of the sample for each list, and at least.
const SAMPLE_PER_LIST: usize = 50;
const SAMPLE_MIN: usize = 10_000;
/// Rows that are assigned between two looks at the outside.
const ASSIGN_ROWS: usize = 16 * 1024;

/// In which space the lists of a metric lie.
pub(super) fn space(metric: Metric) -> Space {
    match metric {
        Metric::L2 | Metric::L1 | Metric::Jaccard => Space::Flat,
        Metric::InnerProduct | Metric::Cosine => Space::Sphere,
    }
}

pub(super) fn build(
    vectors: &VectorColumn,
    metric: Metric,
    params: IvfParams,
    only: Option<&RowSet>,
    control: &BuildControl,
    out: &mut dyn Write,
) -> Result<BuildStats> {
    let rows: Vec<u32> = positions(vectors.presence_words().iter().copied())
        .filter(|row| only.is_none_or(|only| only.contains(*row)))
        .filter(|row| can_link(metric, vectors.raw(*row)))
        .collect();
    let (dim, space) = (usize::from(vectors.dim()), space(metric));
    let lists = usize::from(params.lists.max(1)).min(rows.len());
    let sampled = rows.len().min(SAMPLE_MIN.max(lists * SAMPLE_PER_LIST));
    let bytes = (sampled + ASSIGN_ROWS + 3 * lists) * dim * 4 + rows.len() * 12;
    let _memory = control.memory.try_reserve("Building an ivfflat index", bytes)?;
    let centres = if lists == 0 {
        Vec::new()
    } else {
        let sample = Prepared::of(space, vectors, &spread(&rows, sampled));
        centres(space, &sample.rows(), lists, control.threads, &control.cancel)?
    };
    let mut owners = vec![0u32; rows.len()];
    for (rows, owners) in rows.chunks(ASSIGN_ROWS).zip(owners.chunks_mut(ASSIGN_ROWS)) {
        let some = Prepared::of(space, vectors, rows);
        assign(space, &some.rows(), &centres, dim, control.threads, owners, &control.cancel)?;
        control.done_rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
    }
    let (starts, listed) = sorted(&rows, &owners, lists);
    let header = Header {
        metric,
        dim: vectors.dim(),
        rows: vectors.rows(),
        lists: lists as u32,
        linked: rows.len() as u32,
    };
    let file_bytes = write(&header, [as_bytes(&centres), as_bytes(&starts), as_bytes(&listed)], out)?;
    Ok(BuildStats { rows: header.rows, nodes: header.linked, file_bytes })
}

/// Rows whose distances are numbers; others are found exactly, when so many are asked for.
fn can_link(metric: Metric, vector: &[f32]) -> bool {
    let square = distance::dot(vector, vector);
    square.is_finite() && (metric != Metric::Cosine || square > 0.0)
}

/// Some rows, evenly over all.
fn spread(rows: &[u32], count: usize) -> Vec<u32> {
    (0..count).map(|at| rows[(at as u128 * rows.len() as u128 / count as u128) as usize]).collect()
}

/// Vectors as the centres see them.
struct Prepared {
    dim: usize,
    values: Vec<f32>,
}

impl Prepared {
    fn of(space: Space, vectors: &VectorColumn, rows: &[u32]) -> Prepared {
        let dim = usize::from(vectors.dim());
        let mut values = Vec::with_capacity(rows.len() * dim);
        for row in rows {
            let vector = vectors.raw(*row);
            let norm = if space == Space::Sphere { distance::norm(vector) } else { 1.0 };
            let scale = if norm > 0.0 { 1.0 / norm } else { 1.0 };
            values.extend(vector.iter().map(|value| value * scale));
        }
        Prepared { dim, values }
    }

    fn rows(&self) -> Vec<&[f32]> {
        self.values.chunks_exact(self.dim).collect()
    }
}

/// Where each list begins, and the rows list after list.
fn sorted(rows: &[u32], owners: &[u32], lists: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; lists + 1];
    owners.iter().for_each(|owner| starts[*owner as usize + 1] += 1);
    (0..lists).for_each(|list| starts[list + 1] += starts[list]);
    let mut next = starts.clone();
    let mut listed = vec![0u32; rows.len()];
    for (row, owner) in rows.iter().zip(owners) {
        let place = &mut next[*owner as usize];
        listed[*place as usize] = *row;
        *place += 1;
    }
    (starts, listed)
}
