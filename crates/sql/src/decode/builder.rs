//! A column that grows by values in text or binary form.

use super::array::{parse_array, read_array};
use super::binary::{Reader, read_numeric, too_short, word};
use super::number::*;
use super::precision::rounded;
use super::vector::{DenseBuilder, list_end, nulls, offsets};
use super::{datetime, interval, json};
use crate::calendar::{DAY_US, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_US};
use arrow::array::*;
use arrow::datatypes::{DataType, Field, i256};
use chrono_tz::Tz;
use datafusion::scalar::ScalarValue;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::vector::{BitLength, parse_sparse, read_sparse};
use std::sync::Arc;

/// In which order a date's numbers come when nothing else tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // DateStyle's words
pub(crate) enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// What a text form means beyond its letters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputStyle {
    /// The zone of a timestamptz that names none.
    pub time_zone: Tz,
    /// What `now` and `today` mean: the transaction's start, in microseconds since 1970.
    pub now_us: i64,
    /// DateStyle's order.
    pub date_order: DateOrder,
}

impl Default for InputStyle {
    fn default() -> Self {
        InputStyle { time_zone: Tz::UTC, now_us: 0, date_order: DateOrder::Mdy }
    }
}

/// Builds an array of one SQL type.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    ty: SqlType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal128(Decimal128Builder),
    Decimal256(Decimal256Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Sparse(BinaryBuilder, Option<u32>),
    Bits(BinaryBuilder, BitLength),
    Dense(DenseBuilder),
    List { items: Box<ColumnBuilder>, ends: Vec<i32>, valid: Vec<bool> },
}

impl Values {
    fn new(ty: &SqlType, rows: usize) -> Values {
        if let Some(dense) = DenseBuilder::new(ty, rows) {
            return Values::Dense(dense);
        }
        let bytes = || BinaryBuilder::with_capacity(rows, rows * 16);
        if let Some(length) = BitLength::of(ty) {
            return Values::Bits(bytes(), length);
        }
        if let SqlType::Sparsevec(dim) = ty {
            return Values::Sparse(bytes(), *dim);
        }
        match ty.arrow_type() {
            DataType::Boolean => Values::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int16 => Values::Int2(Int16Builder::with_capacity(rows)),
            DataType::Int32 => Values::Int4(Int32Builder::with_capacity(rows)),
            DataType::Int64 => Values::Int8(Int64Builder::with_capacity(rows)),
            DataType::Float32 => Values::Float4(Float32Builder::with_capacity(rows)),
            DataType::Float64 => Values::Float8(Float64Builder::with_capacity(rows)),
            ty @ DataType::Decimal128(..) => {
                Values::Decimal128(Decimal128Builder::with_capacity(rows).with_data_type(ty))
            }
            ty @ DataType::Decimal256(..) => {
                Values::Decimal256(Decimal256Builder::with_capacity(rows).with_data_type(ty))
            }
            DataType::Binary => Values::Bytes(bytes()),
            DataType::FixedSizeBinary(_) => Values::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            DataType::Date32 => Values::Date(Date32Builder::with_capacity(rows)),
            DataType::Time64(_) => Values::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            ty @ DataType::Timestamp(..) => {
                Values::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(ty))
            }
            DataType::Interval(_) => Values::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
            DataType::List(_) => match ty {
                SqlType::Array(item) => Values::list(item, rows),
                SqlType::Int2Vector => Values::list(&SqlType::Int2, rows),
                _ => Values::list(&SqlType::Oid, rows),
            },
            _ => Values::Text(StringBuilder::with_capacity(rows, rows * 16)),
        }
    }

    fn list(item: &SqlType, rows: usize) -> Values {
        Values::List {
            items: Box::new(ColumnBuilder::new(item, rows)),
            ends: Vec::with_capacity(rows),
            valid: Vec::with_capacity(rows),
        }
    }
}

impl ColumnBuilder {
    /// An empty column with room for `rows`.
    pub(crate) fn new(ty: &SqlType, rows: usize) -> ColumnBuilder {
        ColumnBuilder { ty: ty.clone(), values: Values::new(ty, rows) }
    }

