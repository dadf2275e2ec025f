//! Random histories against a plain map and brute force: what a shard answers never depends on where its rows are.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use crate::objects::{LocalFs, RealFs};
use crate::testing::{
    DIM, EXTRA, EXTRA_MISSING, Halved, KEY, KeyBetween, Row, VECTOR, layout, rows, wide_layout,
};
use crate::{Indexed, Objects, RowFilter, ScanRequest, StorageOptions, VectorIndexDef, VectorQuery};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Float32Type, Int64Type};
use quiver_base::MemoryBudget;
use quiver_index::{Effort, HnswParams, IvfParams, Metric, VectorIndexKind};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A row's history.
#[derive(Clone, Debug)]
struct Life {
    row: Row,
    born: u64,
    died: u64,
}

type Rows = BTreeMap<u64, Life>;

/// What a snapshot should show: rows by id.
type View = BTreeMap<u64, Row>;

struct World {
    rng: StdRng,
    env: Arc<StorageEnv>,
    leader: Arc<Shard>,
    follower: Arc<Shard>,
    layout: TableLayout,
    committed: Rows,
    staged: BTreeMap<u64, (Vec<Row>, Vec<u64>)>,
    held: Vec<(Arc<Snapshot>, View)>,
    in_flight: Vec<(Job, Publish)>,
    now: u64,
    next_row: u64,
    next_txn: u64,
    /// Jobs have been told that nobody reads below it.
    floor: u64,
    done: BTreeMap<&'static str, u64>,
}

/// The file system without waiting for disks: nothing here loses power.
#[derive(Debug)]
struct NoSync;

