//! Casts of whole columns between SQL types, with PostgreSQL's rounding, limits and words. Knows no expressions.

use super::types::{is_integer, is_number, is_oid, is_text, without_modifier};
use crate::calendar::DAY_US;
use crate::catalog::{Reach, can_coerce};
use crate::decode::{ColumnBuilder, InputStyle, rounded};
use crate::encode::{ColumnEncoder, OutputStyle};
use crate::oids::type_oid;
use crate::session::SessionInfo;
use arrow::array::*;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::vector::{cast_vectors, has_cast};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Finds the oid behind a name in a regclass, regtype, regproc or regnamespace.
pub(crate) trait OidLookup: fmt::Debug + Send + Sync {
    /// 42P01, 42704 or 42883 if there is none.
    fn oid(&self, ty: &SqlType, name: &str) -> Result<i64>;
}

/// What a session's settings say about text forms.
#[derive(Clone, Debug)]
pub(crate) struct CastStyle {
    /// Reading.
    pub input: InputStyle,
    /// Writing.
    pub output: OutputStyle,
    /// Names to oids.
    pub oids: Option<Arc<dyn OidLookup>>,
    /// Whose transaction `now` is about, where that is not the one in which the style was made: a prepared statement is bound
    /// in another.
    pub session: Option<Arc<SessionInfo>>,
}

impl CastStyle {
    /// The style for a cast that happens now.
    pub(super) fn at_run(&self) -> Cow<'_, CastStyle> {
        let Some(session) = &self.session else { return Cow::Borrowed(self) };
        let input = InputStyle { now_us: session.transaction_start_us(), ..self.input };
        Cow::Owned(CastStyle { input, ..self.clone() })
    }
}

/// How strict a cast is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CastContext {
    /// `CAST(x AS t)`: too long strings are cut.
    Explicit,
    /// INSERT and UPDATE: they are refused (22001).
    Assignment,
}

/// Casts a column. `from` is what the array's field says it is.
pub(crate) fn cast_array(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    context: CastContext,
    style: &CastStyle,
) -> Result<ArrayRef> {
    if from.precision().is_some() || to.precision().is_some() {
        let (from, all_digits) = (from.clone().with_precision(None), to.clone().with_precision(None));
        return Ok(rounded(cast_array(array, &from, &all_digits, context, style)?, to));
    }
    if from == to && array.data_type() == &to.arrow_type() {
        return Ok(array.clone());
    }
    if array.data_type() == &DataType::Null {
        return Ok(new_null_array(&to.arrow_type(), array.len()));
    }
    match (from, to) {
        _ if has_cast(from, to) => cast_vectors(array, from, to, context == CastContext::Explicit),
        (SqlType::Array(a), SqlType::Array(b)) => list_to_list(array, a, b, context, style),
        (SqlType::Int2Vector | SqlType::OidVector, SqlType::Array(_))
        | (SqlType::Array(_), SqlType::Int2Vector | SqlType::OidVector) => native(array, to),
        _ if is_string(from) && is_string(to) => string_to_string(array, from, to, context, style),
        // Read as it is written, then cut or padded.
        _ if is_string(from) && is_bits(to) && without_modifier(to) != *to => {
            let any_length = without_modifier(to);
            let read = from_text(array, &any_length, style)?;
            cast_array(&read, &any_length, to, context, style)
        }
        _ if is_string(from) => from_text(array, to, style),
        (SqlType::Int4, SqlType::Char) => integer_to_char(array),
        // To its canonical form.
        (SqlType::Json, SqlType::Jsonb) => from_text(array, to, style),
        _ if is_string(to) => {
            let text = to_text(array, from, style)?;
            limit_length(&text, to, context)
        }
        (SqlType::Jsonb, SqlType::Bool) => super::json_casts::booleans(array),
        (SqlType::Jsonb, to) if is_number(to) => super::json_casts::numbers(array, to, style),
        (SqlType::Interval(_), SqlType::Time(_)) => Ok(times_of_intervals(array)),
        (SqlType::Time(_), SqlType::Interval(_)) => Ok(intervals_of_times(array)),
        _ if is_integer(to) || is_oid(to) => to_integer(array, from, to),
        // By the digits PostgreSQL takes for certain.
        (SqlType::Float8 | SqlType::Float4, SqlType::Numeric(_)) => float_to_numeric(array, from, to, style),
        (_, SqlType::Numeric(_)) => to_numeric(array, to),
        // Through its digits, as division by a power of ten rounds twice.
        (SqlType::Numeric(_), SqlType::Float8 | SqlType::Float4) => {
            let digits = to_text(array, from, style)?;
            let floats = native(&(Arc::new(digits.clone()) as ArrayRef), to)?;
            if let Some(at) = floats.as_primitive_opt::<Float32Type>().and_then(first_infinite) {
                let message = format!("\"{}\" is out of range for type real", digits.value(at));
                return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
            }
            Ok(floats)
        }
        (SqlType::Float8, SqlType::Float4) => reals(array),
        (SqlType::Timestamp(_), SqlType::Timestamptz(_)) => to_utc(array, style.input.time_zone),
        (SqlType::Date, SqlType::Timestamp(_)) => midnights(array),
        (SqlType::Date, SqlType::Timestamptz(_)) => to_utc(&midnights(array)?, style.input.time_zone),
        (SqlType::Timestamptz(_), SqlType::Timestamp(_)) => to_local(array, style.input.time_zone),
        (SqlType::Timestamptz(_), SqlType::Date | SqlType::Time(_)) => {
            native(&to_local(array, style.input.time_zone)?, to)
        }
        _ => native(array, to),
    }
}

