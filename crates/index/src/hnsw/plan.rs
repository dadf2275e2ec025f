//! Which way of answering is cheapest: walking, comparing every row that is allowed, or looking at its code first. Knows
//! costs, and nothing of how any of it is done.

use super::calibrate::widened;
use super::format::{CodeKind, Header};
use crate::{Element, Expected, Rival};

/// What rounding a query costs before the first code is looked at, in nanoseconds.
const SIEVE_START_NS: f64 = 1500.0;
/// Rows that codes cannot rule out, besides some for each row that is wanted.
const SIEVE_COMPARED: f64 = 40.0;

/// Up to so many bytes codes stay in a processor's own cache from one search to the next; what they and nodes cost then, of what they cost
/// where they have to be waited for. Measured: 21 ns a code and 26 a node of 2,600 rows of 384 dimensions, 18 to 25 and 45 of 115,659.
const CACHED_BYTES_MAX: usize = 3 << 19;
const CACHED_CODE: f64 = 0.45;
const CACHED_NODE: f64 = 0.3;
/// The share of the exact answer's cost that a walk may have, expected or in fact: there is less doubt about the other.
const GIVEN_UP: f64 = 0.7;
/// How many times its expected cost a walk may have in any case: what is expected is right on average only.
const LENIENT: f64 = 1.25;
/// How many times as many candidates a walk beside other segments is expected to look from as it does in any case.
const EXPECTED_LOOKED_FROM: usize = 2;
/// The share of the candidates it wants after which a walk through rows at random is asked how many it has.
const ASKED_AFTER: f64 = 0.5;

/// The cheaper way, by the number of vectors each is expected to compare.
pub(super) struct Plan {
    /// Whether to look at every allowed row.
    pub(super) exact: bool,
    /// If so, whether at its code first.
    pub(super) by_codes: bool,
    pub(super) ef: usize,
    /// Candidates that a walk looks from in any case; more if they are nearer than what others have.
    pub(super) looked_from: usize,
    /// How far a filtered walk may go.
    pub(super) patience: Patience,
    pub(super) expected: Expected,
    /// What looking at every allowed row is expected to take, in nanoseconds, besides what it takes for few rows too.
    pub(super) rows_ns: f64,
}

/// How long a walk with a filter goes on. What a filter lets through may be far from where the query is; then a walk meets few such
/// nodes and becomes several times as long as among rows at random. A while after its start it shows which of both it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Nodes compared after which it gives up.
    pub(super) compared_max: u64,
    /// Nodes compared after which it is judged by how many of them were allowed.
    pub(super) asked_at: u64,
    ef: usize,
    m: u16,
}

impl Patience {
    /// Of a walk that must come to its end.
    pub(super) const ENDLESS: Patience = Patience { compared_max: u64::MAX, asked_at: u64::MAX, ef: 1, m: 1 };

    /// Whether a walk that found `kept` allowed nodes among the first `compared` may go on.
    pub(super) fn goes_on(&self, kept: usize, compared: u64) -> bool {
        let share = kept as f64 / compared.max(1) as f64;
        walked(self.m, self.ef, share) <= self.compared_max as f64
    }
}

/// Nodes that a walk is expected to compare if such a share of those it meets is allowed. Candidates grow as fewer are; comparisons
/// grow more slowly, as measured: ever more of a candidate's links were met before.
fn walked(m: u16, ef: usize, share: f64) -> f64 {
    3.4 * f64::from(m) * (ef as f64 / share.max(1e-9)).powf(0.75)
}

impl Plan {
    /// `survivors` are the rows that are allowed.
    pub(super) fn new(
        header: &Header,
        element: Element,
        k: usize,
        ef: usize,
        survivors: u32,
        rival: Option<Rival>,
    ) -> Plan {
        let ef = effort(header, k, ef);
        // Nanoseconds of one comparison, measured: rows are read one after the other, nodes here and there.
        // Memory is what they wait for, so bytes count.
        let row_bytes = element.row_bytes(header.dim) as f64;
        let row_ns = 4.0 + if survivors < header.rows / 2 { 0.1125 * row_bytes } else { 0.05 * row_bytes };
        let is_cached = header.codes != CodeKind::Full
            && header.nodes as usize * header.code_stride() <= CACHED_BYTES_MAX;
        let (code_share, node_share) = if is_cached { (CACHED_CODE, CACHED_NODE) } else { (1.0, 1.0) };
        let node_ns = node_share
            * match header.codes {
                CodeKind::Full => 30.0 + 0.125 * row_bytes,
                _ => 30.0 + 0.2 * header.code_stride() as f64,
            };
        let share = f64::from(survivors) / f64::from(header.linked_rows.max(1));
        let looked_from = rival.map_or(ef, |rival| k.max((ef as f64 * rival.looked_from) as usize).min(ef));
        let walked = walked(header.params.m, ef.min(EXPECTED_LOOKED_FROM * looked_from), share)
            .min(f64::from(header.nodes));
        let plain_ns = f64::from(survivors) * row_ns;
        let compared = SIEVE_COMPARED + 3.0 * k as f64;
        let bounded = matches!(header.codes, CodeKind::Rabitq(_)) || header.has_code_errors();
        let codes_ns =
            if bounded { f64::from(survivors) * code_share * code_ns(header) } else { f64::INFINITY };
        let sieved_ns = SIEVE_START_NS + codes_ns + compared * row_ns;
        let exact = plain_ns.min(sieved_ns) / node_ns;
        let patience = Patience {
            compared_max: (exact * GIVEN_UP).max(walked * LENIENT) as u64,
            asked_at: (ef as f64 / share.max(1e-9) * ASKED_AFTER) as u64,
            ef,
            m: header.params.m,
        };
        Plan {
            exact: exact * GIVEN_UP <= walked,
            by_codes: sieved_ns < plain_ns,
            ef,
            looked_from,
            patience,
            expected: Expected { walk: walked as u64, exact: exact as u64 },
            rows_ns: plain_ns.min(codes_ns),
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
    let a_byte = if header.codes == CodeKind::Scalar8 { 0.115 } else { 0.14 };
    5.0 + a_byte * header.code_stride() as f64
}