    /// Appends NULL.
    pub(crate) fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append_null(),
            Values::Int2(values) => values.append_null(),
            Values::Int4(values) => values.append_null(),
            Values::Int8(values) => values.append_null(),
            Values::Float4(values) => values.append_null(),
            Values::Float8(values) => values.append_null(),
            Values::Decimal128(values) => values.append_null(),
            Values::Decimal256(values) => values.append_null(),
            Values::Text(values) => values.append_null(),
            Values::Bytes(values) => values.append_null(),
            Values::Uuid(values) => values.append_null(),
            Values::Date(values) => values.append_null(),
            Values::Time(values) => values.append_null(),
            Values::Timestamp(values) => values.append_null(),
            Values::Interval(values) => values.append_null(),
            Values::Sparse(values, _) | Values::Bits(values, _) => values.append_null(),
            Values::Dense(values) => values.append_null(),
            Values::List { items, ends, valid } => {
                ends.push(items.len() as i32);
                valid.push(false);
            }
        }
    }

    /// Appends a value in text form; 22P02, 22003, 22007, 22008, 22000 (vectors) with PostgreSQL's words.
    /// After an error the builder holds the rows it had.
    pub(crate) fn append_text(&mut self, text: &str, style: &InputStyle) -> Result<()> {
        match &mut self.values {
            Values::Bool(values) => values.append_value(parse_bool(text)?),
            Values::Int2(values) => {
                values.append_value(parse_int(text, "smallint", i16::MIN.into(), i16::MAX.into())? as i16);
            }
            Values::Int4(values) => {
                values.append_value(parse_int(text, "integer", i32::MIN.into(), i32::MAX.into())? as i32);
            }
            Values::Int8(values) => values.append_value(match self.ty {
                SqlType::Int8 => parse_int(text, "bigint", i64::MIN, i64::MAX)?,
                _ => parse_oid(text)?,
            }),
            Values::Float4(values) => values.append_value(parse_float4(text)?),
            Values::Float8(values) => values.append_value(parse_float8(text)?),
            Values::Decimal128(_) | Values::Decimal256(_) => self.append_decimal(&parse_decimal(text)?)?,
            Values::Text(values) => match self.ty {
                SqlType::Json => {
                    json::check_json(text)?;
                    values.append_value(text);
                }
                SqlType::Jsonb => values.append_value(json::canonical_jsonb(text)?),
                _ => values.append_value(fitting_text(&self.ty, text)?),
            },
            Values::Bytes(values) => values.append_value(parse_bytea(text)?),
            Values::Uuid(values) => values.append_value(parse_uuid(text)?)?,
            Values::Date(values) => values.append_value(datetime::parse_date(text, style)?),
            Values::Time(values) => values.append_value(datetime::parse_time(text, style)?),
            Values::Timestamp(values) => values.append_value(match self.ty {
                SqlType::Timestamptz(_) => datetime::parse_timestamptz(text, style)?,
                _ => datetime::parse_timestamp(text, style)?,
            }),
            Values::Interval(values) => values.append_value(interval::parse_interval(text)?),
            Values::Sparse(values, dim) => values.append_value(parse_sparse(text, *dim)?),
            Values::Bits(values, length) => values.append_value(length.parse(text)?),
            Values::Dense(values) => values.append_text(text)?,
            Values::List { .. } => match self.ty {
                SqlType::Array(_) => self.append_items(|items| parse_array(text, items, style))?,
                _ => self.append_items(|items| {
                    text.split_ascii_whitespace().try_for_each(|item| items.append_text(item, style))
                })?,
            },
        }
        Ok(())
    }

    /// Appends a value in binary form; 22P03 and 08P01. After an error the builder holds the rows it had.
    pub(crate) fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.values {
            Values::Bool(values) => values.append_value(word::<1>(bytes)?[0] != 0),
            Values::Int2(values) => values.append_value(i16::from_be_bytes(word(bytes)?)),
            Values::Int4(values) => values.append_value(i32::from_be_bytes(word(bytes)?)),
            Values::Int8(values) => values.append_value(match self.ty {
                SqlType::Int8 => i64::from_be_bytes(word(bytes)?),
                _ => i64::from(u32::from_be_bytes(word(bytes)?)),
            }),
            Values::Float4(values) => values.append_value(f32::from_be_bytes(word(bytes)?)),
            Values::Float8(values) => values.append_value(f64::from_be_bytes(word(bytes)?)),
            Values::Decimal128(_) | Values::Decimal256(_) => self.append_decimal(&read_numeric(bytes)?)?,
            Values::Text(_) if self.ty == SqlType::Char && bytes == [0] => self.append_text_bytes(&[])?,
            Values::Text(_) => self.append_text_bytes(bytes)?,
            Values::Bytes(values) => values.append_value(bytes),
            Values::Uuid(values) => values.append_value(word::<16>(bytes)?)?,
            Values::Date(values) => {
                let days = i32::from_be_bytes(word(bytes)?).checked_add(POSTGRES_EPOCH_DAYS);
                values.append_value(days.ok_or_else(|| out_of_range("date"))?);
            }
            Values::Time(values) => {
                let time_us = i64::from_be_bytes(word(bytes)?);
                if !(0..=DAY_US).contains(&time_us) {
                    return Err(out_of_range("time"));
                }
                values.append_value(time_us);
            }
            Values::Timestamp(values) => {
                let timestamp_us = i64::from_be_bytes(word(bytes)?).checked_add(POSTGRES_EPOCH_US);
                values.append_value(timestamp_us.ok_or_else(|| out_of_range("timestamp"))?);
            }
            Values::Interval(values) => {
                let mut reader = Reader::new(bytes);
                let (micros, days, months) = (reader.i64()?, reader.i32()?, reader.i32()?);
                reader.end()?;
                let value = interval::interval_value(months.into(), days.into(), micros);
                values.append_value(value.ok_or_else(|| out_of_range("interval"))?);
            }
            Values::Sparse(values, dim) => values.append_value(read_sparse(bytes, *dim)?),
            Values::Bits(values, length) => values.append_value(length.read(bytes)?),
            Values::Dense(values) => values.append_binary(bytes)?,
            Values::List { .. } => self.append_items(|items| read_array(bytes, items))?,
        }
        Ok(())
    }

    /// Appends text that need not be parsed: strings and the types carried by them.
    fn append_text_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes = match (&self.ty, bytes) {
            (SqlType::Jsonb, [1, text @ ..]) => text,
            (SqlType::Jsonb, [version, ..]) => {
                return Err(Error::internal(format!("unsupported jsonb version number {version}")));
            }
            (SqlType::Jsonb, []) => return Err(too_short()),
            _ => bytes,
        };
        self.append_text(utf8(bytes)?, &InputStyle::default())
    }

    fn append_decimal(&mut self, value: &Decimal) -> Result<()> {
        let (precision, scale) = match &self.ty {
            SqlType::Numeric(Some((precision, scale))) => (*precision, *scale),
            _ => (SqlType::NUMERIC_PRECISION_MAX, SqlType::NUMERIC_SCALE_DEFAULT),
        };
        let unscaled = value.unscaled(precision, scale)?;
        match &mut self.values {
            Values::Decimal128(values) => {
                values.append_value(unscaled.parse().map_err(|_| overflow(precision, scale))?);
            }
            Values::Decimal256(values) => {
                values.append_value(i256::from_string(&unscaled).ok_or_else(|| overflow(precision, scale))?);
            }
            _ => return Err(Error::internal("not a numeric column")),
        }
        Ok(())
    }

    fn append_items(&mut self, read: impl FnOnce(&mut ColumnBuilder) -> Result<()>) -> Result<()> {
        let Values::List { items, ends, valid } = &mut self.values else {
            return Err(Error::internal("not an array column"));
        };
        let before = items.len();
        if let Err(error) = read(items) {
            items.truncate(before);
            return Err(error);
        }
        ends.push(list_end(items.len())?);
        valid.push(true);
        Ok(())
    }

    /// Keeps the first rows: undoes the beginning of an array that turned out to be malformed.
    fn truncate(&mut self, rows: usize) {
        if self.len() > rows {
            let array = self.finish();
            // Only after an error, so that copying does not matter.
            for row in 0..rows {
                self.append_from(&array, row);
            }
        }
    }

    fn append_from(&mut self, array: &ArrayRef, row: usize) {
        use crate::encode::{ColumnEncoder, OutputStyle};
        let mut bytes = Vec::new();
        let encoded = match ColumnEncoder::new(&self.ty, array, &OutputStyle::default()) {
            Ok(encoder) if !encoder.is_null(row) => encoder.binary(row, &mut bytes).is_ok(),
            _ => false,
        };
        if !encoded || self.append_binary(&bytes).is_err() {
            self.append_null();
        }
    }

    /// The type of its values.
    pub(crate) fn ty(&self) -> &SqlType {
        &self.ty
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Bool(values) => values.len(),
            Values::Int2(values) => values.len(),
            Values::Int4(values) => values.len(),
            Values::Int8(values) => values.len(),
            Values::Float4(values) => values.len(),
            Values::Float8(values) => values.len(),
            Values::Decimal128(values) => values.len(),
            Values::Decimal256(values) => values.len(),
            Values::Text(values) => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Uuid(values) => values.len(),
            Values::Date(values) => values.len(),
            Values::Time(values) => values.len(),
            Values::Timestamp(values) => values.len(),
            Values::Interval(values) => values.len(),
            Values::Sparse(values, _) | Values::Bits(values, _) => values.len(),
            Values::Dense(values) => values.len(),
            Values::List { valid, .. } => valid.len(),
        }
    }

    /// The array, of type `ty.arrow_type()`; the builder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        rounded(self.finish_values(), &self.ty)
    }

    fn finish_values(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Bool(values) => Arc::new(values.finish()),
            Values::Int2(values) => Arc::new(values.finish()),
            Values::Int4(values) => Arc::new(values.finish()),
            Values::Int8(values) => Arc::new(values.finish()),
            Values::Float4(values) => Arc::new(values.finish()),
            Values::Float8(values) => Arc::new(values.finish()),
            Values::Decimal128(values) => Arc::new(values.finish()),
            Values::Decimal256(values) => Arc::new(values.finish()),
            Values::Text(values) => Arc::new(values.finish()),
            Values::Bytes(values) => Arc::new(values.finish()),
            Values::Uuid(values) => Arc::new(values.finish()),
            Values::Date(values) => Arc::new(values.finish()),
            Values::Time(values) => Arc::new(values.finish()),
            Values::Timestamp(values) => Arc::new(values.finish()),
            Values::Interval(values) => Arc::new(values.finish()),
            Values::Sparse(values, _) | Values::Bits(values, _) => Arc::new(values.finish()),
            Values::Dense(values) => values.finish(&self.ty),
            Values::List { items, ends, valid } => {
                Arc::new(ListArray::new(item_field(&self.ty), offsets(ends), items.finish(), nulls(valid)))
            }
        }
    }
}