fn first_infinite(reals: &Float32Array) -> Option<usize> {
    (0..reals.len()).find(|at| reals.is_valid(*at) && reals.value(*at).is_infinite())
}

/// Doubles rounded to reals; 22003 for those that are no real, and for those that would become zero.
fn reals(doubles: &ArrayRef) -> Result<ArrayRef> {
    let real = |double: f64| {
        let real = double as f32;
        let what = match () {
            () if real.is_infinite() && double.is_finite() => "overflow",
            () if real == 0.0 && double != 0.0 => "underflow",
            () => return Ok(real),
        };
        let message = format!("value out of range: {what}");
        Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
    };
    let reals = doubles.as_primitive::<Float64Type>().try_unary::<_, Float32Type, Error>(real)?;
    Ok(Arc::new(reals))
}

/// Whether PostgreSQL has a cast at all.
pub(crate) fn can_cast(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Array, Int2Vector, OidVector};
    match (from, to) {
        _ if from == to || has_cast(from, to) => true,
        (Int2Vector | OidVector, Array(_)) | (Array(_), Int2Vector | OidVector) => true,
        (from, to) => can_coerce(type_oid(from), type_oid(to), Reach::Explicit),
    }
}

/// Carried by strings and read with an input function.
fn is_string(ty: &SqlType) -> bool {
    is_text(ty) || *ty == SqlType::Unknown
}

/// Bit strings and arrays of them.
fn is_bits(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(item) => is_bits(item),
        ty => matches!(ty, SqlType::Bit(_) | SqlType::Varbit(_)),
    }
}

fn native(array: &ArrayRef, to: &SqlType) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, &to.arrow_type(), &strict)?)
}

fn strings(array: &ArrayRef) -> Result<StringArray> {
    let array = arrow::compute::cast(array, &DataType::Utf8)?;
    Ok(array.as_string::<i32>().clone())
}