impl LocalFs for NoSync {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<File> {
        RealFs.create(path)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        RealFs.write(file, bytes)
    }
    fn sync_file(&self, _: &Path, _: &File) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn env_at(dir: &Path, settle_after: Duration) -> Arc<StorageEnv> {
    let options = StorageOptions {
        range_cache_bytes: 64 << 10,
        cold_bytes_min: 2 << 30,
        memtable_bytes_max: 6_000,
        index_rows_min: 40,
        compaction_fan_in: 3,
        segment_rows_max: 5_000,
        tombstones_max: 15,
        dead_share_max: 0.3,
        row_group_rows: 16,
        column_cache_bytes: 1 << 20,
        settle_after,
        trickle_bytes_per_second: 8 << 20,
        trickle_bytes_max: 3_000,
    };
    let objects = Objects::local(dir, Arc::new(NoSync)).unwrap();
    StorageEnv::new(objects, MemoryBudget::unlimited(), options)
}

impl World {
    fn new(seed: u64, dir: &Path) -> World {
        // Settled, or as rows trickle in.
        let settle_after = if seed.is_multiple_of(2) { Duration::ZERO } else { Duration::from_secs(3600) };
        let env = env_at(dir, settle_after);
        World {
            rng: StdRng::seed_from_u64(seed),
            leader: Shard::new(ShardId(5), env.clone()),
            follower: Shard::new(ShardId(5), env.clone()),
            env,
            layout: layout(),
            committed: Rows::new(),
            staged: BTreeMap::new(),
            held: Vec::new(),
            in_flight: Vec::new(),
            now: 10,
            next_row: 1,
            next_txn: 1,
            floor: 0,
            done: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..24 => self.commit(),
            24..34 => self.stage(),
            34..40 => self.end_staged(),
            40..64 => self.start_job(),
            64..81 => self.publish_one(),
            81..86 => self.hold(),
            86..91 => self.release(),
            91..92 => self.restart_leader(),
            92..94 => self.restart_follower(),
            94..96 => self.alter(),
            _ => {
                self.leader.collect_garbage().unwrap();
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn both(&self, apply: impl Fn(&Shard)) {
        apply(&self.leader);
        apply(&self.follower);
    }

    fn new_rows(&mut self, max: usize) -> Vec<Row> {
        let count = self.rng.random_range(0..=max);
        let is_wide = self.layout.column(EXTRA).is_some();
        (0..count)
            .map(|_| {
                let id = self.next_row;
                self.next_row += self.rng.random_range(1..3);
                let mut row = Row::new(id, self.rng.random_range(0..400));
                row.extra = is_wide.then(|| self.rng.random_range(0..5));
                if self.rng.random_ratio(1, 8) {
                    row.body = None;
                }
                if self.rng.random_ratio(1, 10) { row.without_vector() } else { row }
            })
            .collect()
    }

    /// Rows that are alive and that no open transaction ends.
    fn some_live(&mut self, max: usize) -> Vec<u64> {
        let locked: HashSet<u64> = self.staged.values().flat_map(|(_, deletes)| deletes.clone()).collect();
        let live = self.committed.values().filter(|life| life.died == u64::MAX);
        let mut ids: Vec<u64> = live.map(|life| life.row.id).filter(|id| !locked.contains(id)).collect();
        ids.shuffle(&mut self.rng);
        ids.truncate(self.rng.random_range(0..=max));
        ids
    }

    fn write_of(&mut self, list: &[Row], deletes: &[u64]) -> ShardWrite {
        let cut = self.rng.random_range(0..=list.len());
        ShardWrite {
            inserts: [&list[..cut], &list[cut..]].into_iter().map(rows).collect(),
            deletes: deletes.iter().copied().map(RowId).collect(),
        }
    }

    fn commit(&mut self) {
        let most = *[3, 20, 60].choose(&mut self.rng).unwrap();
        let (list, deletes) = (self.new_rows(most), self.some_live(8));
        let write = self.write_of(&list, &deletes);
        self.apply_commit(write, None, &list, &deletes);
    }

    fn apply_commit(&mut self, write: ShardWrite, txn: Option<u64>, list: &[Row], deletes: &[u64]) {
        self.now += self.rng.random_range(1..3);
        let write = ShardWrite::decode(&write.encode().unwrap()).unwrap();
        self.both(|shard| shard.commit(Timestamp(self.now), write.clone(), txn.map(TxnId)));
        for row in list {
            self.committed.insert(row.id, Life { row: row.clone(), born: self.now, died: u64::MAX });
        }
        for id in deletes {
            self.committed.get_mut(id).unwrap().died = self.now;
        }
    }

    fn stage(&mut self) {
        let txn = match self.staged.keys().copied().collect::<Vec<_>>().choose(&mut self.rng) {
            Some(txn) if self.staged.len() > 2 || self.rng.random() => *txn,
            _ => {
                self.next_txn += 1;
                self.next_txn
            }
        };
        let (list, mut deletes) = (self.new_rows(60), self.some_live(4));
        let own = self.staged.entry(txn).or_default();
        if let Some(row) = own.0.choose(&mut self.rng)
            && !own.1.contains(&row.id)
        {
            deletes.push(row.id);
        }
        let write = self.write_of(&list, &deletes);
        self.both(|shard| shard.stage(TxnId(txn), write.clone()));
        let own = self.staged.entry(txn).or_default();
        own.0.extend(list);
        own.1.extend(deletes);
    }

    fn end_staged(&mut self) {
        let Some(txn) = self.staged.keys().copied().collect::<Vec<_>>().choose(&mut self.rng).copied() else {
            return;
        };
        let (mut list, mut deletes) = self.staged.remove(&txn).unwrap();
        if self.rng.random_ratio(1, 3) {
            self.both(|shard| shard.abort(TxnId(txn)));
            return;
        }
        let (more, ended) = (self.new_rows(5), self.some_live(3));
        let write = self.write_of(&more, &ended);
        list.extend(more);
        deletes.extend(ended);
        self.apply_commit(write, Some(txn), &list, &deletes);
    }

    fn oldest_read(&self) -> u64 {
        self.held.iter().map(|(snapshot, _)| snapshot.read_ts().0).min().unwrap_or(self.now).min(self.now)
    }

    fn start_job(&mut self) {
        if self.in_flight.len() > 3 {
            return;
        }
        let oldest = self.oldest_read();
        let running: Vec<Job> = self.in_flight.iter().map(|(job, _)| job.clone()).collect();
        // A job that runs already may run once more after a change of leader: one of the two comes too late.
        let again = running.choose(&mut self.rng).filter(|_| self.rng.random_ratio(1, 3)).cloned();
        let job = again.or_else(|| match self.rng.random_range(0..8) {
            0 => self.leader.flush_job(),
            1 => self.leader.compact_job(),
            2 => self.spill_job(),
            3 => self.job_on_one(JobKind::WriteDeletes),
            4 => self.job_on_one(JobKind::BuildIndex),
            _ => self.leader.pending_work(&self.layout, &running, &[], Timestamp(oldest)),
        });
        let Some(job) = job else { return };
        self.floor = self.floor.max(oldest);
        let control = JobControl { threads: 1, ..JobControl::default() };
        let publish = match self.leader.run_job(&job, &self.layout, Timestamp(oldest), &control) {
            Err(_) if running.contains(&job) => return,
            publish => publish.unwrap(),
        };
        let publish = Publish::decode(&publish.encode()).unwrap();
        self.in_flight.push((job, publish));
    }

    fn spill_job(&mut self) -> Option<Job> {
        let txn = *self.staged.keys().copied().collect::<Vec<_>>().choose(&mut self.rng)?;
        Some(Job { kind: JobKind::Spill, shard: ShardId(5), input: JobInput::Txn(TxnId(txn)) })
    }

    fn job_on_one(&mut self, kind: JobKind) -> Option<Job> {
        let version = self.leader.version();
        let segment = version.segments.choose(&mut self.rng)?.meta().id;
        Some(Job { kind, shard: ShardId(5), input: JobInput::Segments(vec![segment]) })
    }

    fn publish_one(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let (job, publish) = self.in_flight.remove(self.rng.random_range(0..self.in_flight.len()));
        if self.rng.random_ratio(1, 12) {
            self.leader.discard(&publish);
            return;
        }
        let outcome = self.leader.publish(&publish);
        assert_eq!(self.follower.publish(&publish), outcome, "{job:?}");
        if outcome == PublishOutcome::Stale {
            self.count("stale");
            self.leader.discard(&publish);
            return;
        }
        self.count(match job.kind {
            JobKind::Flush => "flush",
            JobKind::Spill => "spill",
            JobKind::Compact => "compact",
            JobKind::BuildIndex => "index",
            JobKind::WriteDeletes => "deletes",
        });
    }

    fn hold(&mut self) {
        if self.held.len() > 2 {
            return;
        }
        let read_ts = self.rng.random_range(self.floor.min(self.now)..=self.now);
        let own = self.staged.keys().copied().collect::<Vec<_>>().choose(&mut self.rng).copied();
        let own = own.filter(|_| self.rng.random());
        let snapshot = self.leader.snapshot(Timestamp(read_ts), own.map(TxnId));
        let view = self.view(read_ts, own);
        self.held.push((snapshot, view));
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            self.held.remove(self.rng.random_range(0..self.held.len()));
        }
    }

    fn restart_leader(&mut self) {
        self.count("restart");
        self.leader = Shard::restore(self.env.clone(), &self.leader.encode_state()()).unwrap();
        self.held.clear();
        self.in_flight.clear();
    }

    fn restart_follower(&mut self) {
        let env =
            StorageEnv::new(self.env.objects.clone(), MemoryBudget::unlimited(), self.env.options.clone());
        self.follower = Shard::restore(env, &self.follower.encode_state()()).unwrap();
    }

    fn alter(&mut self) {
        let widened = self.layout.column(EXTRA).is_some();
        let index = (self.layout.vector_indexes.is_empty() || self.rng.random()).then_some(VectorIndexDef {
            id: IndexId(200 + u32::try_from(self.now).unwrap()),
            of: match self.rng.random_range(0..3) {
                0 => Indexed::Computed(Halved::of(VECTOR, DIM as u16)),
                1 => Indexed::Column { column: VECTOR, rows: Some(KeyBetween::filter(0, 40)) },
                _ => Indexed::Column { column: VECTOR, rows: None },
            },
            metric: Metric::L2,
            kind: match self.rng.random() {
                true => {
                    VectorIndexKind::Hnsw(HnswParams { m: 8, ef_construction: 32, ..HnswParams::default() })
                }
                false => VectorIndexKind::IvfFlat(IvfParams { lists: 4 }),
            },
        });
        self.layout = if widened || self.rng.random() { wide_layout() } else { layout() };
        self.layout.vector_indexes.extend(index);
    }

    fn view(&self, read_ts: u64, own: Option<u64>) -> View {
        let seen = self.committed.values().filter(|life| life.born <= read_ts && life.died > read_ts);
        let mut view: View = seen.map(|life| (life.row.id, life.row.clone())).collect();
        if let Some((list, deletes)) = own.and_then(|txn| self.staged.get(&txn)) {
            view.extend(list.iter().map(|row| (row.id, row.clone())));
            deletes.iter().for_each(|id| drop(view.remove(id)));
        }
        view
    }

    fn check(&mut self) {
        let snapshot = self.leader.snapshot(Timestamp(self.now), None);
        let view = self.view(self.now, None);
        self.check_snapshot(&snapshot, &view);
        if let Some((held, view)) = self.held.choose(&mut self.rng).cloned() {
            self.check_snapshot(&held, &view);
        }
        if self.rng.random_ratio(1, 4) {
            assert!(self.leader.encode_state()() == self.follower.encode_state()(), "the replicas differ");
        }
        let ids: Vec<RowId> = (0..10).map(|_| RowId(self.rng.random_range(0..self.next_row + 2))).collect();
        let live: Vec<bool> = ids.iter().map(|id| view.contains_key(&id.0)).collect();
        assert_eq!(self.leader.are_live(&ids), live);
    }

    fn check_snapshot(&mut self, snapshot: &Arc<Snapshot>, view: &View) {
        let (snapshot, view) = self.maybe_overlaid(snapshot, view);
        assert_eq!(snapshot.row_count(), view.len() as u64);
        let low = self.rng.random_range(-10..400);
        let range = (low, low + *[5, 60, 500].choose(&mut self.rng).unwrap());
        let filter = self.rng.random::<bool>().then(|| KeyBetween::filter(range.0, range.1));
        let qualified: View = match &filter {
            Some(_) => view.into_iter().filter(|(_, row)| range.0 <= row.key && row.key < range.1).collect(),
            None => view,
        };
        self.check_scan(&snapshot, &qualified, filter.clone());
        self.check_points(&snapshot, &qualified, filter.is_some());
        self.check_search(&snapshot, &qualified, filter);
    }

    fn maybe_overlaid(&mut self, snapshot: &Arc<Snapshot>, view: &View) -> (Arc<Snapshot>, View) {
        let mut view = view.clone();
        if self.rng.random_ratio(2, 3) {
            return (snapshot.clone(), view);
        }
        let own: Vec<Row> = self.new_rows(5);
        let mut ids: Vec<u64> = view.keys().copied().chain(own.iter().map(|row| row.id)).collect();
        ids.shuffle(&mut self.rng);
        ids.truncate(3);
        view.extend(own.iter().map(|row| (row.id, row.clone())));
        ids.iter().for_each(|id| drop(view.remove(id)));
        let deletes = ids.into_iter().map(RowId).collect();
        (snapshot.with_overlay(&[rows(&own)], Arc::new(deletes)), view)
    }

    fn check_scan(&mut self, snapshot: &Snapshot, expected: &View, filter: Option<Arc<dyn RowFilter>>) {
        let columns: Vec<_> = self.layout.columns.iter().map(|column| column.id).collect();
        let request = ScanRequest { columns, filter, batch_rows: self.rng.random_range(1..40) };
        let mut found = View::new();
        for part in snapshot.scan_parts(&self.layout, &request).unwrap() {
            for scanned in snapshot.scan_part(&self.layout, &request, &part).unwrap() {
                assert!(scanned.row_ids.len() <= request.batch_rows);
                for (at, id) in scanned.row_ids.iter().enumerate() {
                    assert!(found.insert(id.0, row_of(&scanned.batch, at, id.0)).is_none());
                }
            }
        }
        assert_same(&found, expected, self.layout.column(EXTRA).is_some());
    }

    fn check_points(&mut self, snapshot: &Snapshot, view: &View, filtered: bool) {
        let ids: Vec<u64> = (0..5).map(|_| self.rng.random_range(0..self.next_row + 2)).collect();
        let ids: Vec<RowId> = view.keys().copied().take(5).chain(ids).map(RowId).collect();
        let found = snapshot.find(&ids).unwrap();
        if !filtered {
            let present: Vec<bool> = ids.iter().map(|id| view.contains_key(&id.0)).collect();
            assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), present);
        }
        let mut places: Vec<_> = found.iter().zip(&ids).filter_map(|(at, id)| Some(((*at)?, *id))).collect();
        places.shuffle(&mut self.rng);
        let locators: Vec<_> = places.iter().map(|(at, _)| *at).collect();
        let fetched = snapshot.fetch(&self.layout, &locators, &[KEY]).unwrap();
        for (at, (_, id)) in places.iter().enumerate() {
            if let Some(row) = view.get(&id.0) {
                assert_eq!(fetched.column(0).as_primitive::<Int64Type>().value(at), row.key);
            }
        }
        let wanted: Vec<i64> = (0..20).map(|_| self.rng.random_range(-2..410)).collect();
        let array: ArrayRef = Arc::new(Int64Array::from(wanted.clone()));
        let found = snapshot.lookup(&self.layout, &self.layout.keys[0], &[array]).unwrap();
        for (key, found) in wanted.iter().zip(found).filter(|_| !filtered) {
            let with_key: Vec<u64> = view.values().filter(|row| row.key == *key).map(|row| row.id).collect();
            assert_eq!(found.is_none(), with_key.is_empty(), "key {key}");
            assert!(found.is_none_or(|(id, _)| with_key.contains(&id.0)));
        }
    }

