//! Which way of answering is cheapest: walking, comparing every row that is allowed, or looking at its code first. Knows
//! costs, and nothing of how any of it is done.

use super::calibrate::widened;
use super::format::{CodeKind, Header};
use super::search::Question;

/// What rounding a query costs before the first code is looked at, in nanoseconds.
const SIEVE_START_NS: f64 = 1500.0;
/// Rows that codes cannot rule out, besides some for each row that is wanted.
const SIEVE_COMPARED: f64 = 40.0;

/// How many times the walk's expected cost an exact answer may have. What a filter lets through is often far from the query,
/// and then a walk is two or three times as long as one of rows at random; one that gives up costs both.
const DOUBT: f64 = 2.5;
/// The share of the exact answer's cost after which a walk gives up.
const GIVEN_UP: f64 = 0.7;

/// The cheaper way, by the number of vectors each is expected to compare.
pub(super) struct Plan {
    /// Whether to look at every allowed row.
    pub(super) exact: bool,
    /// If so, whether at its code first.
    pub(super) by_codes: bool,
    pub(super) ef: usize,
    /// Where a filtered walk gives up.
    pub(super) compared_max: u64,
}

impl Plan {
    pub(super) fn new(header: &Header, question: &Question<'_>, survivors: u32) -> Plan {
        let ef = effort(header, question.k, question.ef);
        // Nanoseconds of one comparison, measured: rows are read one after the other, nodes here and there.
        let dim = f64::from(header.dim);
        let row_ns = 4.0 + if survivors < header.rows / 2 { 0.45 * dim } else { 0.2 * dim };
        let node_ns = match header.codes {
            CodeKind::Full => 30.0 + 0.5 * dim,
            _ => 30.0 + 0.14 * header.code_stride() as f64,
        };
        let share = f64::from(survivors) / f64::from(header.linked_rows.max(1));
        // Candidates grow as fewer are allowed; comparisons grow more slowly, as measured: ever more of a
        // candidate's links were met before.
        let candidates = ef as f64 / share.max(1e-9);
        let walked = 3.4 * f64::from(header.params.m) * candidates.powf(0.75);
        let plain_ns = f64::from(survivors) * row_ns;
        let compared = SIEVE_COMPARED + 3.0 * question.k as f64;
        let bounded = matches!(header.codes, CodeKind::Rabitq(_)) || header.has_code_errors();
        let sieved_ns = match bounded {
            true => SIEVE_START_NS + f64::from(survivors) * code_ns(header) + compared * row_ns,
            false => f64::INFINITY,
        };
        let exact_ns = plain_ns.min(sieved_ns);
        Plan {
            exact: exact_ns <= DOUBT * walked.min(f64::from(header.nodes)) * node_ns,
            by_codes: sieved_ns < plain_ns,
            ef,
            compared_max: (exact_ns / node_ns * GIVEN_UP) as u64,
        }
    }
}

/// Candidates that a walk keeps.
pub(super) fn effort(header: &Header, k: usize, ef: usize) -> usize {
    // Some more than k: the last of exactly k candidates would hardly be the k nearest.
    let ef = ef.max(k + k / 4);
    let ef = if let CodeKind::Rabitq(_) = header.codes { widened(k, ef, header.widths) } else { ef };
    ef.min(header.nodes as usize).max(1)
}

/// Nanoseconds to look at one code of a row among others.
fn code_ns(header: &Header) -> f64 {
    5.0 + 0.14 * header.code_stride() as f64
}
