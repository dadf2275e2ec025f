//! Sequences: values are taken from a range whose end is durable before any of it is given out. Knows no transaction but for
//! sequences that one has made and not committed.

use crate::cluster::Cluster;
use crate::command::{Command, Kind};
use crate::meta::{SequenceMove, encode_content};
use crate::proposer::Stamp;
use crate::{Catalog, CatalogEdit, Sequence};
use bytes::Bytes;
use parking_lot::Mutex;
use quiver_base::{DatabaseId, Error, Result, SqlState, TableId, TxnId};
use std::collections::HashMap;
use std::sync::Arc;

/// How many values one log entry makes available, as in PostgreSQL. A crash skips what was left of them.
const RANGE: usize = 32;

type Key = (DatabaseId, TableId);

/// What this leader knows about sequences.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    slots: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Slot>>>>,
    /// Made by a transaction that has not committed: positions move in memory and go out with its edits.
    uncommitted: Mutex<HashMap<Key, Sequence>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The catalog's sequence that the rest belongs to; another one there (ALTER SEQUENCE, setval) makes it void.
    of: Option<Arc<Sequence>>,
    /// The next value to give out; `None`: all are used up.
    next: Option<i64>,
    /// Values left in the durable range.
    left: usize,
    last: Option<i64>,
}

impl Sequence {
    /// The value after `value`; `None` past the end.
    fn after(&self, value: i64) -> Option<i64> {
        let next = value.checked_add(self.increment).filter(|next| (self.min..=self.max).contains(next));
        let start_over = if self.increment > 0 { self.min } else { self.max };
        next.or(self.cycle.then_some(start_over))
    }

    fn position(&self) -> Option<i64> {
        (!self.exhausted).then_some(self.next)
    }

    fn set_position(&mut self, position: Option<i64>) {
        self.exhausted = position.is_none();
        self.next = position.unwrap_or(self.next);
    }

    fn used_up(&self) -> Error {
        let (end, limit) = if self.increment > 0 { ("maximum", self.max) } else { ("minimum", self.min) };
        Error::new(
            SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
            format!("nextval: reached {end} value of sequence \"{}\" ({limit})", self.name),
        )
    }
}

impl Sequences {
    fn slot(&self, key: Key) -> Arc<tokio::sync::Mutex<Slot>> {
        self.slots.lock().entry(key).or_default().clone()
    }

    /// A transaction made or changed a sequence. One that others know keeps its values until the commit.
    pub(crate) fn put_uncommitted(
        &self,
        committed: &Catalog,
        database: DatabaseId,
        sequence: &Arc<Sequence>,
    ) {
        let known =
            committed.databases.get(&database).is_some_and(|d| d.sequences.contains_key(&sequence.id));
        if !known {
            let mut uncommitted = self.uncommitted.lock();
            let key = (database, sequence.id);
            // ALTER SEQUENCE … OWNED BY and the like must not take values back that were given out since.
            let moved = uncommitted.get(&key).filter(|old| old.start == sequence.start);
            let position = moved.map_or(sequence.position(), Sequence::position);
            let mut sequence = Sequence::clone(sequence);
            sequence.set_position(position);
            uncommitted.insert(key, sequence);
        }
    }

    /// Writes the positions of sequences that a committing transaction made into its edits.
    pub(crate) fn take_uncommitted(&self, database: DatabaseId, edits: &mut [CatalogEdit]) {
        let uncommitted = self.uncommitted.lock();
        for edit in edits {
            if let CatalogEdit::PutSequence(_, sequence) = edit
                && let Some(moved) = uncommitted.get(&(database, sequence.id))
            {
                Arc::make_mut(sequence).set_position(moved.position());
            }
        }
    }

    /// Its transaction has ended.
    pub(crate) fn forget_uncommitted(&self, database: DatabaseId, edits: &[CatalogEdit]) {
        for edit in edits {
            if let CatalogEdit::PutSequence(_, sequence) = edit {
                self.uncommitted.lock().remove(&(database, sequence.id));
            }
        }
    }

    fn take_from_uncommitted(&self, key: Key, count: usize) -> Option<Result<Vec<i64>>> {
        let mut uncommitted = self.uncommitted.lock();
        let sequence = uncommitted.get_mut(&key)?;
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            let Some(value) = sequence.position() else { return Some(Err(sequence.used_up())) };
            values.push(value);
            let next = sequence.after(value);
            sequence.set_position(next);
        }
        Some(Ok(values))
    }
}

impl Cluster {
    /// The next value of a sequence: durable before it is given out, never given twice, not undone by ROLLBACK.
    pub async fn next_value(&self, database: DatabaseId, sequence: TableId) -> Result<i64> {
        let values = self.next_values(database, sequence, 1).await?;
        values.first().copied().ok_or_else(|| Error::internal("a sequence gave no value"))
    }