    fn check_search(&mut self, snapshot: &Snapshot, view: &View, filter: Option<Arc<dyn RowFilter>>) {
        let metric =
            *[Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1].choose(&mut self.rng).unwrap();
        let query: Vec<f32> = (0..DIM).map(|_| self.rng.random_range(0.0..300.0)).collect();
        let (k, exact) = (self.rng.random_range(1..30), self.rng.random());
        // An index over some rows may be used only with a filter that implies its own.
        let index = self.layout.vector_indexes.last().filter(|index| {
            metric == index.metric && !matches!(&index.of, Indexed::Column { rows: Some(_), .. })
        });
        let halved = index.is_some_and(|index| matches!(index.of, Indexed::Computed(_)));
        let index = index.map(|index| index.id);
        let effort = Effort::new(200, 2);
        let ask = VectorQuery {
            column: VECTOR,
            index,
            metric,
            query: query.clone(),
            sparse: None,
            k,
            effort,
            exact,
            filter,
        };
        let found = snapshot.search(&self.layout, &ask).unwrap().hits;
        let distance = |row: &Row| match row.vector {
            Some(vector) if halved && vector[0] > Halved::FIRST_MAX => None,
            Some(vector) if halved => Some(metric.distance_between(&query, &vector.map(|value| value / 2.0))),
            vector => vector.map(|vector| metric.distance_between(&query, &vector)),
        };
        let mut expected: Vec<(Option<f64>, u64)> =
            view.values().map(|row| (distance(row), row.id)).collect();
        let order = |distance: Option<f64>| distance.unwrap_or(f64::INFINITY);
        expected.sort_by(|a, b| order(a.0).total_cmp(&order(b.0)).then(a.1.cmp(&b.1)));
        expected.truncate(k);
        assert_eq!(found.len(), expected.len(), "{:?}", ask);
        assert!(found.is_sorted_by(|a, b| order(a.distance) <= order(b.distance)));
        if exact || metric != Metric::L2 {
            // Scores are f32: those that round to the same number may change places at the end.
            let ids = found.iter().map(|hit| hit.row_id.0).collect::<HashSet<_>>();
            for (distance, id) in expected.iter().filter(|(_, id)| !ids.contains(id)) {
                let last = order(found[found.len() - 1].distance);
                assert!(
                    (order(*distance) - last).abs() <= last.abs() * 1e-5 + 1e-5,
                    "{id} {distance:?} {last}"
                );
            }
        }
        for hit in found {
            let row = &view[&hit.row_id.0];
            assert_eq!(hit.distance, distance(row));
            assert_eq!(snapshot.find(&[hit.row_id]).unwrap(), [Some(hit.locator)]);
        }
    }

