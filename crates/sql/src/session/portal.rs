//! Portals of the extended protocol and cursors of SQL: one namespace, as in PostgreSQL.

use super::Session;
use super::command::Direction;
use super::guard::guarded;
use super::info::ListedCursor;
use super::rows::RowSource;
use crate::outcome::Tag;
use crate::statement::{Analyzed, ParamValue};
use crate::wire::connection::Connection;
use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use quiver_base::{Error, Reservation, Result, SqlState};
use std::collections::VecDeque;
use std::sync::Arc;

/// A prepared statement.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What analysing gave. Statements of the session are analysed too: their columns are known.
    pub analyzed: Analyzed,
    /// The whole query string that it came from, for error positions.
    pub query: Arc<str>,
    /// Made by PREPARE, and not by a Parse message.
    pub from_sql: bool,
    /// When, in microseconds since 1970.
    pub prepared_us: i64,
}

/// A statement that is about to run or has begun to.
#[derive(Debug)]
pub(crate) struct Portal {
    /// How far it is.
    pub state: PortalState,
    /// Its columns; `None` if it has no rows.
    pub columns: Option<SchemaRef>,
    /// Result formats as Bind gave them.
    pub formats: Vec<i16>,
    /// How many savepoints were open when it was made.
    pub depth: usize,
    /// WITH HOLD.
    pub hold: bool,
    /// When it was made, in microseconds since 1970.
    pub created_us: i64,
    /// The query string, for error positions.
    pub query: Arc<str>,
}

/// How far a portal is.
#[derive(Debug)]
pub(crate) enum PortalState {
    /// Not begun.
    Ready { prepared: Arc<Prepared>, params: Vec<ParamValue> },
    /// Gives rows.
    Rows { source: RowSource, tag: Tag },
    /// A cursor that can go back.
    Scroll(ScrollRows),
    /// At the end.
    Done(Option<&'static str>),
}

impl Portal {
    /// Whether it survives its transaction: the transaction that made it has ended well.
    pub(super) fn is_held(&self) -> bool {
        self.hold && self.depth == HELD
    }
}

/// The depth of a cursor that no savepoint and no end of a transaction takes away.
const HELD: usize = usize::MAX;

/// How far back a cursor can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// SCROLL: to its first row.
    All,
    /// Neither: as far as a bounded memory allows.
    Window,
    /// NO SCROLL: not at all.
    Nothing,
}

/// What a cursor that is neither SCROLL nor NO SCROLL remembers, in bytes.
const WINDOW_BYTES: usize = 4 << 20;

/// A cursor's rows, which stay in memory as they are read, so that it can go back to them.
#[derive(Debug)]
pub(crate) struct ScrollRows {
    source: RowSource,
    keep: Keep,
    batches: VecDeque<RecordBatch>,
    bytes: usize,
    /// Rows that were read so far, and how many of them have been forgotten.
    rows: usize,
    gone: usize,
    /// The current row, from 1; 0 is before the first, `rows + 1` after the last.
    position: usize,
    ended: bool,
    memory: Reservation,
}

impl ScrollRows {
    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.source.schema.clone()
    }

    /// Rows of `source`, kept in what `memory` allows.
    pub(super) fn new(source: RowSource, keep: Keep, memory: Reservation) -> ScrollRows {
        ScrollRows {
            source,
            keep,
            batches: VecDeque::new(),
            bytes: 0,
            rows: 0,
            gone: 0,
            position: 0,
            ended: false,
            memory,
        }
    }

    /// Reads until so many rows are there or the end has come.
    async fn load(&mut self, rows: usize) -> Result<()> {
        while !self.ended && self.rows < rows {
            match self.source.next(usize::MAX).await? {
                Some(batch) => {
                    let bytes = batch.get_array_memory_size();
                    self.memory.try_grow("a scrollable cursor", bytes)?;
                    self.bytes += bytes;
                    self.rows += batch.num_rows();
                    self.batches.push_back(batch);
                }
                None => self.ended = true,
            }
        }
        Ok(())
    }

    /// Gives up rows before the current one, as far as they need not be kept.
    fn forget(&mut self) {
        let kept = match self.keep {
            Keep::All => return,
            Keep::Window => WINDOW_BYTES,
            Keep::Nothing => 0,
        };
        while let Some(first) = self.batches.front() {
            if self.bytes <= kept || self.gone + first.num_rows() >= self.position {
                return;
            }
            let bytes = first.get_array_memory_size();
            self.gone += first.num_rows();
            self.bytes -= bytes;
            self.memory.shrink(bytes);
            self.batches.pop_front();
        }
    }

    /// Moves, and gives the rows that a FETCH of this direction gives.
    async fn fetch(&mut self, direction: Direction) -> Result<Vec<RecordBatch>> {
        self.forget();
        let here = self.position;
        match direction {
            Direction::Forward(0) | Direction::Backward(0) | Direction::Relative(0) => {
                self.one(here as i128).await
            }
            Direction::Forward(count) => {
                let last = here.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
                self.load(last).await?;
                let first = (here + 1).min(self.rows + 1);
                self.position = last.min(self.rows + 1);
                self.slice(first, last.min(self.rows))
            }
            Direction::Backward(_) if self.keep == Keep::Nothing => Err(forward_only()),
            Direction::Backward(count) => {
                let first = here.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
                let rows = self.slice(first.max(1), here.saturating_sub(1))?;
                self.position = first;
                reversed(&self.source.schema, &rows)
            }
            Direction::Absolute(row) if row >= 0 => self.one(i128::from(row)).await,
            Direction::Absolute(row) => {
                self.load(usize::MAX).await?;
                self.one(self.rows as i128 + 1 + i128::from(row)).await
            }
            Direction::Relative(count) => self.one(here as i128 + i128::from(count)).await,
        }
    }

    /// Goes to one row and gives it.
    async fn one(&mut self, row: i128) -> Result<Vec<RecordBatch>> {
        let row = usize::try_from(row.max(0)).unwrap_or(usize::MAX);
        if row < self.position && self.keep == Keep::Nothing {
            return Err(forward_only());
        }
        self.load(row).await?;
        self.position = row.min(self.rows + 1);
        self.slice(self.position.max(1), if row == 0 { 0 } else { self.position.min(self.rows) })
    }

    /// Rows from `first` to `last`, counted from 1, both included.
    fn slice(&self, first: usize, last: usize) -> Result<Vec<RecordBatch>> {
        if first <= self.gone && first <= last {
            return Err(forward_only());
        }
        let mut slices = Vec::new();
        let mut before = self.gone;
        for batch in &self.batches {
            let from = first.max(before + 1);
            let to = last.min(before + batch.num_rows());
            if from <= to {
                slices.push(batch.slice(from - before - 1, to - from + 1));
            }
            before += batch.num_rows();
        }
        Ok(slices)
    }
}