/// Reads every value with the type's input function.
pub(crate) fn from_text(array: &ArrayRef, to: &SqlType, style: &CastStyle) -> Result<ArrayRef> {
    let strings = strings(array)?;
    if is_oid(to) {
        return oids_from_text(&strings, to, style);
    }
    let mut builder = ColumnBuilder::new(to, strings.len());
    for value in &strings {
        match value {
            Some(text) => builder.append_text(text, &style.input)?,
            None => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

fn oids_from_text(strings: &StringArray, to: &SqlType, style: &CastStyle) -> Result<ArrayRef> {
    let mut values = Int64Builder::with_capacity(strings.len());
    for value in strings {
        let Some(text) = value else {
            values.append_null();
            continue;
        };
        let trimmed = text.trim();
        match (trimmed.parse::<u32>(), &style.oids) {
            (Ok(oid), _) => values.append_value(i64::from(oid)),
            (Err(_), _) if trimmed == "-" => values.append_value(0),
            (Err(_), Some(oids)) if *to != SqlType::Oid => values.append_value(oids.oid(to, text)?),
            (Err(_), _) => {
                return Err(Error::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!("invalid input syntax for type {to}: \"{text}\""),
                ));
            }
        }
    }
    Ok(Arc::new(values.finish()))
}

/// Writes every value with the type's output function.
pub(crate) fn to_text(array: &ArrayRef, from: &SqlType, style: &CastStyle) -> Result<StringArray> {
    let encoder = ColumnEncoder::new(from, array, &style.output)?;
    let mut strings = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut bytes = Vec::new();
    for row in 0..array.len() {
        if encoder.is_null(row) {
            strings.append_null();
            continue;
        }
        bytes.clear();
        // A cast to text says true and false; the output function t and f.
        if *from == SqlType::Bool {
            let value = array.as_boolean_opt().is_some_and(|array| array.value(row));
            strings.append_value(if value { "true" } else { "false" });
            continue;
        }
        encoder.text(row, &mut bytes)?;
        strings.append_value(String::from_utf8_lossy(&bytes));
    }
    Ok(strings.finish())
}

fn string_to_string(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    context: CastContext,
    style: &CastStyle,
) -> Result<ArrayRef> {
    let strings = strings(array)?;
    if matches!(to, SqlType::Char | SqlType::Name) {
        return from_text(&(Arc::new(strings) as ArrayRef), to, style);
    }
    if matches!(from, SqlType::Bpchar(_)) && !matches!(to, SqlType::Bpchar(_)) {
        let trimmed: StringArray =
            strings.iter().map(|value| value.map(|text| text.trim_end_matches(' '))).collect();
        return limit_length(&trimmed, to, context);
    }
    limit_length(&strings, to, context)
}

/// The byte of that number, as `"char"` shows it.
fn integer_to_char(array: &ArrayRef) -> Result<ArrayRef> {
    let one = |value: i32| match i8::try_from(value) {
        Ok(0) => Ok(String::new()),
        Ok(byte) if byte > 0 => Ok(char::from(byte.cast_unsigned()).to_string()),
        Ok(byte) => Ok(format!("\\{:03o}", byte.cast_unsigned())),
        Err(_) => Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "\"char\" out of range")),
    };
    let values = array.as_primitive::<Int32Type>();
    let texts = values.iter().map(|value| value.map(one).transpose()).collect::<Result<StringArray>>()?;
    Ok(Arc::new(texts))
}

/// varchar(n) and char(n).
fn limit_length(strings: &StringArray, to: &SqlType, context: CastContext) -> Result<ArrayRef> {
    let (limit, pad) = match to {
        SqlType::Varchar(Some(n)) => (*n as usize, false),
        SqlType::Bpchar(Some(n)) => (*n as usize, true),
        _ => return Ok(Arc::new(strings.clone())),
    };
    let mut out = StringBuilder::with_capacity(strings.len(), strings.value_data().len());
    for value in strings {
        let Some(text) = value else {
            out.append_null();
            continue;
        };
        // As many bytes as characters at most: counting is needed for long ones only.
        let count = if text.len() <= limit && !pad { text.len() } else { text.chars().count() };
        if count <= limit {
            out.append_value(if pad {
                format!("{text}{}", " ".repeat(limit - count))
            } else {
                text.to_owned()
            });
            continue;
        }
        let cut = text.char_indices().nth(limit).map_or(text.len(), |(byte, _)| byte);
        if context == CastContext::Assignment && text[cut..].chars().any(|c| c != ' ') {
            return Err(Error::new(
                SqlState::STRING_DATA_RIGHT_TRUNCATION,
                format!("value too long for type {to}"),
            ));
        }
        out.append_value(&text[..cut]);
    }
    Ok(Arc::new(out.finish()))
}

/// `integer out of range` and its brothers.
pub(crate) fn out_of_range(to: &SqlType) -> Error {
    let name = if is_oid(to) { "OID".to_owned() } else { to.to_string() };
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
}

fn to_integer(array: &ArrayRef, from: &SqlType, to: &SqlType) -> Result<ArrayRef> {
    let target = to.arrow_type();
    let lenient = CastOptions { safe: true, ..CastOptions::default() };
    let rounded: ArrayRef = match from {
        SqlType::Float4 | SqlType::Float8 => {
            let floats = arrow::compute::cast(array, &DataType::Float64)?;
            // rint: halves go to the even neighbour, as the C library rounds.
            Arc::new(floats.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even))
        }
        SqlType::Numeric(_) => {
            let (precision, scale) = match array.data_type() {
                DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => (*p, *s),
                _ => (SqlType::NUMERIC_PRECISION_MAX, 0),
            };
            let whole = DataType::Decimal256(precision.max(20).saturating_add(1).min(76), 0);
            if scale == 0 { array.clone() } else { cast_with_options(array, &whole, &lenient)? }
        }
        _ => array.clone(),
    };
    let result = cast_with_options(&rounded, &target, &lenient)?;
    if result.null_count() > array.null_count() {
        return Err(out_of_range(to));
    }
    Ok(result)
}