    fn finish(mut self) -> BTreeMap<&'static str, u64> {
        assert_eq!(self.leader.encode_state()(), self.follower.encode_state()());
        self.held.clear();
        for (_, publish) in std::mem::take(&mut self.in_flight) {
            self.leader.discard(&publish);
        }
        self.leader.verify().unwrap();
        self.leader.collect_garbage().unwrap();
        let named = gc::named(&self.leader.version());
        let stored = self.env.objects.list(&gc::prefix(ShardId(5))).unwrap();
        let stored: HashSet<String> = stored.into_iter().map(|object| object.path).collect();
        assert_eq!(stored, named);
        self.check();
        self.done
    }
}

fn row_of(batch: &arrow::record_batch::RecordBatch, at: usize, id: u64) -> Row {
    let body = batch.column_by_name("body").unwrap().as_string::<i32>();
    let vector = batch.column_by_name("vector").unwrap().as_fixed_size_list();
    let vector = vector.is_valid(at).then(|| {
        let items = vector.value(at);
        let items = items.as_primitive::<Float32Type>();
        std::array::from_fn(|item| items.value(item))
    });
    let extra = batch.column_by_name("extra").map(|column| column.as_primitive::<Int64Type>().value(at));
    Row {
        id,
        key: batch.column_by_name("key").unwrap().as_primitive::<Int64Type>().value(at),
        body: body.is_valid(at).then(|| body.value(at).to_owned()),
        vector,
        extra,
    }
}

