//! One search: the lists whose centres are nearest, their codes, then the full vectors of the rows that may be among the best. Goes
//! on through other lists until there is enough.

use super::build::space;
use super::codes::{Between, Question};
use super::format::{Head, ListRows};
use super::source::{ListSource, WantedList, WantedVector};
use crate::rabitq::Aim;
use crate::{Metric, RowSet, SearchOutcome, Strategy, TopK, distance};
use quiver_base::Result;

/// Candidates for each wanted row, and more: only where many rows are as far from the query as each other are there more.
const CANDIDATES_PER_K: usize = 8;
const CANDIDATES_MORE: usize = 256;
/// How many times as many rows as are wanted the lists of a filtered search are expected to hold.
const SPARE: f64 = 2.0;

/// A row that may be among the best.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    between: Between,
    wanted: WantedVector,
}

/// The k nearest of the allowed rows, or nothing if all of those have to be compared instead.
pub(super) fn search(
    head: &Head,
    source: &dyn ListSource,
    query: &[f32],
    k: usize,
    probes: usize,
    allowed: Option<&RowSet>,
) -> Result<Option<SearchOutcome>> {
    let header = &head.header;
    let norm = distance::dot(query, query);
    let usable = norm.is_finite() && (header.metric != Metric::Cosine || norm > 0.0);
    if !usable || query.len() != usize::from(header.dim) || k == 0 || header.lists == 0 {
        return Ok(None);
    }
    let survivors = allowed.map_or(header.linked, |allowed| allowed.len().min(header.linked)) as usize;
    let lists = header.lists as usize;
    let probed = header.linked as usize * probes.min(lists) / lists;
    if survivors <= source.exact_max(probed).max(k) || probes >= lists {
        return Ok(None);
    }
    let mut search = Search {
        head,
        source,
        query,
        allowed,
        question: head.coder.as_ref().map(|coder| coder.ask(query)),
        top: TopK::new(k),
        k,
        visited: header.lists.into(),
    };
    let order = search.nearest_lists();
    let (mut at, mut count) = (0, enough(head, &order, probes.max(1), k, survivors));
    while at < lists && search.top.len() < k {
        let end = lists.min(at + count);
        search.look_through(&order[at..end])?;
        (at, count) = (end, 2 * count);
    }
    // Perhaps some of the survivors are in no list, perhaps some are NULL.
    Ok((search.top.len() == k).then(|| search.outcome()))
}

/// How many of the nearest lists, `probes` at least, are likely to hold enough rows that a filter lets through.
fn enough(head: &Head, order: &[u32], probes: usize, k: usize, survivors: usize) -> usize {
    let share = survivors as f64 / f64::from(head.header.linked);
    let wanted = SPARE * k as f64 / share;
    let mut rows = 0.0;
    let holds_few = |list: &&u32| {
        let few = rows < wanted;
        rows += f64::from(head.list_len(**list));
        few
    };
    let expected = if share < 1.0 { order.iter().take_while(holds_few).count() } else { 0 };
    expected.max(probes)
}

struct Search<'a> {
    head: &'a Head,
    source: &'a dyn ListSource,
    query: &'a [f32],
    allowed: Option<&'a RowSet>,
    question: Option<Question<'a>>,
    top: TopK,
    k: usize,
    visited: u64,
}

