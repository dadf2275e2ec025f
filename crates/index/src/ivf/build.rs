//! From a vector column to a file of lists: a sample, its centres, each row to its nearest one, and the codes of each list.

use super::IvfParams;
use super::codes::{ListCoder, bits_for, origin};
use super::format::{Header, NEWEST, new_list, seal, write_head};
use super::kmeans::{Space, assign, centres, check};
use crate::rowset::positions;
use crate::{BuildControl, BuildStats, Metric, RowSet, VectorColumn, distance};
use quiver_base::{Error, Result};
use std::io::Write;
use std::sync::atomic::Ordering;

/// Vectors of the sample for each list, and at least.
const SAMPLE_PER_LIST: usize = 50;
const SAMPLE_MIN: usize = 10_000;
/// Rows that are assigned, or encoded, between two looks at the outside.
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
    let mut buffer = Vec::new();
    let rows: Vec<u32> = positions(vectors.presence_words().iter().copied())
        .filter(|row| only.is_none_or(|only| only.contains(*row)))
        .filter(|row| can_link(metric, vectors.widened(*row, &mut buffer)))
        .collect();
    let (dim, space) = (usize::from(vectors.dim()), space(metric));
    let lists = usize::from(params.lists.max(1)).min(rows.len());
    let sampled = rows.len().min(SAMPLE_MIN.max(lists * SAMPLE_PER_LIST));
    let bytes = (sampled + 2 * ASSIGN_ROWS + 3 * lists) * dim * 4 + rows.len() * 12;
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
        version: NEWEST,
        metric,
        dim: vectors.dim(),
        rows: vectors.rows(),
        lists: lists as u32,
        linked: rows.len() as u32,
        bits: bits_for(metric, vectors.dim()),
        length: centre_length(metric, vectors, &spread(&rows, sampled)),
    };
    let lists = Lists { header, vectors, centres: &centres, starts: &starts, rows: &listed };
    let file_bytes = lists.write(control, out)?;
    Ok(BuildStats { rows: lists.header.rows, nodes: lists.header.linked, file_bytes })
}

/// For inner products centres say only where vectors point: those of codes are as long as vectors are on average.
fn centre_length(metric: Metric, vectors: &VectorColumn, rows: &[u32]) -> f32 {
    if metric != Metric::InnerProduct || rows.is_empty() {
        return 1.0;
    }
    let mut buffer = Vec::new();
    let mut norm = |row: &u32| f64::from(distance::norm(vectors.widened(*row, &mut buffer)));
    let total: f64 = rows.iter().map(&mut norm).sum();
    (total / rows.len() as f64) as f32
}

/// What is to be written.
struct Lists<'a> {
    header: Header,
    vectors: &'a VectorColumn,
    centres: &'a [f32],
    starts: &'a [u32],
    rows: &'a [u32],
}

impl Lists<'_> {
    /// Writes the file; returns its length.
    fn write(&self, control: &BuildControl, out: &mut dyn Write) -> Result<u64> {
        let coder = match self.header.bits {
            0 => None,
            _ => {
                let origin = origin(&self.header, self.centres);
                Some((ListCoder::new(&self.header, &origin)?, origin))
            }
        };
        let origin = coder.as_ref().map_or(&[][..], |(_, origin)| origin);
        let coder = coder.as_ref().map(|(coder, _)| coder);
        let mut bytes = write_head(&self.header, self.centres, self.starts, origin, out)?;
        let mut list = 0;
        while list < self.header.lists {
            check(&control.cancel)?;
            let end = self.batch_end(list);
            for encoded in self.encode_batch(list, end, coder, control.threads) {
                out.write_all(&encoded).map_err(|e| Error::io("writing ivfflat lists", e))?;
                bytes += encoded.len() as u64;
            }
            list = end;
        }
        Ok(bytes)
    }

    /// Lists from `first` on that are encoded together.
    fn batch_end(&self, first: u32) -> u32 {
        let most = self.starts[first as usize].saturating_add(ASSIGN_ROWS as u32);
        let fits = self.starts[first as usize + 1..].partition_point(|end| *end <= most);
        first + fits.max(1) as u32
    }

    fn encode_batch(&self, first: u32, end: u32, coder: Option<&ListCoder>, threads: usize) -> Vec<Vec<u8>> {
        let lists: Vec<u32> = (first..end).collect();
        let share = lists.len().div_ceil(threads.max(1)).max(1);
        std::thread::scope(|scope| {
            let encode = |lists: &[u32]| lists.iter().map(|list| self.encode(*list, coder)).collect();
            let workers: Vec<_> = lists
                .chunks(share)
                .map(|lists| scope.spawn(move || -> Vec<Vec<u8>> { encode(lists) }))
                .collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    fn encode(&self, list: u32, coder: Option<&ListCoder>) -> Vec<u8> {
        let (at, dim) = (list as usize, usize::from(self.header.dim));
        let rows = &self.rows[self.starts[at] as usize..self.starts[at + 1] as usize];
        let checksums: Vec<u32> =
            rows.iter().map(|row| crc32c::crc32c(self.vectors.row_bytes(*row))).collect();
        let (mut bytes, codes) = new_list(&self.header, rows, &checksums);
        if let Some(coder) = coder {
            let centre = coder.centre(&self.centres[at * dim..(at + 1) * dim]);
            let mut buffer = Vec::new();
            for (row, code) in rows.iter().zip(bytes[codes].chunks_exact_mut(self.header.code_bytes())) {
                coder.encode(self.vectors.widened(*row, &mut buffer), &centre, code);
            }
        }
        seal(list, &mut bytes);
        bytes
    }
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
        let mut buffer = Vec::new();
        for row in rows {
            let vector = vectors.widened(*row, &mut buffer);
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
