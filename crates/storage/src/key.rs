//! The one encoding of key values to bytes, and its hash. Key files, shard routing and key locks rely on it, so it never
//! changes: equal values of one key have equal bytes, different values different bytes.
//!
//! The values follow one another. Integers, dates and times: 8 bytes. Floats: 8 bytes, as f64. Numerics: 32. Intervals: 16.
//! Booleans: 1. uuids: 16. Text, bytea, json, sparsevec, bit: length u32, bytes. Arrays and vectors: length u32, then for each item a byte,
//! 0 for NULL, 1 before a value. All big-endian, signed integers with the sign bit flipped.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, i256,
};
use quiver_base::{Error, Result, SqlState};

type Append<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// Encodes the keys of many rows.
pub struct KeyEncoder<'a> {
    columns: &'a [ArrayRef],
    appends: Vec<Append<'a>>,
}

impl<'a> KeyEncoder<'a> {
    /// Of these key columns. An error if a column's type cannot be in a key.
    pub fn new(columns: &'a [ArrayRef]) -> Result<KeyEncoder<'a>> {
        let appends = columns.iter().map(|column| append(column)).collect::<Result<_>>()?;
        Ok(KeyEncoder { columns, appends })
    }

    /// Adds the bytes of a row's key to `out`. False, with `out` as it was, if a value is NULL.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) -> bool {
        if self.columns.iter().any(|column| column.is_null(row)) {
            return false;
        }
        for append in &self.appends {
            append(row, out);
        }
        true
    }
}

impl std::fmt::Debug for KeyEncoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyEncoder({} columns)", self.columns.len())
    }
}

/// The bytes of a row's key; `None` if a value is NULL. An error if a column's type cannot be in a key.
pub fn encode_key(columns: &[ArrayRef], row: usize) -> Result<Option<Vec<u8>>> {
    let mut key = Vec::new();
    Ok(KeyEncoder::new(columns)?.encode(row, &mut key).then_some(key))
}

/// The hash of a key's bytes.
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

fn append(column: &ArrayRef) -> Result<Append<'_>> {
    macro_rules! integers {
        ($type:ty) => {{
            let values = column.as_primitive::<$type>();
            Box::new(move |row, out: &mut Vec<u8>| put_i64(i64::from(values.value(row)), out))
        }};
    }
    Ok(match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            Box::new(move |row, out| out.push(u8::from(values.value(row))))
        }
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::Date32 => integers!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => integers!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType),
        DataType::Float16 => {
            let values = column.as_primitive::<Float16Type>();
            Box::new(move |row, out| put_f64(values.value(row).into(), out))
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            Box::new(move |row, out| put_f64(f64::from(values.value(row)), out))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Box::new(move |row, out| put_f64(values.value(row), out))
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            Box::new(move |row, out| put_i256(i256::from_i128(values.value(row)), out))
        }
        DataType::Decimal256(..) => {
            let values = column.as_primitive::<Decimal256Type>();
            Box::new(move |row, out| put_i256(values.value(row), out))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>();
            Box::new(move |row, out| {
                out.extend((interval_nanos(values.value(row)) ^ i128::MIN).to_be_bytes());
            })
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            Box::new(move |row, out| put_bytes(values.value(row).as_bytes(), out))
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            Box::new(move |row, out| put_bytes(values.value(row), out))
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            Box::new(move |row, out| out.extend(values.value(row)))
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let (items, item) = (lists.values(), append(lists.values())?);
            let offsets = lists.value_offsets();
            Box::new(move |row, out| {
                put_items(items, &item, offsets[row] as usize..offsets[row + 1] as usize, out);
            })
        }
        DataType::FixedSizeList(_, _) => {
            let lists = column.as_fixed_size_list();
            let (items, item, width) =
                (lists.values(), append(lists.values())?, lists.value_length() as usize);
            Box::new(move |row, out| put_items(items, &item, row * width..(row + 1) * width, out))
        }
        other => {
            let message = format!("a column of type {other} cannot be part of a key");
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
    })
}

/// An interval as PostgreSQL compares it: a month has 30 days, a day 24 hours.
pub(crate) fn interval_nanos(value: IntervalMonthDayNano) -> i128 {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    days * 86_400_000_000_000 + i128::from(value.nanoseconds)
}

fn put_i64(value: i64, out: &mut Vec<u8>) {
    out.extend((value ^ i64::MIN).to_be_bytes());
}

/// All NaNs are equal, and so are the zeros.
fn put_f64(value: f64, out: &mut Vec<u8>) {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    out.extend(value.to_bits().to_be_bytes());
}

fn put_i256(value: i256, out: &mut Vec<u8>) {
    let mut bytes = value.to_be_bytes();
    bytes[0] ^= 0x80;
    out.extend(bytes);
}

fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    // Arrow's 32-bit offsets bound the length.
    out.extend((value.len() as u32).to_be_bytes());
    out.extend(value);
}

fn put_items(items: &ArrayRef, item: &Append<'_>, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    out.extend((range.len() as u32).to_be_bytes());
    for at in range {
        out.push(u8::from(items.is_valid(at)));
        if items.is_valid(at) {
            item(at, out);
        }
    }
}

#[cfg(test)]
mod tests;