fn reversed(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let all = concat_batches(schema, batches)?;
    let order = UInt64Array::from_iter_values((0..all.num_rows() as u64).rev());
    Ok(vec![take_record_batch(&all, &order)?])
}

fn forward_only() -> Error {
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .with_hint("Declare it with SCROLL option to enable backward scan.")
}

impl Session {
    /// Tells pg_cursors what is open.
    pub(super) fn list_cursors(&self) {
        let mut cursors = self.info.cursors.lock();
        cursors.clear();
        // The unnamed portal is that of the statement which asks.
        cursors.extend(self.portals.iter().filter(|(name, _)| !name.is_empty()).map(|(name, portal)| {
            ListedCursor {
                name: name.clone(),
                statement: portal.query.to_string(),
                is_holdable: portal.hold,
                is_binary: portal.formats == [1],
                is_scrollable: matches!(&portal.state, PortalState::Scroll(rows) if rows.keep != Keep::Nothing),
                created_us: portal.created_us,
            }
        }));
    }

    /// A portal by name, taken out of the list.
    pub(super) fn take_portal(&mut self, name: &str) -> Result<Portal> {
        self.portals.remove(name).ok_or_else(|| no_portal(name))
    }

    /// FETCH and MOVE other than forward streaming: the rows, which are few or in memory.
    pub(super) async fn fetch(
        &mut self,
        conn: &mut Connection,
        name: &str,
        direction: Direction,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut portal = self.take_portal(name)?;
        let fetched = self.fetch_from(conn, &mut portal, direction).await;
        // A cursor whose query failed is gone with its transaction.
        if fetched.is_ok() {
            self.portals.insert(name.to_owned(), portal);
        }
        fetched
    }

    async fn fetch_from(
        &mut self,
        conn: &mut Connection,
        portal: &mut Portal,
        direction: Direction,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        match &mut portal.state {
            PortalState::Scroll(rows) => {
                let schema = rows.source.schema.clone();
                Ok((schema, self.scroll(conn, rows, direction).await?))
            }
            PortalState::Rows { source, .. } => {
                let (skip, take) = match direction {
                    Direction::Forward(count) => (0, count),
                    Direction::Relative(count @ 1..) => (count as u64 - 1, 1),
                    _ => return Err(forward_only()),
                };
                source.watch.deadline = self.deadline();
                let mut left = skip;
                while left > 0 {
                    match source.next_guarded(&mut conn.input, &self.info, at_most(left)).await? {
                        Some(batch) => left -= batch.num_rows() as u64,
                        None => break,
                    }
                }
                let (mut left, mut batches) = (take, Vec::new());
                while left > 0 {
                    match source.next_guarded(&mut conn.input, &self.info, at_most(left)).await? {
                        Some(batch) => {
                            left -= batch.num_rows() as u64;
                            batches.push(batch);
                        }
                        None => break,
                    }
                }
                Ok((source.schema.clone(), batches))
            }
            PortalState::Ready { .. } | PortalState::Done(_) => {
                Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run".to_owned()))
            }
        }
    }

    /// Moves a cursor and gives its rows.
    pub(super) async fn scroll(
        &mut self,
        conn: &mut Connection,
        rows: &mut ScrollRows,
        direction: Direction,
    ) -> Result<Vec<RecordBatch>> {
        let mut watch = rows.source.watch.clone();
        watch.deadline = self.deadline();
        guarded(&mut conn.input, &self.info, &watch, rows.fetch(direction)).await
    }

    /// At COMMIT: what WITH HOLD cursors have not given yet is read into memory.
    pub(super) async fn hold_cursors(&mut self) -> Result<()> {
        let names: Vec<String> = self
            .portals
            .iter()
            .filter(|(_, portal)| portal.hold && !portal.is_held())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let Some(mut portal) = self.portals.remove(&name) else { continue };
            match &mut portal.state {
                PortalState::Scroll(rows) => rows.load(usize::MAX).await?,
                PortalState::Rows { source, .. } => {
                    let memory = self.shared.cluster.memory().empty();
                    let source = RowSource::of_batches(source.schema.clone(), source.collect().await?);
                    let mut rows = ScrollRows::new(source, Keep::All, memory);
                    rows.load(usize::MAX).await?;
                    portal.state = PortalState::Scroll(rows);
                }
                _ => {}
            }
            portal.depth = HELD;
            self.portals.insert(name, portal);
        }
        Ok(())
    }
}

/// A number of rows as a limit.
pub(super) fn at_most(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// 34000.
pub(super) fn no_portal(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}
