//! Lists: recall, filters, rounds, versions, damage.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use crate::mapped::as_bytes;
use crate::{Strategy, exact_search};
use quiver_base::Error;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::Cell;

const ALL_METRICS: [Metric; 5] =
    [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1, Metric::Jaccard];

fn column(rows: &[Option<Vec<f32>>]) -> VectorColumn {
    let dim = rows.iter().flatten().next().map_or(1, Vec::len) as u16;
    let mut out = Vec::new();
    VectorColumn::write(&mut out, dim, rows.iter().map(Option::as_deref)).unwrap();
    VectorColumn::open(Mapped::from_bytes(out)).unwrap()
}

/// Vectors around a few places, some missing.
fn clustered(rows: usize, dim: usize, seed: u64) -> Vec<Option<Vec<f32>>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let places: Vec<Vec<f32>> =
        (0..40).map(|_| (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    (0..rows)
        .map(|row| {
            let place = &places[rng.random_range(0..places.len())];
            let vector = place.iter().map(|value| value + rng.random_range(-0.3..0.3)).collect();
            (row % 50 != 7).then_some(vector)
        })
        .collect()
}

fn bytes(vectors: &VectorColumn, metric: Metric, lists: u16, only: Option<&RowSet>) -> Vec<u8> {
    let mut out = Vec::new();
    let control = BuildControl { threads: 3, ..BuildControl::unlimited() };
    let stats = IvfIndex::build(vectors, metric, IvfParams { lists }, only, &control, &mut out).unwrap();
    assert_eq!(stats.file_bytes, out.len() as u64);
    out
}

fn open(bytes: &[u8]) -> IvfIndex {
    let index = IvfIndex::open(Mapped::from_bytes(bytes)).unwrap();
    index.verify().unwrap();
    index
}

fn build(vectors: &VectorColumn, metric: Metric, lists: u16, only: Option<&RowSet>) -> IvfIndex {
    open(&bytes(vectors, metric, lists, only))
}

fn rows_of(index: &IvfIndex, list: u32) -> &[u32] {
    index.head.list_rows(list, index.head.list_bytes(list)).rows
}

/// The same lists as a file of version 1.
fn version_1(index: &IvfIndex) -> Vec<u8> {
    let header = &index.head.header;
    let mut starts = vec![0u32];
    let mut rows: Vec<u32> = Vec::new();
    for list in 0..header.lists {
        rows.extend(rows_of(index, list));
        starts.push(rows.len() as u32);
    }
    let mut file = vec![0u8; 64];
    file[..8].copy_from_slice(b"QVIVFLAT");
    let mut numbers =
        vec![1, header.rows, header.lists, header.linked, header.dim.into(), header.metric.to_code().into()];
    for part in [as_bytes(index.head.centres()), as_bytes(&starts), as_bytes(&rows)] {
        let begin = file.len();
        file.extend_from_slice(part);
        file.resize(file.len().next_multiple_of(64), 0);
        numbers.push(crc32c::crc32c(&file[begin..]));
    }
    file[8..8 + 4 * numbers.len()].copy_from_slice(as_bytes(&numbers));
    let crc = crc32c::crc32c(&file[..60]);
    file[60..64].copy_from_slice(&crc.to_le_bytes());
    file
}

/// How many of the ten nearest rows searches find, over all queries.
fn found(index: &IvfIndex, vectors: &VectorColumn, queries: &[Vec<f32>], probes: usize) -> usize {
    let metric = index.metric();
    let near = |query: &Vec<f32>| {
        let exact: Vec<u32> = exact_search(vectors, metric, query, 10, None).iter().map(|n| n.row).collect();
        let outcome = index.search(vectors, query, 10, probes, None);
        assert_eq!(outcome.neighbors.len(), 10);
        assert!(outcome.neighbors.is_sorted_by(|a, b| a.score <= b.score));
        let exactly = probes >= index.lists() as usize;
        assert_eq!(outcome.strategy, if exactly { Strategy::Exact } else { Strategy::Lists });
        let scores =
            outcome.neighbors.iter().all(|n| n.score == metric.score(query, vectors.floats(n.row).unwrap()));
        assert!(scores, "scores are exact");
        outcome.neighbors.iter().filter(|n| exact.contains(&n.row)).count()
    };
    queries.iter().map(near).sum()
}

#[test]
fn more_probes_find_more_and_all_lists_find_all() {
    for (dim, metric) in [12, 40].into_iter().flat_map(|dim| ALL_METRICS.map(|metric| (dim, metric))) {
        let bits = |mut vector: Vec<f32>| {
            vector.iter_mut().for_each(|value| *value = f32::from(*value > 0.0));
            vector
        };
        let of = |rows| -> Vec<Option<Vec<f32>>> {
            let rows: Vec<Option<Vec<f32>>> = rows;
            match metric {
                Metric::Jaccard => rows.into_iter().map(|row| row.map(bits)).collect(),
                _ => rows,
            }
        };
        let vectors = column(&of(clustered(4000, dim, 1)));
        let index = build(&vectors, metric, 50, None);
        assert_eq!(index.lists(), 50);
        let coded = dim == 40 && matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine);
        assert_eq!(index.head.coder.is_some(), coded);
        let first = open(&version_1(&index));
        let queries: Vec<Vec<f32>> = of(clustered(4000, dim, 1)).into_iter().flatten().step_by(50).collect();
        let wanted = queries.len() * 10;
        let mut before = 0;
        for probes in [1, 5, 15, 50] {
            let (now, then) =
                (found(&index, &vectors, &queries, probes), found(&first, &vectors, &queries, probes));
            assert!(
                now * 200 + wanted >= then * 200,
                "{metric}, {dim}, {probes}: {now}, was {then} of {wanted}"
            );
            assert!(now >= before, "{metric}, {dim}, {probes}");
            before = now;
            if probes == 15 && metric != Metric::Jaccard {
                assert!(now * 100 > wanted * 95, "{metric}, {dim}: {now} of {wanted}");
            }
        }
        assert!(metric == Metric::Jaccard || before == wanted, "{metric}: {before} of {wanted}");
    }
}

