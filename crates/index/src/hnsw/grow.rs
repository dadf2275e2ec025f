//! The building of a graph: points are linked in parallel into flat arrays. Knows no file and no vectors, only
//! how far two nodes are apart.

use super::codes::Scorer;
use super::format::{LEVELS_MAX, NO_LINK};
use super::kept::Kept;
use super::walk::{Candidate, Ending, Links, Scratch, beam, greedy};
use super::{BuildControl, HnswParams};
use parking_lot::Mutex;
use quiver_base::{Error, Result, SqlState};
use rayon::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nodes linked one after the other before the rest goes on in parallel: while a graph is small, two
/// newcomers that do not see each other would make it worse.
const SERIAL_NODES: usize = 512;

/// How far nodes are apart.
pub(super) trait Distances: Sync {
    /// The score of `node` seen from `from`. Less is nearer.
    fn between(&self, node: u32, from: u32) -> f32;
    /// Asks for the memory that `between` reads of its first node.
    fn prefetch(&self, node: u32);
}

/// One level while it grows. Slots are filled from the front; readers do not lock and may see a list that is
/// being rewritten: every link they find is, or was, a good one.
struct Level {
    links: Vec<AtomicU32>,
    locks: Vec<Mutex<()>>,
    degree: usize,
    /// From point to node; empty at the lowest level, where they are the same.
    nodes: Vec<u32>,
}

impl Level {
    fn new(points: usize, degree: usize, nodes: Vec<u32>) -> Level {
        Level::with_links(vec![NO_LINK; points * degree], points, degree, nodes)
    }

    fn with_links(links: Vec<u32>, points: usize, degree: usize, nodes: Vec<u32>) -> Level {
        Level {
            links: links.into_iter().map(AtomicU32::new).collect(),
            locks: (0..points).map(|_| Mutex::new(())).collect(),
            degree,
            nodes,
        }
    }

    fn node(&self, point: u32) -> u32 {
        self.nodes.get(point as usize).copied().unwrap_or(point)
    }

    fn is_linked(&self, point: u32) -> bool {
        self.slots(point).first().is_some_and(|slot| slot.load(Ordering::Relaxed) != NO_LINK)
    }

    fn slots(&self, point: u32) -> &[AtomicU32] {
        let start = point as usize * self.degree;
        &self.links[start..start + self.degree]
    }

    fn write(&self, point: u32, links: &[Candidate]) {
        let links = links.iter().map(|link| link.point()).chain(std::iter::repeat(NO_LINK));
        for (slot, link) in self.slots(point).iter().zip(links) {
            slot.store(link, Ordering::Relaxed);
        }
    }

    fn into_links(self) -> Vec<u32> {
        self.links.into_iter().map(AtomicU32::into_inner).collect()
    }
}

impl Links for Level {
    fn points(&self) -> u32 {
        self.locks.len() as u32
    }

    #[inline(always)]
    fn each(&self, point: u32, mut visit: impl FnMut(u32)) {
        for slot in self.slots(point) {
            let link = slot.load(Ordering::Relaxed);
            if link == NO_LINK {
                break;
            }
            visit(link);
        }
    }

    #[inline(always)]
    fn prefetch(&self, point: u32) {
        crate::distance::prefetch(self.slots(point));
    }
}

/// A node compared with the points of a level.
struct NodeScorer<'a, D> {
    distances: &'a D,
    level: &'a Level,
    node: u32,
}

impl<D: Distances> Scorer for NodeScorer<'_, D> {
    #[inline(always)]
    fn score(&self, point: u32) -> f32 {
        self.distances.between(self.level.node(point), self.node)
    }

    #[inline(always)]
    fn prefetch(&self, point: u32) {
        self.distances.prefetch(self.level.node(point));
    }
}

/// The links of a finished graph, in the file's numbering.
pub(super) struct Graph {
    /// Links of the lowest level.
    pub(super) links: Vec<u32>,
    /// Node of each slot.
    pub(super) upper_nodes: Vec<u32>,
    /// Links of the upper levels, the lowest of them first.
    pub(super) upper_links: Vec<u32>,
    /// Points on each upper level, the lowest of them first.
    pub(super) level_counts: Vec<u32>,
}

