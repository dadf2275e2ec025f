//! Indexes that a filter's rows are found by: which values a filter confines a column to, the order of values as 64-bit codes, and
//! the candidates among a segment's rows. Candidates are a superset; whoever asks evaluates the filter on them.

use crate::Segment;
use crate::TableLayout;
use crate::key::{KeyEncoder, interval_nanos, key_hash};
use crate::key_index::KeyIndex;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, i256,
};
use quiver_base::{ColumnId, IndexId, Result, SqlState};
use quiver_index::{Metric, VectorIndex, VectorIndexKind, range_segment};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, Range};
use std::sync::Arc;

mod items;

pub(crate) use items::ItemCoder;

/// An index over one column, by which rows are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupDef {
    /// The index's oid.
    pub id: IndexId,
    /// Its first column.
    pub column: ColumnId,
    /// What it has an entry for.
    pub kind: LookupKind,
}

/// What an index over one column has an entry for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupKind {
    /// Each value: B-trees and hash indexes.
    Values,
    /// Each item of a list; each leaf and top-level key of a document: gin.
    Items,
}

impl LookupKind {
    /// Whether rows of such a constraint are found by it.
    pub fn serves(self, allowed: &Allowed) -> bool {
        match allowed {
            Allowed::Values(_) | Allowed::Between(..) => self == LookupKind::Values,
            Allowed::Items(..) | Allowed::Document(_) | Allowed::Keys(..) => self == LookupKind::Items,
            Allowed::Near(_) => false,
        }
    }
}

/// How the values of a lookup file are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LookupCode {
    /// Codes are in the values' order; different values may share one.
    Order,
    /// Codes are hashes of the values' key encodings.
    Hash,
    /// Codes are hashes of items, several for a row.
    Items,
}

impl LookupCode {
    /// The files that an index over a column of this type has. Hashes beside the order where many values may share a code.
    pub(crate) fn of(kind: LookupKind, data_type: &DataType) -> &'static [LookupCode] {
        if kind == LookupKind::Items {
            return &[LookupCode::Items];
        }
        match data_type {
            DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Float32
            | DataType::Float64 => &[LookupCode::Order],
            DataType::Utf8
            | DataType::Binary
            | DataType::FixedSizeBinary(_)
            | DataType::Interval(IntervalUnit::MonthDayNano)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => &[LookupCode::Order, LookupCode::Hash],
            _ => &[LookupCode::Hash],
        }
    }
}

/// What a filter confines a column to.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The column.
    pub column: ColumnId,
    /// The values that it may have, of the column's type.
    pub allowed: Allowed,
}

/// Values that a column may have.
#[derive(Clone, Debug)]
pub enum Allowed {
    /// These; NULLs among them mean nothing.
    Values(ArrayRef),
    /// Those from the first to the second, both included; each is one row long.
    Between(Option<ArrayRef>, Option<ArrayRef>),
    /// Lists that have these items: all of them, or one. NULLs are among no list's items.
    Items(ArrayRef, Share),
    /// Documents that contain this one.
    Document(String),
    /// Documents that have these keys at their top, all of them or one.
    Keys(Vec<String>, Share),
    /// Vectors inside a radius.
    Near(Near),
}

/// Vectors inside a radius of a point.
#[derive(Clone, Debug)]
pub struct Near {
    /// The distance.
    pub metric: Metric,
    /// The point.
    pub query: Vec<f32>,
    /// How far they may be, as SQL shows distances.
    pub radius: Bound<f64>,
}

/// How much of a list of items has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Every item.
    All,
    /// At least one.
    Any,
}

/// Codes of a column's values by row; `None` for NULL.
pub(crate) struct Coder<'a> {
    column: &'a ArrayRef,
    code: Box<dyn Fn(usize) -> u64 + 'a>,
}

impl<'a> Coder<'a> {
    /// For the values of a column. `None` if its type has no such codes.
    pub(crate) fn new(column: &'a ArrayRef, code: LookupCode) -> Result<Option<Coder<'a>>> {
        let code = match code {
            LookupCode::Order => order(column),
            LookupCode::Hash => Some(hash(column)?),
            LookupCode::Items => None,
        };
        Ok(code.map(|code| Coder { column, code }))
    }

    pub(crate) fn at(&self, row: usize) -> Option<u64> {
        self.column.is_valid(row).then(|| (self.code)(row))
    }
}

fn hash<'a>(column: &'a ArrayRef) -> Result<Box<dyn Fn(usize) -> u64 + 'a>> {
    let encoder = KeyEncoder::new(std::slice::from_ref(column))?;
    Ok(Box::new(move |row| {
        let mut bytes = Vec::new();
        encoder.encode(row, &mut bytes);
        key_hash(&bytes)
    }))
}