#[test]
fn a_filtered_search_is_never_short() {
    for (dim, metric) in [(8, Metric::L2), (32, Metric::L2), (32, Metric::Cosine)] {
        let mut rows = clustered(3000, dim, 3);
        // As many that are the same as a search takes candidates, and more.
        let same = rows[0].clone();
        rows[1000..1900].fill(same);
        let vectors = column(&rows);
        let index = build(&vectors, metric, 60, None);
        for share in [1u32, 2, 7, 40, 700] {
            let allowed = RowSet::from_fn(vectors.rows(), |row| row % share == 0);
            let qualify =
                (0..vectors.rows()).filter(|row| allowed.contains(*row) && vectors.is_present(*row)).count();
            for query in clustered(10, dim, 4).into_iter().chain([rows[0].clone()]).flatten() {
                for k in [1, 10, 400] {
                    let outcome = index.search(&vectors, &query, k, 1, Some(&allowed));
                    assert_eq!(outcome.neighbors.len(), k.min(qualify), "share {share}, k {k}");
                    assert!(outcome.neighbors.iter().all(|n| allowed.contains(n.row)));
                    assert!(outcome.neighbors.is_sorted_by(|a, b| a.score <= b.score));
                }
            }
        }
    }
}

#[test]
fn only_some_rows_are_listed() {
    let vectors = column(&clustered(500, 6, 5));
    let only = RowSet::from_fn(500, |row| row % 5 == 0);
    let index = build(&vectors, Metric::Cosine, 10, Some(&only));
    let listed: Vec<u32> = (0..10).flat_map(|list| rows_of(&index, list).to_vec()).collect();
    assert!(listed.iter().all(|row| only.contains(*row)));
    assert_eq!(listed.len(), (0..500).filter(|row| only.contains(*row) && vectors.is_present(*row)).count());
}

#[test]
fn few_rows_none_and_zeros() {
    let empty = column(&[None, None]);
    assert_eq!(build(&empty, Metric::L2, 100, None).lists(), 0);
    assert!(build(&empty, Metric::L2, 100, None).search(&empty, &[1.0], 3, 1, None).neighbors.is_empty());
    let zeros = column(&[Some(vec![0.0, 0.0]), Some(vec![1.0, 0.0]), Some(vec![f32::MAX, f32::MAX])]);
    let index = build(&zeros, Metric::Cosine, 100, None);
    assert_eq!(index.lists(), 1);
    assert_eq!(index.search(&zeros, &[1.0, 0.0], 3, 1, None).neighbors.len(), 3);
    for dim in [2, 32] {
        let same = column(&vec![Some(vec![1.5; dim]); 40]);
        let found = build(&same, Metric::L2, 7, None).search(&same, &vec![1.5; dim], 40, 1, None);
        assert_eq!(found.neighbors.len(), 40);
    }
}

/// Counts rounds; fails in the one it is told to.
struct Fetched<'a> {
    file: &'a IvfIndex,
    vectors: &'a VectorColumn,
    rounds: Cell<usize>,
    fails_in: usize,
}

