//! One search of an opened graph: the way that is planned, the walk over codes, and the comparison of what it
//! found with the vectors themselves.

use super::codes::{FullScorer, L1Scorer, ProductScorer, Quantizer, Scorer, prepare};
use super::format::{GraphFile, Section};
use super::plan::{Patience, Plan};
use super::rabitq_codes::RabitqSieve;
use super::rows::NodeRows;
use super::scalar_sieve::ScalarSieve;
use super::sketch::{Certainty, answers, likely, scalar_codes, sketch};
use super::walk::{Candidate, Ending, FrozenLinks, Scratch, beam, filtered_beam, greedy};
use super::{HnswGraph, NodesCoder};
use crate::scorer::RowScorer;
use crate::segment::exact_outcome;
use crate::sieve::{BLOCK, Sketch, sieved_outcome};
use crate::{Effort, Metric, Rival, RowSet, SearchOutcome, Strategy, TopK, VectorColumn};

/// Beyond this many candidates a heap is cheaper than a sorted array.
const SORTED_BEAM_MAX: usize = 1024;

/// What to look for.
pub(super) struct Question<'a> {
    pub(super) vectors: &'a VectorColumn,
    pub(super) query: &'a [f32],
    pub(super) k: usize,
    pub(super) effort: Effort,
    pub(super) allowed: Option<&'a RowSet>,
}

impl Question<'_> {
    /// Rows that can be an answer.
    fn survivors(&self) -> u32 {
        self.allowed.map_or(self.vectors.present(), RowSet::len).min(self.vectors.present())
    }

    /// Whether all rows can: then a walk keeps all nodes.
    fn is_everything(&self) -> bool {
        self.allowed.is_none_or(|allowed| allowed.len() == self.vectors.rows())
    }

    /// What ends a walk sooner: one that keeps only some of the nodes goes on, whatever others have.
    fn rival(&self) -> Option<Rival> {
        self.effort.rival.filter(|_| self.is_everything())
    }

    /// The way to answer it.
    pub(super) fn plan(&self, graph: &HnswGraph) -> Plan {
        let (header, element) = (&graph.file.header, self.vectors.element());
        Plan::new(header, element, self.k, self.effort.ef, self.survivors(), self.rival())
    }
}

pub(super) fn search(graph: &HnswGraph, question: &Question<'_>) -> SearchOutcome {
    let metric = graph.metric();
    let Question { vectors, query, k, allowed, .. } = *question;
    if !answers(graph, vectors, query) || k == 0 {
        return exact_outcome(vectors, metric, query, k, allowed);
    }
    let plan = question.plan(graph);
    let rival = question.effort.rival.map(|rival| rival.score);
    let by_codes = || plan.by_codes.then(|| sketch(graph, vectors, query, Certainty::Likely)).flatten();
    let exact = || match by_codes() {
        Some(sketch) => sieved_outcome(&sketch, vectors, metric, query, k, allowed, rival),
        None => exact_outcome(vectors, metric, query, k, allowed),
    };
    if plan.exact {
        return SearchOutcome { expected: allowed.map(|_| plan.expected), ..exact() };
    }
    let question = Question {
        allowed: allowed.filter(|_| !question.is_everything()),
        effort: Effort { ef: plan.ef, rival: question.rival(), ..question.effort },
        ..*question
    };
    let mut scratch = Scratch::take();
    let outcome = with_scorer(graph, &question, &mut scratch, &plan);
    let compared = scratch.visited();
    drop(scratch);
    let expected = question.allowed.map(|_| plan.expected);
    let wanted = k.min(question.survivors() as usize);
    match outcome {
        // Beside other segments perhaps none is near enough.
        Some(outcome) if outcome.neighbors.len() >= wanted || question.effort.rival.is_some() => {
            SearchOutcome { expected, ..outcome }
        }
        // The walk gave up, or found too few: perhaps some of the survivors are NULL, perhaps not.
        short => {
            let mut outcome = exact();
            outcome.visited += short.map_or(compared, |short| short.visited);
            SearchOutcome { expected, ..outcome }
        }
    }
}

