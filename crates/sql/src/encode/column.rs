//! Reads one Arrow column value by value into an output buffer.

use super::scalar::*;
use super::vector::Floats;
use super::{binary, list, vector};
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use quiver_base::{Error, Result, SqlType};
use std::fmt;
use std::sync::Arc;

/// Names behind oids, for regclass, regproc and regnamespace values.
pub(crate) trait ObjectNames: fmt::Debug + Send + Sync {
    /// The name as PostgreSQL prints it (schema-qualified if it is not in the search path, quoted if needed); `None`: the number is printed.
    fn name(&self, ty: &SqlType, oid: i64) -> Option<String>;
}

/// How values print.
#[derive(Clone, Debug)]
pub(crate) struct OutputStyle {
    /// The zone that timestamptz is shown in.
    pub time_zone: Tz,
    /// IntervalStyle is iso_8601, else postgres.
    pub iso_intervals: bool,
    /// bytea_output is escape, else hex.
    pub escape_bytea: bool,
    /// Names behind oids.
    pub names: Option<Arc<dyn ObjectNames>>,
}

impl Default for OutputStyle {
    fn default() -> Self {
        OutputStyle { time_zone: Tz::UTC, iso_intervals: false, escape_bytea: false, names: None }
    }
}

/// A column about to be sent.
#[derive(Debug)]
pub(crate) struct ColumnEncoder {
    pub(super) ty: SqlType,
    array: ArrayRef,
    pub(super) source: Source,
    style: OutputStyle,
}

/// The array, downcast once.
#[derive(Debug)]
pub(super) enum Source {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal128(Decimal128Array, i8),
    Decimal256(Decimal256Array, i8),
    Text(StringArray),
    Bytes(BinaryArray),
    Fixed(FixedSizeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    /// Flat values and the dimension.
    Dense(Floats, usize),
    DenseList(ListArray, Floats),
    List(ListArray, Box<ColumnEncoder>),
}

impl ColumnEncoder {
    /// Fails if the array cannot carry the type.
    pub(crate) fn new(ty: &SqlType, array: &ArrayRef, style: &OutputStyle) -> Result<ColumnEncoder> {
        let source = match source_of(ty, array, style)? {
            Some(source) => source,
            // An Arrow type that only some function of the engine makes: bring it to the usual one.
            None => {
                let usual = cast(array, &ty.arrow_type())?;
                source_of(ty, &usual, style)?
                    .ok_or_else(|| Error::internal(format!("{} does not carry {ty}", array.data_type())))?
            }
        };
        Ok(ColumnEncoder { ty: ty.clone(), array: array.clone(), source, style: style.clone() })
    }

    /// Whether the value is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        matches!(self.source, Source::Null) || self.array.is_null(row)
    }

    /// Appends the text form of a value that is not NULL.
    pub(crate) fn text(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match &self.source {
            Source::Null => {}
            Source::Bool(array) => out.push(if array.value(row) { b't' } else { b'f' }),
            Source::Int2(array) => put_int(i64::from(array.value(row)), out),
            Source::Int4(array) => put_int(i64::from(array.value(row)), out),
            Source::Int8(array) => self.put_int8(array.value(row), out),
            Source::Float4(array) => put_float4(array.value(row), out),
            Source::Float8(array) => put_float8(array.value(row), out),
            Source::Decimal128(array, scale) => {
                put_decimal(&array.value(row).to_string(), *scale, self.trims(), out);
            }
            Source::Decimal256(array, scale) => {
                put_decimal(&array.value(row).to_string(), *scale, self.trims(), out);
            }
            Source::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Source::Bytes(array) => match self.ty {
                SqlType::Sparsevec(_) => vector::put_sparse(array.value(row), out)?,
                SqlType::Bit(_) | SqlType::Varbit(_) => vector::put_bits(array.value(row), out)?,
                _ => self.put_bytes(array.value(row), out),
            },
            Source::Fixed(array) if self.ty == SqlType::Uuid => put_uuid(array.value(row), out),
            Source::Fixed(array) => self.put_bytes(array.value(row), out),
            Source::Date(array) => put_date(array.value(row), out),
            Source::Time(array) => put_time(array.value(row), out),
            Source::Timestamp(array) => match self.ty {
                SqlType::Timestamptz(_) => put_timestamptz(array.value(row), self.style.time_zone, out),
                _ => put_timestamp(array.value(row), out),
            },
            Source::Interval(array) => {
                let value = array.value(row);
                let put = if self.style.iso_intervals { put_interval_iso } else { put_interval };
                put(value.months, value.days, value.nanoseconds / 1_000, out);
            }
            Source::Dense(floats, dim) => floats.text(row * dim..(row + 1) * dim, out),
            Source::DenseList(array, floats) => floats.text(list::range(array, row), out),
            Source::List(array, items) => list::text(&self.ty, array, items, row, out)?,
        }
        Ok(())
    }

