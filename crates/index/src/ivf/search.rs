//! One search: the lists whose centres are nearest, and on through the others until there is enough.

use super::build::space;
use super::format::ListFile;
use crate::segment::exact_outcome;
use crate::{Metric, RowSet, SearchOutcome, Strategy, TopK, VectorColumn, distance};

pub(super) fn search(
    file: &ListFile,
    vectors: &VectorColumn,
    query: &[f32],
    k: usize,
    probes: usize,
    allowed: Option<&RowSet>,
) -> SearchOutcome {
    let header = &file.header;
    let exact = || exact_outcome(vectors, header.metric, query, k, allowed);
    let matches = vectors.rows() == header.rows && vectors.dim() == header.dim;
    let norm = distance::dot(query, query);
    let usable = norm.is_finite() && (header.metric != Metric::Cosine || norm > 0.0);
    if !matches || !usable || query.len() != usize::from(header.dim) || k == 0 || header.lists == 0 {
        return exact();
    }
    let survivors = allowed.map_or(vectors.present(), RowSet::len).min(vectors.present()) as usize;
    let probed = header.linked as usize * probes.min(header.lists as usize) / header.lists as usize;
    // Comparing all that are left costs no more than the lists would.
    if survivors <= probed.max(k) || probes >= header.lists as usize {
        return exact();
    }
    let space = space(header.metric);
    let mut centres = TopK::new(header.lists as usize);
    for (list, centre) in file.centres().chunks_exact(usize::from(header.dim)).enumerate() {
        centres.push(space.score(centre, query), list as u32);
    }
    let mut top = TopK::new(k);
    let mut visited = u64::from(header.lists);
    for (at, (_, list)) in centres.into_sorted().into_iter().enumerate() {
        if at >= probes && top.len() >= k {
            break;
        }
        for row in file.list(list) {
            if allowed.is_some_and(|allowed| !allowed.contains(*row)) {
                continue;
            }
            if let Some(vector) = vectors.get(*row) {
                visited += 1;
                top.push(header.metric.score(query, vector), *row);
            }
        }
    }
    if top.len() < k.min(survivors) {
        // Perhaps some of the survivors are in no list, perhaps some are NULL.
        let mut outcome = exact();
        outcome.visited += visited;
        return outcome;
    }
    let strategy = if allowed.is_some() { Strategy::FilteredLists } else { Strategy::Lists };
    SearchOutcome { neighbors: top.into_neighbors(), visited, strategy }
}