/// Walks with what the file's codes are compared by. `None` when the walk gave up.
pub(super) fn with_scorer(
    graph: &HnswGraph,
    question: &Question<'_>,
    scratch: &mut Scratch,
    plan: &Plan,
) -> Option<SearchOutcome> {
    let (file, metric) = (&graph.file, graph.file.header.metric);
    let Question { vectors, query, .. } = *question;
    match &graph.coder {
        NodesCoder::Full => {
            let rows = NodeRows::of(file);
            let row = |node: u32| rows.of_node(node).first().unwrap_or(node);
            let scorer = FullScorer { asked: RowScorer::new(vectors, metric, query), row };
            walk(graph, question, &scorer, None, scratch, plan)
        }
        NodesCoder::Rabitq(coder) => {
            let asked = coder.ask(file.section(Section::Codes), file.header.code_stride(), query);
            let deviations = likely(&asked);
            let sieve = RabitqSieve { asked, deviations, node: only_nodes };
            walk(graph, question, &sieve.asked, Some(&|nodes, to| sieve.lowers(nodes, to)), scratch, plan)
        }
        NodesCoder::Scalar(quantizer) => {
            let mut prepared = std::mem::take(&mut scratch.query_f32);
            prepare(metric, query, &mut prepared);
            let outcome = with_scalar_scorer(graph, quantizer, question, &prepared, scratch, plan);
            scratch.query_f32 = prepared;
            outcome
        }
    }
}

fn with_scalar_scorer(
    graph: &HnswGraph,
    quantizer: &Quantizer,
    question: &Question<'_>,
    prepared: &[f32],
    scratch: &mut Scratch,
    plan: &Plan,
) -> Option<SearchOutcome> {
    let codes = scalar_codes(&graph.file);
    if graph.metric() == Metric::L1 {
        let mut query = std::mem::take(&mut scratch.query_u8);
        query.clear();
        query.resize(codes.stride, 0);
        quantizer.encode(prepared, &mut query);
        let scorer = L1Scorer { codes, query: &query, step: quantizer.l1_step() };
        let outcome = walk(graph, question, &scorer, None, scratch, plan);
        scratch.query_u8 = query;
        return outcome;
    }
    let mut query = std::mem::take(&mut scratch.query_i8);
    query.clear();
    query.resize(codes.stride, 0);
    let unit = quantizer.round(prepared, &mut query);
    let (form, left_out) = quantizer.search_form(prepared, unit);
    let scorer = ProductScorer { codes, query: &query, form, left_out };
    let errors = graph.file.code_errors();
    let outcome = if errors.is_empty() {
        walk(graph, question, &scorer, None, scratch, plan)
    } else {
        let rounded = (query.as_slice().into(), unit);
        let sieve = ScalarSieve::new(graph.metric(), quantizer, codes, errors, prepared, rounded, only_nodes);
        walk(graph, question, &scorer, Some(&|nodes, to| sieve.lowers(nodes, to)), scratch, plan)
    };
    scratch.query_i8 = query;
    outcome
}

/// For a sieve that is asked for nodes.
fn only_nodes(_row: u32) -> Option<u32> {
    None
}

/// Writes numbers that the scores of some nodes, [`BLOCK`] at most, are surely not below, or hardly ever: see [`Sketch::lowers`].
type Lowers<'a> = &'a dyn Fn(&[u32], &mut [f64; BLOCK]);

/// Descends to the lowest level, walks there and compares what was found in full.
fn walk(
    graph: &HnswGraph,
    question: &Question<'_>,
    scorer: &impl Scorer,
    lowers: Option<Lowers<'_>>,
    scratch: &mut Scratch,
    plan: &Plan,
) -> Option<SearchOutcome> {
    let file = &graph.file;
    let header = &file.header;
    let rows = NodeRows::of(file);
    let mut visited = 0;
    let start = descend(file, scorer, &mut visited)?;
    let links =
        FrozenLinks { links: file.numbers(Section::Links), degree: header.degree(), points: header.nodes };
    let found_by_heap;
    let (found, strategy): (&[Candidate], Strategy) = match question.allowed {
        None if question.effort.ef <= SORTED_BEAM_MAX => {
            let beyond = question.effort.rival.map_or(f32::INFINITY, |rival| scorer.limit(rival.score));
            let ending = Ending { beyond, least: plan.looked_from };
            (beam(&links, scorer, start, question.effort.ef, ending, scratch), Strategy::Graph)
        }
        allowed => {
            let keep = |node: u32| {
                allowed.is_none_or(|allowed| rows.of_node(node).iter().any(|row| allowed.contains(row)))
            };
            let patience = if allowed.is_some() { plan.patience } else { Patience::ENDLESS };
            found_by_heap =
                filtered_beam(&links, scorer, start, question.effort.ef, patience, keep, scratch)?;
            let strategy = if allowed.is_some() { Strategy::FilteredGraph } else { Strategy::Graph };
            (&found_by_heap, strategy)
        }
    };
    let neighbors = compare_in_full(question, header.metric, found, &rows, lowers);
    Some(SearchOutcome { neighbors, visited: visited + scratch.visited(), strategy, expected: None })
}