fn order<'a>(column: &'a ArrayRef) -> Option<Box<dyn Fn(usize) -> u64 + 'a>> {
    macro_rules! integers {
        ($type:ty) => {{
            let values = column.as_primitive::<$type>();
            Box::new(move |row| of_integer(i64::from(values.value(row))))
        }};
    }
    Some(match column.data_type() {
        DataType::Boolean => Box::new(move |row| u64::from(column.as_boolean().value(row))),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::Date32 => integers!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => integers!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType),
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            Box::new(move |row| of_float(values.value(row).into()))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Box::new(move |row| of_float(values.value(row)))
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            Box::new(move |row| of_float(values.value(row) as f64))
        }
        DataType::Decimal256(..) => {
            let values = column.as_primitive::<Decimal256Type>();
            Box::new(move |row| of_float(rounded(values.value(row))))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>();
            Box::new(move |row| of_float(interval_nanos(values.value(row)) as f64))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            Box::new(move |row| of_bytes(values.value(row).as_bytes()))
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            Box::new(move |row| of_bytes(values.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            Box::new(move |row| of_bytes(values.value(row)))
        }
        _ => return None,
    })
}

fn of_integer(value: i64) -> u64 {
    (value ^ i64::MIN) as u64
}

/// Zeros are equal; otherwise the total order, which Arrow compares floats by.
fn of_float(value: f64) -> u64 {
    let bits = (if value == 0.0 { 0.0 } else { value }).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// A float near the number: never smaller than that of a smaller number.
fn rounded(value: i256) -> f64 {
    /// Up to here the upper half and what the lower half adds are exact enough to be added.
    const HIGH_MAX: u128 = 1 << 52;
    let (low, high) = value.to_parts();
    let low = if high.unsigned_abs() > HIGH_MAX { 0.0 } else { low as f64 };
    high as f64 * 2f64.powi(128) + low
}

/// The first eight bytes.
fn of_bytes(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(first)
}

/// Of this many rows of a segment one may be a candidate; if more are, reading all rows is no slower.
const ROWS_PER_CANDIDATE: usize = 16;

/// The positions of a segment's rows that can pass a filter with these constraints, ascending; `None` if no index says.
pub(crate) fn candidates(
    segment: &Segment,
    layout: &TableLayout,
    constraints: &[Constraint],
) -> Result<Option<Vec<u32>>> {
    let mut best: Option<Found> = None;
    for constraint in constraints {
        for def in layout.lookups.iter().filter(|def| def.column == constraint.column) {
            let found = match find(segment, layout, *def, &constraint.allowed) {
                // What there is no memory for is read instead.
                Err(error) if error.state() == SqlState::OUT_OF_MEMORY => None,
                found => found?,
            };
            let Some(found) = found else { continue };
            if best.as_ref().is_none_or(|best| found.len() < best.len()) {
                best = Some(found);
            }
        }
    }
    let enough = |found: usize| found <= segment.rows() as usize / ROWS_PER_CANDIDATE;
    if let Some(best) = best.filter(|best| enough(best.len())) {
        return Ok(Some(best.positions()));
    }
    for constraint in constraints {
        let Allowed::Near(near) = &constraint.allowed else { continue };
        if let Some(rows) =
            inside(segment, layout, constraint.column, near)?.filter(|rows| enough(rows.len()))
        {
            return Ok(Some(rows));
        }
    }
    Ok(None)
}

/// Rows whose vector is inside a radius: all of them, since a graph's codes only rule out what cannot be. `None` if they are to be looked for
/// by reading.
fn inside(
    segment: &Segment,
    layout: &TableLayout,
    column: ColumnId,
    near: &Near,
) -> Result<Option<Vec<u32>>> {
    let Some(vectors) = segment.vectors(column)? else { return Ok(None) };
    if usize::from(vectors.dim()) != near.query.len() {
        // Whoever compares says so.
        return Ok(None);
    }
    let mut graph = None;
    for def in layout.vector_indexes.iter().filter(|def| def.metric == near.metric) {
        let is_whole = def.whole_column() == Some(column) && matches!(def.kind, VectorIndexKind::Hnsw(_));
        if graph.is_none() && is_whole {
            graph = segment.graph(def.id)?;
        }
    }
    let graph: Option<&VectorIndex> = graph.as_ref().map(|graph| &***graph);
    let found = range_segment(&vectors, graph, near.metric, &near.query, near.radius, None);
    let mut rows: Vec<u32> = found.into_iter().map(|neighbor| neighbor.row).collect();
    rows.sort_unstable();
    Ok(Some(rows))
}

/// Entries of one file.
struct Found {
    index: Arc<KeyIndex>,
    entries: Vec<Range<usize>>,
    /// Each of these has to have a row too; positions ascend within one.
    also: Vec<Range<usize>>,
}

impl Found {
    fn len(&self) -> usize {
        self.entries.iter().map(Range::len).sum()
    }

    fn positions(self) -> Vec<u32> {
        let at = |at| self.index.position(at);
        let mut positions: Vec<u32> = self.entries.iter().cloned().flatten().map(at).collect();
        for other in &self.also {
            positions.retain(|row| self.index.has(other, *row));
        }
        positions.sort_unstable();
        positions.dedup();
        positions
    }
}

fn find(segment: &Segment, layout: &TableLayout, def: LookupDef, allowed: &Allowed) -> Result<Option<Found>> {
    let Some(column) = layout.column(def.column).filter(|_| def.kind.serves(allowed)) else {
        return Ok(None);
    };
    let codes = LookupCode::of(def.kind, column.field.data_type());
    let has_type = |array: &ArrayRef| array.data_type() == column.field.data_type();
    match allowed {
        Allowed::Values(values) if has_type(values) => {
            // Values that share no code with others are found by the order as well.
            let Some(code) = codes.last().copied() else { return Ok(None) };
            let index = segment.lookup_index(layout, def, code)?;
            let Some(coder) = Coder::new(values, code)? else { return Ok(None) };
            let wanted = (0..values.len()).filter_map(|row| coder.at(row));
            let entries = wanted.map(|code| index.between(code, code)).collect();
            Ok(Some(Found { index, entries, also: Vec::new() }))
        }
        Allowed::Between(low, high)
            if codes.contains(&LookupCode::Order) && low.iter().chain(high).all(has_type) =>
        {
            let bound = |bound: &Option<ArrayRef>, otherwise: u64| -> Result<Option<u64>> {
                let Some(value) = bound else { return Ok(Some(otherwise)) };
                Ok(Coder::new(value, LookupCode::Order)?.and_then(|coder| coder.at(0)))
            };
            let (Some(low), Some(high)) = (bound(low, 0)?, bound(high, u64::MAX)?) else { return Ok(None) };
            let index = segment.lookup_index(layout, def, LookupCode::Order)?;
            let entries = vec![index.between(low, high)];
            Ok(Some(Found { index, entries, also: Vec::new() }))
        }
        Allowed::Values(_) | Allowed::Between(..) | Allowed::Near(_) => Ok(None),
        Allowed::Items(..) | Allowed::Document(_) | Allowed::Keys(..) => {
            let Some((codes, share)) = item_codes(column.field.data_type(), allowed)? else {
                return Ok(None);
            };
            Ok(Some(with_items(segment.lookup_index(layout, def, LookupCode::Items)?, &codes, share)))
        }
    }
}

/// The codes of which rows must have a share; `None` if nothing can be said.
fn item_codes(data_type: &DataType, allowed: &Allowed) -> Result<Option<(Vec<u64>, Share)>> {
    let found = match (data_type, allowed) {
        (DataType::List(item), Allowed::Items(items, share)) if item.data_type() == items.data_type() => {
            let code = hash(items)?;
            let codes = (0..items.len()).filter(|row| items.is_valid(*row)).map(code);
            Some((codes.collect::<Vec<_>>(), *share))
        }
        (DataType::Utf8, Allowed::Document(text)) => items::leaves(text).map(|codes| (codes, Share::All)),
        (DataType::Utf8, Allowed::Keys(names, share)) => {
            Some((names.iter().map(|name| items::key(name)).collect(), *share))
        }
        _ => None,
    };
    Ok(found.filter(|(codes, _)| !codes.is_empty()))
}

fn with_items(index: Arc<KeyIndex>, codes: &[u64], share: Share) -> Found {
    let mut entries: Vec<Range<usize>> = codes.iter().map(|code| index.between(*code, *code)).collect();
    let unreadable = index.between(items::UNREADABLE, items::UNREADABLE);
    if share == Share::Any || !unreadable.is_empty() {
        entries.push(unreadable);
        return Found { index, entries, also: Vec::new() };
    }
    entries.sort_by_key(Range::len);
    let also = entries.split_off(1);
    Found { index, entries, also }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests;