fn assert_same(found: &View, expected: &View, is_wide: bool) {
    let today = |row: &Row| {
        let extra = is_wide.then(|| row.extra.unwrap_or(EXTRA_MISSING));
        Row { extra, ..row.clone() }
    };
    let expected: View = expected.iter().map(|(id, row)| (*id, today(row))).collect();
    assert_eq!(found, &expected);
}

fn run(seed: u64, steps: usize) -> BTreeMap<&'static str, u64> {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(seed, dir.path());
    for _ in 0..steps {
        world.step();
        world.check();
    }
    world.finish()
}

#[test]
fn random_histories_agree_with_a_map() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("QUIVER_TEST_SEED");
    let seeds = number("QUIVER_TEST_SEQUENCES").unwrap_or(if seed.is_some() { 1 } else { 200 });
    let first = seed.unwrap_or(0);
    let mut done: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + seeds {
        println!("QUIVER_TEST_SEED={seed}");
        run(seed, 80).into_iter().for_each(|(what, count)| *done.entry(what).or_default() += count);
    }
    println!("{done:?}");
    let kinds = ["flush", "spill", "compact", "index", "deletes", "stale", "restart"];
    assert!(seeds < 40 || kinds.iter().all(|kind| done.contains_key(kind)), "{done:?}");
}
