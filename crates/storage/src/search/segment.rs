//! Search in a sealed segment: through an index if it has one for the distance asked for, else exactly.

use super::memory::Rows;
use super::parallel::{idle, side_by_side};
use super::source::Source;
use super::{Hit, PIECE_NS, Search, THREAD_WORTH, VectorQuery};
use crate::code_cache::ColumnCodes;
use crate::sealed::Sealed;
use crate::snapshot::Locator;
use crate::snapshot::part::Part;
use crate::visibility::Alive;
use crate::{Opened, Segment, VectorIndexDef};
use arrow::array::Array;
use quiver_base::{Error, IndexId, Result};
use quiver_index::{
    AskedCodes, Effort, Neighbor, Rival, RowSet, SearchOutcome, SparseVector, VectorColumn, VectorIndex,
    compare_scores, search_segment, sifted_search,
};
use std::sync::Arc;

/// A segment's share of all rows up to which it hardly has any of the nearest.
const FEW_OF_ALL: u64 = 16;
/// The share of its candidates that a walk looks from although they are farther than what other segments have; there, and otherwise.
const LOOKED_FROM_IN_FEW: f64 = 0.25;
const LOOKED_FROM: f64 = 0.5;

impl Search<'_> {
    /// The k nearest rows of a segment.
    pub(super) fn in_segment(&mut self, part: u32, sealed: &Sealed, allowed: &Alive) -> Result<Vec<Hit>> {
        self.stats.segments += 1;
        let segment = &sealed.segment;
        if let Some(query) = &self.query.sparse {
            return self.in_sparse_segment(part, sealed, query, allowed);
        }
        if let Some(hits) = self.in_cold_segment(part, sealed, allowed)? {
            return Ok(hits);
        }
        let Some(vectors) = self.source.flat_file(segment)? else {
            return self.in_rows(part, sealed, allowed);
        };
        let graph = if self.query.exact { None } else { self.graph(segment)? };
        let allowed = allowed.as_filter();
        let outcome = match graph.as_ref().map(|graph| &***graph) {
            None => match self.segment_codes(segment, &vectors) {
                Some((codes, asked)) => self.sifted(&vectors, &codes, asked, allowed),
                None => self.exact_outcome(&vectors, allowed)?,
            },
            Some(graph) => self.through_index(&vectors, graph, allowed)?,
        };
        self.stats.rows_visited += outcome.visited;
        let expected = outcome.expected.unwrap_or_default();
        self.stats.walk_expected += expected.walk;
        self.stats.exact_expected += expected.exact;
        *self.strategies.entry(outcome.strategy.to_string()).or_default() += 1;
        Ok(self.hits_of(part, sealed, &vectors, &outcome))
    }

    /// Codes of a segment that has not got the index of this search yet. Of what is to have none they would take memory for good.
    fn segment_codes(
        &self,
        segment: &Segment,
        vectors: &VectorColumn,
    ) -> Option<(Arc<ColumnCodes>, &AskedCodes)> {
        let Source::Column(column) = self.source else { return None };
        if !self.waits_for_index(segment) || usize::from(vectors.dim()) != self.query.query.len() {
            return None;
        }
        let asked = self.asked_codes()?;
        Some((segment.codes(column, vectors)?, asked))
    }

    /// Whether a segment is to get the index that is asked for.
    pub(super) fn waits_for_index(&self, segment: &Segment) -> bool {
        self.query.index.is_some_and(|index| segment.meta().graph(index).is_none())
    }

    fn sifted(
        &self,
        vectors: &VectorColumn,
        codes: &ColumnCodes,
        asked: &AskedCodes,
        allowed: Option<&RowSet>,
    ) -> SearchOutcome {
        let VectorQuery { metric, query, k, .. } = self.query;
        sifted_search(vectors, (&codes.codes, asked), (*metric, query), *k, allowed, self.rival_score())
    }

    /// A score that none of the best k so far is above, once there are k.
    pub(super) fn rival_score(&self) -> Option<f32> {
        self.bound().map(|distance| self.query.metric.score_bound(distance))
    }

    /// Looks at all rows: pieces of many rows side by side.
    fn exact_outcome(&self, vectors: &VectorColumn, allowed: Option<&RowSet>) -> Result<SearchOutcome> {
        let rows = allowed.map_or(vectors.rows(), RowSet::len);
        // As many f32 would be as long.
        let numbers = u64::from(rows) * vectors.element().row_bytes(vectors.dim()) as u64 / 4;
        self.in_pieces(numbers / THREAD_WORTH, self.query.effort, vectors, None, allowed)
    }

    /// The same of the rows that a filter leaves, if that is what the index is going to do; else its walk, which is one piece.
    fn through_index(
        &self,
        vectors: &VectorColumn,
        index: &VectorIndex,
        allowed: Option<&RowSet>,
    ) -> Result<SearchOutcome> {
        let effort = self.effort_among(vectors.rows());
        match index.exact_cost(vectors, self.query.k, effort, allowed) {
            Some((nanos, expected)) => {
                let pieces = (nanos / PIECE_NS) as u64;
                let outcome = self.in_pieces(pieces, effort, vectors, Some(index), allowed)?;
                Ok(SearchOutcome { expected: allowed.map(|_| expected), ..outcome })
            }
            None => Ok(outcome(self.query, effort, vectors, Some(index), allowed)),
        }
    }

    /// How hard a segment of so many rows is searched: as the query says, if it has all rows there are, else so much less that it finds as many of its
    /// nearest rows as one graph over all would, and no longer than for what is nearer than k rows of others. With a filter as hard as the query says.
    fn effort_among(&self, rows: u32) -> Effort {
        let effort = self.query.effort;
        if self.query.filter.is_some() {
            return effort;
        }
        let ef = ef_among(effort.ef, rows, self.rows);
        let is_few = u64::from(rows) * FEW_OF_ALL <= self.rows;
        let looked_from = if is_few { LOOKED_FROM_IN_FEW } else { LOOKED_FROM };
        let rival = |score| Rival { score, looked_from };
        Effort { ef, rival: self.rival_score().map(rival), ..effort }
    }

    /// Looks at all rows in so many pieces, or as many as there are processors for them: each begins anew to look for a bound.
    fn in_pieces(
        &self,
        pieces: u64,
        effort: Effort,
        vectors: &VectorColumn,
        index: Option<&VectorIndex>,
        allowed: Option<&RowSet>,
    ) -> Result<SearchOutcome> {
        let query = self.query;
        let pieces = pieces.min(idle() as u64 + 1) as u32;
        if pieces < 2 {
            return Ok(outcome(query, effort, vectors, index, allowed));
        }
        let all;
        let allowed = match allowed {
            Some(allowed) => allowed,
            None => {
                all = RowSet::full(vectors.rows());
                &all
            }
        };
        // Among some of the rows only, a walk is no shorter.
        let effort = Effort { ef: query.effort.ef, ..effort };
        let found = side_by_side(pieces as usize, |piece| {
            Ok(outcome(query, effort, vectors, index, Some(&allowed.share(piece as u32, pieces))))
        })?;
        let mut found = found.into_iter();
        let mut all = found.next().ok_or_else(|| Error::internal("a search of no pieces"))?;
        for piece in found {
            all.visited += piece.visited;
            all.neighbors.extend(piece.neighbors);
        }
        all.neighbors.sort_by(|a, b| compare_scores(a.score, b.score).then(a.row.cmp(&b.row)));
        all.neighbors.truncate(query.k);
        Ok(all)
    }

    fn hits_of(
        &self,
        part: u32,
        sealed: &Sealed,
        vectors: &VectorColumn,
        outcome: &SearchOutcome,
    ) -> Vec<Hit> {
        let mut buffer = Vec::new();
        let mut distance = |row| {
            let vector = vectors.get(row, &mut buffer)?;
            Some(self.query.metric.distance_between(&self.query.query, vector))
        };
        let mut hit = |row: u32| {
            let row_id = sealed.meta().row_ids.row_id(row)?;
            Some(Hit { distance: distance(row), row_id, locator: Locator { part, row } })
        };
        outcome.neighbors.iter().filter_map(|neighbor| hit(neighbor.row)).collect()
    }

    /// Inverted lists are exact, so they serve whoever asks.
    fn in_sparse_segment(
        &mut self,
        part: u32,
        sealed: &Sealed,
        query: &SparseVector,
        allowed: &Alive,
    ) -> Result<Vec<Hit>> {
        let index = self.graph(&sealed.segment)?;
        let Some(VectorIndex::Sparse(lists)) = index.as_ref().map(|index| &***index) else {
            return self.in_rows(part, sealed, allowed);
        };
        let outcome = lists.search(self.query.metric, query, self.query.k, allowed.as_filter());
        self.stats.rows_visited += outcome.visited;
        *self.strategies.entry(outcome.strategy.to_string()).or_default() += 1;
        let hit = |neighbor: &Neighbor| {
            let row_id = sealed.meta().row_ids.row_id(neighbor.row)?;
            let distance = Some(self.query.metric.distance(neighbor.score));
            Some(Hit { distance, row_id, locator: Locator { part, row: neighbor.row } })
        };
        Ok(outcome.neighbors.iter().filter_map(hit).collect())
    }

    /// The index asked for; else one of the whole column for the distance asked for that has been built.
    pub(super) fn index_for(&self, segment: &Segment) -> Option<IndexId> {
        let built = |index: &&VectorIndexDef| {
            index.whole_column() == Some(self.query.column)
                && index.metric == self.query.metric
                && segment.meta().graph(index.id).is_some()
        };
        self.query.index.or_else(|| Some(self.layout.vector_indexes.iter().find(built)?.id))
    }

    fn graph(&self, segment: &Segment) -> Result<Option<Arc<Opened<VectorIndex>>>> {
        self.index_for(segment).map_or(Ok(None), |index| segment.graph(index))
    }

    /// Exact search over vectors that have no flat file: those that differ in dimension, are younger than the segment, or are computed
    /// and not yet indexed.
    fn in_rows(&mut self, part: u32, sealed: &Sealed, allowed: &Alive) -> Result<Vec<Hit>> {
        *self.strategies.entry("exact".to_owned()).or_default() += 1;
        let (mut all, container) = (Vec::new(), Part::Segment(sealed.clone()));
        let groups = sealed.segment.row_groups()?.into_iter();
        let pieces = groups.flat_map(|range| self.source.pieces(range));
        for range in pieces.filter(|range| allowed.any(range.clone())) {
            let vectors = self.source.vectors(&container, self.layout, range.clone())?;
            let ids = sealed.segment.row_ids(range.clone());
            let rows = Rows { part, first: range.start, ids: &ids };
            let (hits, compared) = self.exact(&vectors, &rows, allowed)?;
            self.stats.rows_visited += compared;
            all.extend(hits);
        }
        Ok(all)
    }

    /// The first k rows out of `allowed`, in order of row id, whose vector is NULL.
    pub(super) fn null_rows(&self, container: &Part, allowed: &Alive) -> Result<Vec<u32>> {
        let mut rows = Vec::new();
        if let Part::Segment(sealed) = container {
            if let Some(rows) = self.cold_null_rows(&sealed.segment, allowed)? {
                return Ok(rows);
            }
            if let Some(vectors) = self.source.flat_file(&sealed.segment)? {
                let null = |row: &u32| !vectors.is_present(*row) && allowed.contains(*row);
                return Ok((0..container.rows()).filter(null).take(self.query.k).collect());
            }
            let groups = sealed.segment.row_groups()?.into_iter();
            for range in groups.flat_map(|range| self.source.pieces(range)) {
                let vectors = self.source.vectors(container, self.layout, range.clone())?;
                let null =
                    |row: &u32| vectors.is_null((row - range.start) as usize) && allowed.contains(*row);
                rows.extend(range.clone().filter(null));
            }
            return Ok(rows);
        }
        for range in self.source.pieces(0..container.rows()) {
            let vectors = self.source.vectors(container, self.layout, range.clone())?;
            let null = |row: &u32| vectors.is_null((row - range.start) as usize) && allowed.contains(*row);
            rows.extend(range.clone().filter(null));
        }
        Ok(rows)
    }
}