fn float_to_numeric(array: &ArrayRef, from: &SqlType, to: &SqlType, style: &CastStyle) -> Result<ArrayRef> {
    let digits = if *from == SqlType::Float4 { 5 } else { 14 };
    let floats = arrow::compute::cast(array, &DataType::Float64)?;
    let texts: StringArray = floats
        .as_primitive::<Float64Type>()
        .iter()
        .map(|value| value.map(|value| format!("{value:.digits$e}")))
        .collect();
    from_text(&(Arc::new(texts) as ArrayRef), to, style)
}

fn to_numeric(array: &ArrayRef, to: &SqlType) -> Result<ArrayRef> {
    let lenient = CastOptions { safe: true, ..CastOptions::default() };
    let result = cast_with_options(array, &to.arrow_type(), &lenient)?;
    if result.null_count() > array.null_count() {
        let error = Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow");
        return Err(match to {
            SqlType::Numeric(Some((p, s))) => error.with_detail(format!(
                "A field with precision {p}, scale {s} must round to an absolute value less than {}.",
                if p32(*p, *s) == 0 { "1".to_owned() } else { format!("10^{}", p32(*p, *s)) }
            )),
            _ => error,
        });
    }
    Ok(result)
}

fn p32(precision: u8, scale: i8) -> i32 {
    i32::from(precision) - i32::from(scale)
}

/// Days as their first instant; 22008 past the range of timestamps.
fn midnights(array: &ArrayRef) -> Result<ArrayRef> {
    let days = native(array, &SqlType::Date)?;
    let midnight = |day: i32| {
        i64::from(day)
            .checked_mul(DAY_US)
            .ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp"))
    };
    let times =
        days.as_primitive::<Date32Type>().try_unary::<_, TimestampMicrosecondType, Error>(midnight)?;
    Ok(Arc::new(times))
}

/// The time of day that an interval ends at, months and days apart.
fn intervals_of_times(array: &ArrayRef) -> ArrayRef {
    let of_time = |us: i64| IntervalMonthDayNano::new(0, 0, us * 1_000);
    let times = array.as_primitive::<Time64MicrosecondType>();
    Arc::new(times.unary::<_, IntervalMonthDayNanoType>(of_time))
}

fn times_of_intervals(array: &ArrayRef) -> ArrayRef {
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    let times = intervals.iter().map(|it| it.map(|it| (it.nanoseconds / 1_000).rem_euclid(DAY_US)));
    Arc::new(times.collect::<Time64MicrosecondArray>())
}

fn to_utc(array: &ArrayRef, zone: Tz) -> Result<ArrayRef> {
    let local = native(array, &SqlType::Timestamp(None))?;
    let utc: TimestampMicrosecondArray = local
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .map(|value| {
            value
                .map(|us| shift(us, |time| zone.from_local_datetime(&time).earliest().map(|t| t.naive_utc())))
        })
        .collect();
    Ok(Arc::new(utc.with_timezone("+00:00")))
}

fn to_local(array: &ArrayRef, zone: Tz) -> Result<ArrayRef> {
    let local: TimestampMicrosecondArray = array
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .map(|value| value.map(|us| shift(us, |time| Some(zone.from_utc_datetime(&time).naive_local()))))
        .collect();
    Ok(Arc::new(local))
}

/// Moves microseconds since 1970 between zones; what chrono cannot express (infinity) stays.
fn shift(us: i64, by: impl Fn(NaiveDateTime) -> Option<NaiveDateTime>) -> i64 {
    chrono::DateTime::from_timestamp_micros(us)
        .and_then(|time| by(time.naive_utc()))
        .map_or(us, |time| time.and_utc().timestamp_micros())
}

fn list_to_list(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    context: CastContext,
    style: &CastStyle,
) -> Result<ArrayRef> {
    let Some(list) = array.as_list_opt::<i32>() else {
        return native(array, &SqlType::Array(Box::new(to.clone())));
    };
    let items = cast_array(list.values(), from, to, context, style)?;
    let field = Arc::new(to.field("item", true));
    Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?))
}