impl Search<'_> {
    fn nearest_lists(&self) -> Vec<u32> {
        let space = space(self.head.header.metric);
        let mut centres = TopK::new(self.head.header.lists as usize);
        for (list, centre) in self.head.centres().chunks_exact(self.query.len()).enumerate() {
            centres.push(space.score(centre, self.query), list as u32);
        }
        centres.into_sorted().into_iter().map(|(_, list)| list).collect()
    }

    /// Takes the best rows of some lists: one round for the lists, one for the vectors.
    fn look_through(&mut self, lists: &[u32]) -> Result<()> {
        let place = |list: &u32| WantedList { list: *list, place: self.head.list_place(*list) };
        let wanted: Vec<_> = lists.iter().map(place).filter(|wanted| !wanted.place.is_empty()).collect();
        let mut candidates = Candidates::new(self.k);
        let (source, mut visited) = (self.source, 0);
        source.lists(&wanted, &mut |at, bytes| {
            visited += self.rate(wanted[at].list, bytes, &mut candidates);
        })?;
        self.visited += visited;
        let candidates = candidates.best();
        for some in candidates.chunks(source.vectors_at_once().max(1)) {
            // They come in order, so none after this one is nearer.
            if self.top.bound().is_some_and(|bound| some[0].between.least > bound) {
                break;
            }
            let wanted: Vec<WantedVector> = some.iter().map(|candidate| candidate.wanted).collect();
            let (metric, query, top) = (self.head.header.metric, self.query, &mut self.top);
            source.vectors(&wanted, &mut |at, vector| {
                top.push(metric.score(query, vector), wanted[at].row);
            })?;
            self.visited += wanted.len() as u64;
        }
        Ok(())
    }

    /// Offers the rows of a list; says how many codes were looked at.
    fn rate(&self, list: u32, bytes: &[u8], candidates: &mut Candidates) -> u64 {
        let rows = self.head.list_rows(list, bytes);
        let dim = self.query.len();
        let centre = self.head.centres().get(list as usize * dim..(list as usize + 1) * dim);
        let asked = self.question.as_ref().zip(centre).map(|(asked, centre)| (asked, asked.aim(centre)));
        let mut looked = 0;
        for at in 0..rows.rows.len() {
            if self.allowed.is_none_or(|allowed| allowed.contains(rows.rows[at])) {
                candidates.offer(self.candidate(&rows, at, &asked));
                looked += u64::from(asked.is_some());
            }
        }
        looked
    }

    #[inline]
    fn candidate(&self, rows: &ListRows<'_>, at: usize, asked: &Option<(&Question<'_>, Aim)>) -> Candidate {
        let anywhere = Between { least: f32::NEG_INFINITY, most: f32::INFINITY };
        let between = asked.as_ref().map_or(anywhere, |(question, aim)| {
            let bytes = self.head.header.code_bytes();
            question.score(*aim, rows.codes.get(at * bytes..(at + 1) * bytes).unwrap_or_default())
        });
        let crc32c = rows.checksums.get(at).copied().unwrap_or(0);
        Candidate { between, wanted: WantedVector { row: rows.rows[at], crc32c } }
    }

    fn outcome(self) -> SearchOutcome {
        let strategy = if self.allowed.is_some() { Strategy::FilteredLists } else { Strategy::Lists };
        SearchOutcome {
            neighbors: self.top.into_neighbors(),
            visited: self.visited,
            strategy,
            expected: None,
        }
    }
}

/// Where a bound is no number, nothing is known.
#[inline]
fn may_be_within(least: f32, bound: f32) -> bool {
    least <= bound || least.is_nan() || bound.is_nan()
}

/// Rows that may be among the best k of those offered.
struct Candidates {
    k: usize,
    /// The k least of the greatest scores that rows may have: what may be less than the last of them may be among the best.
    most: TopK,
    kept: Vec<Candidate>,
    coded: bool,
}

impl Candidates {
    fn new(k: usize) -> Candidates {
        Candidates { k, most: TopK::new(k), kept: Vec::new(), coded: false }
    }

    #[inline]
    fn offer(&mut self, candidate: Candidate) {
        let Between { least, most } = candidate.between;
        if self.most.bound().is_none_or(|bound| may_be_within(least, bound)) {
            self.coded |= most < f32::INFINITY;
            self.most.push(most, candidate.wanted.row);
            self.kept.push(candidate);
        }
    }

    /// The candidates that are left, the most hopeful first.
    fn best(mut self) -> Vec<Candidate> {
        if !self.coded {
            return self.kept;
        }
        if let Some(bound) = self.most.bound() {
            self.kept.retain(|candidate| may_be_within(candidate.between.least, bound));
        }
        let order = |a: &Candidate, b: &Candidate| {
            a.between.least.total_cmp(&b.between.least).then(a.wanted.row.cmp(&b.wanted.row))
        };
        self.kept.sort_unstable_by(order);
        self.kept.truncate(CANDIDATES_PER_K * self.k + CANDIDATES_MORE);
        self.kept
    }
}