    /// The next `count` values, for a bulk load: one log entry for all of them.
    pub async fn next_values(
        &self,
        database: DatabaseId,
        sequence: TableId,
        count: usize,
    ) -> Result<Vec<i64>> {
        let key = (database, sequence);
        if self.committed_sequence(key).is_err()
            && let Some(values) = self.sequences.take_from_uncommitted(key, count)
        {
            return values;
        }
        let slot = self.sequences.slot(key);
        let mut slot = slot.lock().await;
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            let sequence = self.refresh(key, &mut slot)?;
            if slot.left == 0 {
                self.extend_range(key, &sequence, &mut slot, RANGE.max(count - values.len())).await?;
            }
            let Some(value) = slot.next else { return Err(sequence.used_up()) };
            values.push(value);
            slot.next = sequence.after(value);
            slot.left -= 1;
            slot.last = Some(value);
        }
        Ok(values)
    }

    /// `setval`: 22003 outside of the bounds.
    pub async fn set_value(
        &self,
        database: DatabaseId,
        sequence: TableId,
        value: i64,
        called: bool,
    ) -> Result<()> {
        let key = (database, sequence);
        let slot = self.sequences.slot(key);
        let mut slot = slot.lock().await;
        let uncommitted = self.sequences.uncommitted.lock().get(&key).cloned();
        let known = self.committed_sequence(key);
        let sequence = match (&known, uncommitted) {
            (Err(_), Some(sequence)) => Arc::new(sequence),
            _ => known.clone()?,
        };
        if !(sequence.min..=sequence.max).contains(&value) {
            return Err(Error::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    sequence.name, sequence.min, sequence.max
                ),
            ));
        }
        let position = if called { sequence.after(value) } else { Some(value) };
        if known.is_err() {
            if let Some(sequence) = self.sequences.uncommitted.lock().get_mut(&key) {
                sequence.set_position(position);
            }
            return Ok(());
        }
        self.move_sequence(key, position, value).await?;
        *slot = Slot { last: called.then_some(value), ..Slot::default() };
        Ok(())
    }

    /// `last_value` and `is_called` of a sequence.
    pub async fn sequence_state(&self, database: DatabaseId, sequence: TableId) -> Result<(i64, bool)> {
        let key = (database, sequence);
        let slot = self.sequences.slot(key);
        let mut slot = slot.lock().await;
        let sequence = match self.sequences.uncommitted.lock().get(&key).cloned() {
            Some(sequence) => Arc::new(sequence),
            None => self.refresh(key, &mut slot)?,
        };
        if let Some(last) = slot.last {
            return Ok((last, true));
        }
        match sequence.position() {
            Some(next) if next == sequence.start => Ok((next, false)),
            Some(next) => Ok((next - sequence.increment, true)),
            None => Ok((if sequence.increment > 0 { sequence.max } else { sequence.min }, true)),
        }
    }

    fn committed_sequence(&self, (database, sequence): Key) -> Result<Arc<Sequence>> {
        let catalog = self.catalog();
        let found = catalog.databases.get(&database).and_then(|database| database.sequences.get(&sequence));
        found.cloned().ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_TABLE, format!("could not open relation with OID {sequence}"))
        })
    }

    /// The sequence as the catalog has it; what the slot holds of another one is dropped.
    fn refresh(&self, key: Key, slot: &mut Slot) -> Result<Arc<Sequence>> {
        let sequence = self.committed_sequence(key)?;
        if slot.of.as_ref() != Some(&sequence) {
            // last_value survives what only moved the position here.
            let last = slot.last.filter(|_| slot.of.as_ref().is_some_and(|of| of.start == sequence.start));
            *slot = Slot { of: Some(sequence.clone()), next: sequence.position(), left: 0, last };
        }
        Ok(sequence)
    }

    async fn extend_range(&self, key: Key, sequence: &Sequence, slot: &mut Slot, count: usize) -> Result<()> {
        let Some(first) = slot.next else { return Err(sequence.used_up()) };
        let (mut end, mut taken) = (Some(first), 0);
        while taken < count
            && let Some(value) = end
        {
            end = sequence.after(value);
            taken += 1;
        }
        let last = slot.last;
        self.move_sequence(key, end, first).await?;
        *slot = Slot { of: Some(self.committed_sequence(key)?), next: Some(first), left: taken, last };
        Ok(())
    }

    /// Gives back what is left of all ranges, so that a stop in good order leaves no gaps.
    pub(crate) async fn return_ranges(&self) -> Result<()> {
        let slots: Vec<_> =
            self.sequences.slots.lock().iter().map(|(key, slot)| (*key, slot.clone())).collect();
        for (key, slot) in slots {
            let mut slot = slot.lock().await;
            let unchanged = self.committed_sequence(key).is_ok_and(|sequence| slot.of == Some(sequence));
            if unchanged
                && slot.left > 0
                && let Some(next) = slot.next
            {
                self.move_sequence(key, Some(next), next).await?;
                *slot = Slot { last: slot.last, ..Slot::default() };
            }
        }
        Ok(())
    }

    async fn move_sequence(
        &self,
        (database, sequence): Key,
        position: Option<i64>,
        otherwise: i64,
    ) -> Result<()> {
        let (next, exhausted) = (position.unwrap_or(otherwise), position.is_none());
        let moves = vec![SequenceMove { database, sequence, next, exhausted }];
        let command = Command {
            blobs: vec![(0, Bytes::from(encode_content(&moves)?))],
            ..Command::new(Kind::MoveSequence, TxnId(0))
        };
        let term = self.meta.leader_term()?;
        self.propose_meta(&command, Stamp::checked_in(term)).await?.into_result()
    }
}