fn item_field(ty: &SqlType) -> Arc<Field> {
    match ty.arrow_type() {
        DataType::List(field) | DataType::FixedSizeList(field, _) => field,
        other => Arc::new(Field::new("item", other, true)),
    }
}

fn out_of_range(type_name: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{type_name} out of range"))
}

/// Bytes as text: 22021 with the bytes named, and for NUL, which PostgreSQL's text cannot hold.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str> {
    let invalid = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
        Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    };
    match std::str::from_utf8(bytes) {
        Ok(_) if bytes.contains(&0) => Err(invalid(&[0])),
        Ok(text) => Ok(text),
        Err(error) => {
            let start = error.valid_up_to();
            let length = error.error_len().unwrap_or(bytes.len() - start).max(1);
            Err(invalid(&bytes[start..(start + length).min(bytes.len())]))
        }
    }
}

/// Text that fits the type's length: blanks past it are cut, other characters are 22001.
pub(crate) fn fitting_text<'a>(ty: &SqlType, text: &'a str) -> Result<std::borrow::Cow<'a, str>> {
    let (limit, pad) = match ty {
        SqlType::Varchar(Some(n)) => (*n as usize, false),
        SqlType::Bpchar(Some(n)) => (*n as usize, true),
        _ => return Ok(text.into()),
    };
    if text.len() <= limit && !pad {
        return Ok(text.into());
    }
    match text.char_indices().nth(limit) {
        Some((end, _)) if text[end..].chars().all(|c| c == ' ') => Ok(text[..end].into()),
        Some(_) => {
            Err(Error::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {ty}")))
        }
        None if pad => Ok(format!("{text}{}", " ".repeat(limit - text.chars().count())).into()),
        None => Ok(text.into()),
    }
}

