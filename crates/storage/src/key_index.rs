//! Which rows of a segment may have a key: hashes and positions, sorted, searched as they lie. Knows no values; whoever asks
//! compares those.
//!
//! A frame whose body is: entries u64 | the segment's rows u64 | entries × hash u64, ascending | entries × position u32.
//! Rows with a NULL among the key's values are not in it. Lookup files have the same form, with codes of values in place of hashes.

use crate::LookupCode;
use crate::frame::Format;
use crate::lookup::{Coder, ItemCoder};
use crate::objects::{ObjectMap, ObjectWriter};
use arrow::array::{Array, ArrayRef};
use bytes::Bytes;
use quiver_base::{Error, MemoryBudget, Reservation, Result};
use std::ops::Range;
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"QVKI", version: 1, name: "key index" };
const HASH_BYTES: usize = 8;
const POSITION_BYTES: usize = 4;

/// Collects hashes while rows go by.
#[derive(Debug)]
pub(crate) struct KeyIndexBuilder {
    entries: Vec<(u64, u32)>,
    memory: Reservation,
}

impl KeyIndexBuilder {
    pub(crate) fn new(memory: &Arc<MemoryBudget>) -> KeyIndexBuilder {
        KeyIndexBuilder { entries: Vec::new(), memory: memory.empty() }
    }

    /// Makes room for more rows.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<()> {
        self.memory.try_grow("a key index", rows * size_of::<(u64, u32)>())
    }

    pub(crate) fn add(&mut self, hash: u64, position: u32) {
        self.entries.push((hash, position));
    }

    /// Adds the codes of a column's values, the first of which is at position `first`.
    pub(crate) fn add_codes(&mut self, column: &ArrayRef, code: LookupCode, first: u32) -> Result<()> {
        if code == LookupCode::Items {
            return self.add_items(column, first);
        }
        let Some(coder) = Coder::new(column, code)? else {
            return Err(Error::internal("values of this type have no order"));
        };
        self.reserve(column.len())?;
        for row in 0..column.len() {
            if let Some(code) = coder.at(row) {
                self.add(code, first + row as u32);
            }
        }
        Ok(())
    }

    fn add_items(&mut self, column: &ArrayRef, first: u32) -> Result<()> {
        let Some(coder) = ItemCoder::new(column)? else {
            return Err(Error::internal("values of this type have no items"));
        };
        for row in 0..column.len() {
            let codes = coder.of(row);
            self.reserve(codes.len())?;
            codes.into_iter().for_each(|code| self.add(code, first + row as u32));
        }
        Ok(())
    }

    fn frame(&mut self, rows: u32) -> Vec<u8> {
        self.entries.sort_unstable();
        let mut frame = FORMAT.start();
        frame.reserve_exact(self.entries.len() * (HASH_BYTES + POSITION_BYTES) + 24);
        frame.extend((self.entries.len() as u64).to_le_bytes());
        frame.extend(u64::from(rows).to_le_bytes());
        self.entries.iter().for_each(|(hash, _)| frame.extend(hash.to_le_bytes()));
        self.entries.iter().for_each(|(_, position)| frame.extend(position.to_le_bytes()));
        self.entries = Vec::new();
        FORMAT.finish(frame)
    }

    /// Writes the file of a segment of `rows` rows.
    pub(crate) fn write(mut self, rows: u32, out: &mut ObjectWriter) -> Result<()> {
        out.append(&self.frame(rows))
    }

    /// An index that lives in memory only, of a segment of `rows` rows.
    pub(crate) fn build(mut self, rows: u32) -> Result<KeyIndex> {
        let frame = Bytes::from(self.frame(rows));
        self.memory.shrink(self.memory.bytes().saturating_sub(frame.len()));
        Ok(KeyIndex { _memory: Some(self.memory), ..KeyIndex::decode(frame, rows)? })
    }
}

/// An opened index.
#[derive(Debug)]
pub(crate) struct KeyIndex {
    hashes: Bytes,
    positions: Bytes,
    _memory: Option<Reservation>,
}

impl KeyIndex {
    /// Opens the file of a segment of `rows` rows.
    pub(crate) fn open(map: &Arc<ObjectMap>, rows: u32) -> Result<KeyIndex> {
        KeyIndex::decode(map.bytes(), rows)
    }