/// From the top to the node where the walk at the lowest level starts. `None` in a damaged file.
fn descend(file: &GraphFile, scorer: &impl Scorer, visited: &mut u64) -> Option<u32> {
    let header = &file.header;
    let (nodes, upper) = (file.numbers(Section::UpperNodes), file.numbers(Section::UpperLinks));
    if header.level_counts.is_empty() {
        return (header.nodes > 0).then_some(0);
    }
    let scorer = SlotScorer { scorer, nodes, points: header.nodes };
    let mut slot = 0;
    for level in (1..=header.level_counts.len()).rev() {
        let links = FrozenLinks {
            links: upper.get(header.level_range(level))?,
            degree: header.upper_degree(),
            points: header.level_counts[level - 1],
        };
        slot = greedy(&links, &scorer, slot, visited);
    }
    nodes.get(slot as usize).copied().filter(|node| *node < header.nodes)
}

struct SlotScorer<'a, S> {
    scorer: &'a S,
    nodes: &'a [u32],
    points: u32,
}

impl<S: Scorer> Scorer for SlotScorer<'_, S> {
    fn score(&self, slot: u32) -> f32 {
        match self.nodes.get(slot as usize) {
            Some(node) if *node < self.points => self.scorer.score(*node),
            _ => f32::NAN,
        }
    }

    fn scores(&self, slots: [u32; 4]) -> [f32; 4] {
        let nodes = slots.map(|slot| self.nodes.get(slot as usize).copied().unwrap_or(u32::MAX));
        if nodes.iter().all(|node| *node < self.points) {
            return self.scorer.scores(nodes);
        }
        slots.map(|slot| self.score(slot))
    }

    fn prefetch(&self, slot: u32) {
        if let Some(node) = self.nodes.get(slot as usize) {
            self.scorer.prefetch(*node);
        }
    }
}

/// The lower of two bounds.
fn nearer(a: Option<f32>, b: Option<f32>) -> Option<f32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// Scores the candidates' rows by the vectors themselves and keeps the best. Candidates come the nearest first: once there are
/// enough rows, the codes of most of the others say that they are no better.
fn compare_in_full(
    question: &Question<'_>,
    metric: Metric,
    found: &[Candidate],
    rows: &NodeRows<'_>,
    lowers: Option<Lowers<'_>>,
) -> Vec<crate::Neighbor> {
    const AHEAD: usize = 2;
    let rival = question.effort.rival.map(|rival| rival.score);
    let vectors = question.vectors;
    let asked = RowScorer::new(vectors, metric, question.query);
    let mut top = TopK::new(question.k);
    let mut known = [f64::NEG_INFINITY; BLOCK];
    // Those of the first have nothing to be compared with yet.
    let unlimited = if rival.is_some() { 0 } else { question.k.min(found.len()) };
    for (at, candidate) in found.iter().enumerate() {
        if let (Some(lowers), Some(turn)) = (lowers, at.checked_sub(unlimited)) {
            if turn % BLOCK == 0 {
                let mut nodes = [0; BLOCK];
                let block = &found[at..found.len().min(at + BLOCK)];
                nodes.iter_mut().zip(block).for_each(|(node, candidate)| *node = candidate.point());
                lowers(&nodes[..block.len()], &mut known);
            }
            if nearer(top.bound(), rival).is_some_and(|bound| known[turn % BLOCK] > f64::from(bound)) {
                continue;
            }
        }
        if let Some(ahead) = found.get(at + AHEAD)
            && let Some(row) = rows.of_node(ahead.point()).first()
        {
            asked.prefetch(row);
        }
        // One comparison for all rows of a node: their vectors are the same.
        let mut score = None;
        for row in rows.of_node(candidate.point()).iter() {
            if question.allowed.is_some_and(|allowed| !allowed.contains(row)) {
                continue;
            }
            if vectors.is_present(row) {
                top.push(*score.get_or_insert_with(|| asked.score(row)), row);
            }
        }
    }
    top.into_neighbors()
}