impl Graph {
    /// The node where every search starts at the lowest level when it has no upper one to come from.
    pub(super) fn entry(&self) -> u32 {
        self.upper_nodes.first().copied().unwrap_or(0)
    }
}

/// Links `nodes` nodes, those among them that have no links to keep.
pub(super) fn grow(
    nodes: u32,
    params: HnswParams,
    distances: &impl Distances,
    mut kept: Option<Kept>,
    control: &BuildControl,
) -> Result<Graph> {
    let (slots, level_counts) = draw_levels(nodes, params.m);
    let m = usize::from(params.m);
    let lowest = match &mut kept {
        Some(kept) => Level::with_links(std::mem::take(&mut kept.links), nodes as usize, 2 * m, Vec::new()),
        None => Level::new(nodes as usize, 2 * m, Vec::new()),
    };
    let mut levels = vec![lowest];
    levels.extend(
        level_counts.iter().map(|count| Level::new(*count as usize, m, slots[..*count as usize].to_vec())),
    );
    let grower = Grower { levels, ef: usize::from(params.ef_construction).max(m), distances, kept, control };
    let upper: std::collections::HashSet<u32> = slots.iter().copied().collect();
    // Those with slots come first, the highest at the very first: the entry point never moves.
    let order: Vec<(u32, Option<u32>)> = (slots.iter().enumerate())
        .map(|(slot, node)| (*node, Some(slot as u32)))
        .chain(
            (0..nodes).filter(|node| !upper.contains(node) && !grower.keeps(*node)).map(|node| (node, None)),
        )
        .collect();
    let (first, rest) = order.split_at(order.len().min(SERIAL_NODES));
    let mut scratch = Scratch::take();
    // The first has nobody to be linked with, if no links are kept.
    let lonely = if grower.kept.is_none() { first.len().min(1) } else { 0 };
    first.iter().skip(lonely).try_for_each(|(node, slot)| grower.link(*node, *slot, &mut scratch))?;
    let done = lonely + nodes as usize - order.len();
    control.done_rows.fetch_add(done as u64, Ordering::Relaxed);
    if control.threads <= 1 {
        let mut scratch = Scratch::take();
        rest.iter().try_for_each(|(node, slot)| grower.link(*node, *slot, &mut scratch))?;
    } else {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(control.threads)
            .thread_name(|thread| format!("index-build-{thread}"))
            .build()
            .map_err(|e| Error::internal(format!("starting index build threads: {e}")).with_source(e))?;
        pool.install(|| {
            rest.par_iter()
                .with_max_len(1024)
                .try_for_each_init(Scratch::take, |scratch, (node, slot)| grower.link(*node, *slot, scratch))
        })?;
    }
    let mut levels = grower.levels.into_iter().map(Level::into_links);
    let links = levels.next().unwrap_or_default();
    Ok(Graph { links, upper_nodes: slots, upper_links: levels.flatten().collect(), level_counts })
}

/// Draws each node's level, geometrically with ratio 1/m, from its number: the same nodes get the same levels.
/// Returns the nodes of level 1 and above, the highest first, and how many each upper level has.
fn draw_levels(nodes: u32, m: u16) -> (Vec<u32>, Vec<u32>) {
    let scale = 1.0 / f64::from(m.max(2)).ln();
    let mut drawn: Vec<(usize, u32)> = (0..nodes)
        .filter_map(|node| {
            let uniform = (split_mix(u64::from(node)) >> 11) as f64 / (1u64 << 53) as f64;
            let level = (-(1.0 - uniform).ln() * scale) as usize;
            (level > 0).then_some((level.min(LEVELS_MAX), node))
        })
        .collect();
    drawn.sort_unstable_by_key(|(level, node)| (std::cmp::Reverse(*level), *node));
    let highest = drawn.first().map_or(0, |(level, _)| *level);
    let counts = (1..=highest).map(|level| drawn.partition_point(|(own, _)| *own >= level) as u32).collect();
    (drawn.into_iter().map(|(_, node)| node).collect(), counts)
}

fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

struct Grower<'a, D> {
    /// The lowest level first.
    levels: Vec<Level>,
    ef: usize,
    distances: &'a D,
    /// Its links are in the lowest level.
    kept: Option<Kept>,
    control: &'a BuildControl,
}

impl<D: Distances> Grower<'_, D> {
    /// Whether a node has its links at the lowest level from the beginning.
    fn keeps(&self, node: u32) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.has(node))
    }

    /// Links one node into every level it has. It is searched for on all levels before it is linked to from
    /// any: whoever finds it finds its links too.
    fn link(&self, node: u32, slot: Option<u32>, scratch: &mut Scratch) -> Result<()> {
        if self.control.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
        }
        let mut chosen: Vec<(usize, u32, Vec<Candidate>)> = Vec::with_capacity(2);
        let mut start = 0;
        for (number, level) in self.levels.iter().enumerate().rev() {
            let point = if number == 0 { Some(node) } else { slot.filter(|slot| *slot < level.points()) };
            if number == 0 && self.keeps(node) {
                break;
            }
            if number == 0 {
                start = self.levels.get(1).map_or(0, |upper| upper.node(start));
                if let Some(kept) = self.kept.as_ref().filter(|_| !level.is_linked(start)) {
                    start = kept.entry;
                }
            }
            let scorer = NodeScorer { distances: self.distances, level, node };
            match point {
                None => start = greedy(level, &scorer, start, &mut 0),
                Some(point) => {
                    let found = beam(level, &scorer, start, self.ef, Ending::LAST, scratch);
                    start = found.first().map_or(start, |nearest| nearest.point());
                    chosen.push((number, point, self.choose(level, found, point)));
                }
            }
        }
        for (number, point, links) in &chosen {
            self.levels[*number].write(*point, links);
        }
        for (number, point, links) in &chosen {
            for link in links {
                self.link_back(&self.levels[*number], link.point(), Candidate::new(link.score(), *point));
            }
        }
        self.control.done_rows.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Of candidates, the nearest first, those that are nearer to the point than to any chosen before: links in
    /// all directions rather than many into one crowd. Half of the free slots then go to the nearest of the others:
    /// with none, recall is lower; with all of them, far links that hold clusters together are pushed out, and
    /// every newcomer makes its neighbours choose anew, which made building almost three times as slow.
    fn choose(&self, level: &Level, candidates: &[Candidate], point: u32) -> Vec<Candidate> {
        let mut chosen: Vec<Candidate> = Vec::with_capacity(level.degree);
        let mut others: Vec<Candidate> = Vec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.point() != point) {
            if chosen.len() == level.degree {
                break;
            }
            let node = level.node(candidate.point());
            let crowded = chosen
                .iter()
                .any(|other| self.distances.between(node, level.node(other.point())) < candidate.score());
            if crowded { others.push(*candidate) } else { chosen.push(*candidate) }
        }
        let free = level.degree - chosen.len();
        chosen.extend(others.into_iter().take(free / 2));
        chosen
    }

    /// Adds a link to a point that is already there; when its slots are full, chooses anew.
    fn link_back(&self, level: &Level, point: u32, newcomer: Candidate) {
        let _lock = level.locks[point as usize].lock();
        let slots = level.slots(point);
        if let Some(free) = slots.iter().find(|slot| slot.load(Ordering::Relaxed) == NO_LINK) {
            free.store(newcomer.point(), Ordering::Relaxed);
            return;
        }
        let node = level.node(point);
        let mut candidates: Vec<Candidate> = Vec::with_capacity(level.degree + 1);
        level.each(point, |linked| self.distances.prefetch(level.node(linked)));
        level.each(point, |linked| {
            candidates.push(Candidate::new(self.distances.between(level.node(linked), node), linked));
        });
        candidates.push(newcomer);
        candidates.sort_unstable();
        let chosen = self.choose(level, &candidates, point);
        level.write(point, &chosen);
    }
}