    fn decode(frame: Bytes, rows: u32) -> Result<KeyIndex> {
        let mut reader = FORMAT.open(&frame)?;
        let (entries, stored_rows) = (reader.u64()?, reader.u64()?);
        let bytes = |size: usize| usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(size);
        let hashes = frame.slice_ref(reader.bytes(bytes(HASH_BYTES))?);
        let positions = frame.slice_ref(reader.bytes(bytes(POSITION_BYTES))?);
        reader.end()?;
        let index = KeyIndex { hashes, positions, _memory: None };
        if stored_rows != u64::from(rows) || (0..index.len()).any(|at| index.position(at) >= rows) {
            return Err(Error::corrupt("key index: not of a segment of this size"));
        }
        Ok(index)
    }

    /// How many entries it has.
    fn len(&self) -> usize {
        self.hashes.len() / HASH_BYTES
    }

    fn hash(&self, at: usize) -> u64 {
        self.hashes.as_chunks().0.get(at).map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The position of an entry.
    pub(crate) fn position(&self, at: usize) -> u32 {
        self.positions.as_chunks().0.get(at).map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Positions of the rows with this hash, ascending.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let start = self.first_at_least(hash);
        (start..self.len()).take_while(move |at| self.hash(*at) == hash).map(|at| self.position(at))
    }

    /// Whether a row is among entries of one code.
    pub(crate) fn has(&self, entries: &Range<usize>, row: u32) -> bool {
        let (mut low, mut high) = (entries.start, entries.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.position(middle) < row { low = middle + 1 } else { high = middle }
        }
        low < entries.end && self.position(low) == row
    }

    /// The entries whose codes are in a range, its ends included.
    pub(crate) fn between(&self, low: u64, high: u64) -> Range<usize> {
        let end = high.checked_add(1).map_or(self.len(), |above| self.first_at_least(above));
        self.first_at_least(low).min(end)..end
    }

    /// Hashes are spread evenly, so the place is guessed, the guess widened until it is right, and then halved.
    fn first_at_least(&self, hash: u64) -> usize {
        let guess = ((u128::from(hash) * self.len() as u128) >> 64) as usize;
        let (mut low, mut high, mut step) = (guess, guess, 8);
        while low > 0 && self.hash(low - 1) >= hash {
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 8;
        while high < self.len() && self.hash(high) < hash {
            high = self.len().min(high + step);
            step *= 2;
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.hash(middle) < hash { low = middle + 1 } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::objects::{Objects, RealFs};
    use proptest::prelude::*;

    fn index(hashes: &[u64]) -> KeyIndexBuilder {
        let mut builder = KeyIndexBuilder::new(&MemoryBudget::unlimited());
        builder.reserve(hashes.len()).unwrap();
        hashes.iter().enumerate().for_each(|(row, hash)| builder.add(*hash, row as u32));
        builder
    }

    fn scan(hashes: &[u64], wanted: u64) -> Vec<u32> {
        (0..hashes.len()).filter(|row| hashes[*row] == wanted).map(|row| row as u32).collect()
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            hashes in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..5, Just(u64::MAX)], 0..300),
            absent in any::<u64>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let objects = Objects::local(dir.path(), Arc::new(RealFs)).unwrap();
            let mut out = objects.create("x.key").unwrap();
            index(&hashes).write(hashes.len() as u32, &mut out).unwrap();
            let object = out.finish().unwrap();
            let opened = KeyIndex::open(&objects.map(&object).unwrap(), hashes.len() as u32).unwrap();
            let built = index(&hashes).build(hashes.len() as u32).unwrap();
            prop_assert_eq!(opened.len(), hashes.len());
            for wanted in hashes.iter().copied().chain([absent, 0, u64::MAX]) {
                prop_assert_eq!(opened.candidates(wanted).collect::<Vec<_>>(), scan(&hashes, wanted));
                prop_assert_eq!(built.candidates(wanted).collect::<Vec<_>>(), scan(&hashes, wanted));
            }
            prop_assert!(KeyIndex::open(&objects.map(&object).unwrap(), hashes.len() as u32 + 1).is_err());
        }
    }

    #[test]
    fn an_index_in_memory_is_charged_until_it_is_dropped() {
        let memory = MemoryBudget::new(100_000);
        let mut builder = KeyIndexBuilder::new(&memory);
        builder.reserve(1000).unwrap();
        (0..1000).for_each(|row| builder.add(u64::from(row), row));
        let built = builder.build(1000).unwrap();
        assert_eq!(memory.used_bytes(), 12_028);
        drop(built);
        assert_eq!(memory.used_bytes(), 0);
        assert!(KeyIndexBuilder::new(&memory).reserve(10_000).is_err());
    }
}