/// Candidates that a walk keeps for the recall that `ef` has in one graph over `all` rows. Walks grow with the logarithm of the rows; measured on WordNet
/// (decision 15), 1,300 to 41,600 of 115,659 rows need 0.5 to 0.8 of the candidates, this gives 0.5 to 0.87.
fn ef_among(ef: usize, rows: u32, all: u64) -> usize {
    let log = |rows: u64| (rows.max(3) as f64).ln();
    let share = log(rows.into()) / log(all.max(rows.into()));
    (ef as f64 * share.powf(1.5)).ceil() as usize
}

fn outcome(
    query: &VectorQuery,
    effort: Effort,
    vectors: &VectorColumn,
    graph: Option<&VectorIndex>,
    allowed: Option<&RowSet>,
) -> SearchOutcome {
    let VectorQuery { metric, query, k, exact, .. } = query;
    search_segment(vectors, graph, *metric, query, *k, effort, allowed, *exact)
}

#[cfg(test)]
mod tests {
    use super::ef_among;

    #[test]
    fn small_segments_need_fewer_candidates() {
        assert_eq!(ef_among(80, 100_000, 100_000), 80);
        assert_eq!(ef_among(80, 100_000, 7), 80);
        let some: Vec<usize> =
            [0, 1_300, 2_600, 10_400, 41_600].map(|rows| ef_among(80, rows, 115_659)).into();
        assert_eq!(some, [3, 39, 45, 57, 70]);
    }
}