    /// Appends the binary form (without length word) of a value that is not NULL.
    pub(crate) fn binary(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match &self.source {
            Source::Null => {}
            Source::Bool(array) => out.push(u8::from(array.value(row))),
            Source::Int2(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            Source::Int4(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            Source::Int8(array) if self.ty == SqlType::Int8 => {
                out.extend_from_slice(&array.value(row).to_be_bytes());
            }
            // oids: four bytes.
            Source::Int8(array) => out.extend_from_slice(&(array.value(row) as u32).to_be_bytes()),
            Source::Float4(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            Source::Float8(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            Source::Decimal128(array, scale) => {
                binary::put_numeric(&array.value(row).to_string(), *scale, self.trims(), out);
            }
            Source::Decimal256(array, scale) => {
                binary::put_numeric(&array.value(row).to_string(), *scale, self.trims(), out);
            }
            // Always one byte: an empty one is zero.
            Source::Text(array) if self.ty == SqlType::Char && array.value(row).is_empty() => out.push(0),
            Source::Text(array) => {
                if self.ty == SqlType::Jsonb {
                    out.push(1);
                }
                out.extend_from_slice(array.value(row).as_bytes());
            }
            Source::Bytes(array) => match self.ty {
                SqlType::Sparsevec(_) => vector::send_sparse(array.value(row), out)?,
                SqlType::Bit(_) | SqlType::Varbit(_) => vector::send_bits(array.value(row), out)?,
                _ => out.extend_from_slice(array.value(row)),
            },
            Source::Fixed(array) => out.extend_from_slice(array.value(row)),
            Source::Date(array) => binary::put_date(array.value(row), out),
            Source::Time(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            Source::Timestamp(array) => binary::put_timestamp(array.value(row), out),
            Source::Interval(array) => binary::put_interval(array.value(row), out),
            Source::Dense(floats, dim) => floats.binary(row * dim..(row + 1) * dim, out),
            Source::DenseList(array, floats) => floats.binary(list::range(array, row), out),
            Source::List(array, items) => list::binary(&self.ty, array, items, row, out)?,
        }
        Ok(())
    }

    fn trims(&self) -> bool {
        self.ty == SqlType::Numeric(None)
    }

    fn put_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.style.escape_bytea { put_bytea_escape(bytes, out) } else { put_bytea(bytes, out) }
    }

    fn put_int8(&self, value: i64, out: &mut Vec<u8>) {
        let name = match self.ty {
            SqlType::Int8 | SqlType::Oid => None,
            // Oid 0 stands for no object.
            _ if value == 0 => Some("-".to_owned()),
            _ => self.style.names.as_ref().and_then(|names| names.name(&self.ty, value)),
        };
        match name {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => put_int(value, out),
        }
    }
}

/// `None`: the array is not of the Arrow type that usually carries `ty`.
fn source_of(ty: &SqlType, array: &ArrayRef, style: &OutputStyle) -> Result<Option<Source>> {
    let source = match array.data_type() {
        DataType::Null => Source::Null,
        DataType::Boolean => Source::Bool(array.as_boolean().clone()),
        DataType::Int16 => Source::Int2(array.as_primitive().clone()),
        DataType::Int32 => Source::Int4(array.as_primitive().clone()),
        DataType::Int64 => Source::Int8(array.as_primitive().clone()),
        DataType::Float32 => Source::Float4(array.as_primitive().clone()),
        DataType::Float64 => Source::Float8(array.as_primitive().clone()),
        DataType::Decimal128(_, scale) => Source::Decimal128(array.as_primitive().clone(), *scale),
        DataType::Decimal256(_, scale) => Source::Decimal256(array.as_primitive().clone(), *scale),
        DataType::Utf8 => Source::Text(array.as_string().clone()),
        DataType::Binary => Source::Bytes(array.as_binary().clone()),
        DataType::FixedSizeBinary(_) => Source::Fixed(array.as_fixed_size_binary().clone()),
        DataType::Date32 => Source::Date(array.as_primitive().clone()),
        DataType::Time64(TimeUnit::Microsecond) => Source::Time(array.as_primitive().clone()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Source::Timestamp(array.as_primitive().clone()),
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
            Source::Interval(array.as_primitive().clone())
        }
        DataType::FixedSizeList(_, dim) => {
            let list = array.as_fixed_size_list();
            let Some(floats) = Floats::of(list.values()) else { return Ok(None) };
            // A sliced list has sliced values, so row r begins at r * dim.
            Source::Dense(floats, *dim as usize)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            match ty {
                SqlType::Vector(_) | SqlType::Halfvec(_) => {
                    let Some(floats) = Floats::of(list.values()) else { return Ok(None) };
                    Source::DenseList(list.clone(), floats)
                }
                _ => {
                    let items = ColumnEncoder::new(&list::item_type(ty)?, list.values(), style)?;
                    Source::List(list.clone(), Box::new(items))
                }
            }
        }
        _ => return Ok(None),
    };
    let usual = match (&source, ty) {
        (Source::Null | Source::Fixed(_), _) => true,
        (Source::Decimal128(..) | Source::Decimal256(..), SqlType::Numeric(_)) => true,
        (Source::List(..), SqlType::Array(_) | SqlType::Int2Vector | SqlType::OidVector) => true,
        (Source::Dense(floats, _) | Source::DenseList(_, floats), ty) => floats.carry(ty),
        _ => *array.data_type() == ty.arrow_type(),
    };
    Ok(usual.then_some(source))
}