impl Fetched<'_> {
    fn round(&self) -> Result<()> {
        self.rounds.set(self.rounds.get() + 1);
        if self.rounds.get() == self.fails_in { Err(Error::corrupt("damaged")) } else { Ok(()) }
    }
}

impl ListSource for Fetched<'_> {
    fn lists(&self, lists: &[WantedList], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.round()?;
        for (at, wanted) in lists.iter().enumerate().rev() {
            let bytes = self.file.head.list_bytes(wanted.list);
            assert_eq!(bytes.len() as u64, wanted.place.end - wanted.place.start);
            each(at, bytes);
        }
        Ok(())
    }

    fn vectors(&self, rows: &[WantedVector], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.round()?;
        for (at, wanted) in rows.iter().enumerate().rev() {
            let vector = self.vectors.floats(wanted.row).unwrap();
            assert_eq!(crc32c::crc32c(as_bytes(vector)), wanted.crc32c);
            each(at, vector);
        }
        Ok(())
    }

    fn vectors_at_once(&self) -> usize {
        usize::MAX
    }

    fn exact_max(&self, _probed: usize) -> usize {
        20
    }
}

#[test]
fn a_head_and_two_rounds_are_enough() {
    for (dim, metric) in [(8, Metric::L2), (48, Metric::Cosine), (48, Metric::InnerProduct)] {
        let rows = clustered(2000, dim, 8);
        let vectors = column(&rows);
        let file = bytes(&vectors, metric, 30, None);
        let index = open(&file);
        let len = ListHead::bytes_of(&file[..64]).unwrap().unwrap();
        assert!(len <= ListHead::bytes_guess(30, dim as u16));
        let head = ListHead::open(Mapped::from_bytes(&file[..len as usize]), file.len() as u64).unwrap();
        let source = |fails_in| Fetched { file: &index, vectors: &vectors, rounds: Cell::new(0), fails_in };
        for query in rows.iter().flatten().step_by(100) {
            let fetched = source(0);
            let outcome = head.search(&fetched, query, 10, 4, None).unwrap().unwrap();
            assert_eq!(outcome.neighbors, index.search(&vectors, query, 10, 4, None).neighbors);
            assert_eq!(fetched.rounds.get(), 2);
            for fails_in in [1, 2] {
                assert!(head.search(&source(fails_in), query, 10, 4, None).is_err());
            }
        }
        let query = rows[0].as_ref().unwrap();
        for list in 0..30 {
            head.check_list(list, index.head.list_bytes(list)).unwrap();
            let other = index.head.list_bytes((list + 1) % 30);
            assert!(head.check_list(list, other).is_err(), "another list is not taken for one");
        }
        let few = RowSet::from_fn(2000, |row| row < 20);
        assert!(head.search(&source(0), query, 10, 4, Some(&few)).unwrap().is_none());
        let some = RowSet::from_fn(2000, |row| row % 50 == 3);
        let outcome = head.search(&source(0), query, 10, 1, Some(&some)).unwrap().unwrap();
        assert_eq!(outcome.neighbors.len(), 10);
    }
}

#[test]
fn any_damaged_byte_is_found() {
    for (dim, version) in [(3, 2), (20, 2), (3, 1)] {
        let vectors = column(&clustered(60, dim, 6));
        let mut good = bytes(&vectors, Metric::L2, 4, None);
        if version == 1 {
            good = version_1(&open(&good));
            assert_eq!(ListHead::bytes_of(&good).unwrap(), None);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let opened = IvfIndex::open(Mapped::from_bytes(&bad));
            if let Ok(index) = opened {
                assert!(index.verify().is_err(), "byte {at}");
                index.search(&vectors, &vec![0.1; dim], 5, 2, None);
            }
        }
        for len in 0..good.len() {
            assert!(IvfIndex::open(Mapped::from_bytes(&good[..len])).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn a_newer_version_is_refused() {
    let mut file = bytes(&column(&clustered(60, 3, 6)), Metric::L2, 4, None);
    file[8] = 3;
    let crc = crc32c::crc32c(&file[..60]);
    file[60..64].copy_from_slice(&crc.to_le_bytes());
    assert!(IvfIndex::open(Mapped::from_bytes(&file)).unwrap_err().message().contains("format 3"));
}

#[test]
fn a_build_can_be_stopped() {
    let vectors = column(&clustered(200, 3, 7));
    let control = BuildControl::unlimited();
    control.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    let built = IvfIndex::build(&vectors, Metric::L2, IvfParams::default(), None, &control, &mut Vec::new());
    assert_eq!(built.unwrap_err().state(), quiver_base::SqlState::QUERY_CANCELED);
}