fn parse_oid(text: &str) -> Result<i64> {
    // Negative numbers wrap, as in PostgreSQL.
    let value = parse_int(text, "oid", i32::MIN.into(), u32::MAX.into())?;
    Ok(if value < 0 { i64::from(value as i32 as u32) } else { value })
}

/// One value from its text form.
pub(crate) fn value_from_text(ty: &SqlType, text: &str, style: &InputStyle) -> Result<ScalarValue> {
    // Most parameters are whole numbers, and a builder takes longer than they do.
    match ty {
        SqlType::Int4 => {
            let value = parse_int(text, "integer", i32::MIN.into(), i32::MAX.into())?;
            return Ok(ScalarValue::Int32(Some(value as i32)));
        }
        SqlType::Int8 => return Ok(ScalarValue::Int64(Some(parse_int(text, "bigint", i64::MIN, i64::MAX)?))),
        _ => {}
    }
    let mut column = ColumnBuilder::new(ty, 1);
    column.append_text(text, style)?;
    crate::functions::only_value(&column.finish()).map_err(quiver_exec::from_datafusion)
}

/// One value from its binary form.
pub(crate) fn value_from_binary(ty: &SqlType, bytes: &[u8]) -> Result<ScalarValue> {
    // As above; what is too short or too long is for the builder to tell.
    match (ty, bytes.len()) {
        (SqlType::Int2, 2) => return Ok(ScalarValue::Int16(bytes.try_into().ok().map(i16::from_be_bytes))),
        (SqlType::Int4, 4) => return Ok(ScalarValue::Int32(bytes.try_into().ok().map(i32::from_be_bytes))),
        (SqlType::Int8, 8) => return Ok(ScalarValue::Int64(bytes.try_into().ok().map(i64::from_be_bytes))),
        _ => {}
    }
    let mut column = ColumnBuilder::new(ty, 1);
    column.append_binary(bytes)?;
    crate::functions::only_value(&column.finish()).map_err(quiver_exec::from_datafusion)
}
