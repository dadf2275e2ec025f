//! Smaller functions: counts of NULLs, signs, buckets, arrays filled and trimmed, bytes as text.

use super::{Args, Function};
use arrow::array::*;
use arrow::compute::take;
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    let nulls = |name: &str, counted: bool| {
        Function::new(name, Volatility::Immutable, SqlType::Int4, move |args| {
            // An untyped NULL is an array that says of none of its rows that it is null.
            let is_null = |at: usize, row: usize| {
                args.array(at).data_type() == &arrow::datatypes::DataType::Null || args.array(at).is_null(row)
            };
            let count = |row: usize| (0..args.count()).filter(|at| is_null(*at, row) == counted).count();
            let counts = (0..args.rows()).map(|row| i32::try_from(count(row)).unwrap_or(i32::MAX));
            Ok(Arc::new(Int32Array::from_iter_values(counts)))
        })
    };
    vec![
        nulls("num_nulls", true),
        nulls("num_nonnulls", false),
        sign(),
        width_bucket(),
        Function::new("width_bucket_text", Volatility::Immutable, SqlType::Int4, width_bucket_text),
        array_fill(),
        // A time of a type that keeps all digits of its seconds, where a cast would change nothing.
        Function::typed(
            EVERY_DIGIT,
            Volatility::Immutable,
            |types| Ok(types[0].clone()),
            |args| Ok(args.array(0).clone()),
        ),
        trim_array(),
        Function::new("encode", Volatility::Immutable, SqlType::Text, encode),
        Function::new("decode", Volatility::Immutable, SqlType::Bytea, decode),
    ]
}

/// -1, 0 or 1: of a numeric a numeric, of anything else a double.
fn sign() -> Function {
    let returns = |types: &[SqlType]| {
        Ok(match types.first() {
            Some(SqlType::Numeric(_)) => SqlType::Numeric(None),
            _ => SqlType::Float8,
        })
    };
    Function::typed("sign", Volatility::Immutable, returns, move |args| {
        let signs = args.float8(0)?.unary::<_, arrow::datatypes::Float64Type>(|value| {
            if value == 0.0 || value.is_nan() { value } else { value.signum() }
        });
        let signs: ArrayRef = Arc::new(signs);
        Ok(match returns(args.types)? {
            SqlType::Float8 => signs,
            ty => arrow::compute::cast(&signs, &ty.arrow_type())?,
        })
    })
}

/// `width_bucket(value, low, high, count)` and `width_bucket(value, thresholds)`.
fn width_bucket() -> Function {
    Function::new("width_bucket", Volatility::Immutable, SqlType::Int4, |args| {
        let values = args.float8(0)?;
        let invalid =
            |message: &str| Error::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, message);
        if args.count() == 2 {
            let thresholds = args.cast(1, &SqlType::Array(Box::new(SqlType::Float8)))?;
            let lists = thresholds.as_list::<i32>();
            let buckets = (0..args.rows()).map(|row| {
                if values.is_null(row) || lists.is_null(row) {
                    return Ok(None);
                }
                let list = lists.value(row);
                if list.null_count() > 0 {
                    let message = "thresholds array must not contain NULLs";
                    return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
                }
                let list = list.as_primitive::<arrow::datatypes::Float64Type>();
                Ok(i32::try_from(list.values().partition_point(|it| *it <= values.value(row))).ok())
            });
            return Ok(Arc::new(buckets.collect::<Result<Int32Array>>()?));
        }
        let (low, high, count) = (args.float8(1)?, args.float8(2)?, args.int8(3)?);
        let mut out = PrimitiveBuilder::<Int32Type>::with_capacity(args.rows());
        for row in 0..args.rows() {
            if (0..4).any(|index| args.array(index).is_null(row)) {
                out.append_null();
                continue;
            }
            let (value, low, high, count) =
                (values.value(row), low.value(row), high.value(row), count.value(row));
            if count <= 0 {
                return Err(invalid("count must be greater than zero"));
            }
            if low == high {
                return Err(invalid("lower bound cannot equal upper bound"));
            }
            if value.is_nan() || low.is_nan() || high.is_nan() {
                return Err(invalid("operand, lower bound, and upper bound cannot be NaN"));
            }
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // counts are small
            let bucket = match (low < high, value) {
                (true, value) if value < low => 0,
                (true, value) if value >= high => count + 1,
                (false, value) if value > low => 0,
                (false, value) if value <= high => count + 1,
                _ => ((value - low) / (high - low) * count as f64).floor() as i64 + 1,
            };
            out.append_value(i32::try_from(bucket).unwrap_or(i32::MAX));
        }
        Ok(Arc::new(out.finish()))
    })
}

/// `width_bucket(text, thresholds)`: found by halves, as the thresholds may be in no order.
fn width_bucket_text(args: &Args<'_>) -> Result<ArrayRef> {
    let values = args.text(0)?;
    let lists = args.cast(1, &SqlType::Array(Box::new(SqlType::Text)))?;
    let lists = lists.as_list::<i32>();
    let bucket = |row: usize| -> Result<Option<i32>> {
        if values.is_null(row) || lists.is_null(row) {
            return Ok(None);
        }
        let list = lists.value(row);
        let list = list.as_string::<i32>();
        if list.null_count() > 0 {
            let message = "thresholds array must not contain NULLs";
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        let (mut low, mut high) = (0, list.len());
        while low < high {
            let middle = (low + high) / 2;
            match values.value(row) < list.value(middle) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        Ok(i32::try_from(low).ok())
    };
    Ok(Arc::new((0..args.rows()).map(bucket).collect::<Result<Int32Array>>()?))
}

/// The function that takes from a time how many digits its type keeps.
pub(crate) const EVERY_DIGIT: &str = "every_digit";

/// `array_fill(value, ARRAY[n])`.
fn array_fill() -> Function {
    Function::typed(
        "array_fill",
        Volatility::Immutable,
        |types| Ok(SqlType::Array(Box::new(types.first().cloned().unwrap_or(SqlType::Text)))),
        |args| {
            let lengths = args.cast(1, &SqlType::Array(Box::new(SqlType::Int4)))?;
            let lengths = lengths.as_list::<i32>();
            let bounds = match args.count() {
                3 => Some(args.cast(2, &SqlType::Array(Box::new(SqlType::Int4)))?),
                _ => None,
            };
            let (mut indices, mut counts) = (Vec::new(), Vec::new());
            for row in 0..args.rows() {
                let null = |message: &str| Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
                if lengths.is_null(row) || bounds.as_ref().is_some_and(|bounds| bounds.is_null(row)) {
                    return null("dimension array or low bound array cannot be null");
                }
                let dimensions = lengths.value(row);
                let dimensions = dimensions.as_primitive::<Int32Type>();
                let bounds = bounds.as_ref().map(|bounds| bounds.as_list::<i32>().value(row));
                if dimensions.null_count() > 0
                    || bounds.as_ref().is_some_and(|bounds| bounds.null_count() > 0)
                {
                    return null("dimension values cannot be null");
                }
                if bounds.is_some_and(|bounds| bounds.len() != dimensions.len()) {
                    return Err(Error::new(
                        SqlState::ARRAY_SUBSCRIPT_ERROR,
                        "wrong number of array subscripts",
                    )
                    .with_detail("Low bound array has different size than dimensions array."));
                }
                let count = match dimensions.len() {
                    0 => 0,
                    1 => item_count(dimensions.value(0))?,
                    _ => return Err(Error::unsupported("an array of more than one dimension")),
                };
                indices.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), count));
                counts.push(count);
            }
            let items = take(args.array(0), &UInt32Array::from(indices), None)?;
            let field = Arc::new(args.ty(0).field("item", true));
            let items = if items.data_type() == field.data_type() {
                items
            } else {
                arrow::compute::cast(&items, field.data_type())?
            };
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(counts);
            Ok(Arc::new(ListArray::try_new(field, offsets, items, None)?))
        },
    )
}

/// PostgreSQL's own bound (MaxArraySize), below which items fit into memory.
const MAX_ITEMS: i32 = 134_217_727;

fn item_count(length: i32) -> Result<usize> {
    if length > MAX_ITEMS {
        return Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("array size exceeds the maximum allowed ({MAX_ITEMS})"),
        ));
    }
    Ok(usize::try_from(length).unwrap_or(0))
}

/// `trim_array(array, n)`: without the last n items.
fn trim_array() -> Function {
    Function::typed(
        "trim_array",
        Volatility::Immutable,
        |types| Ok(types.first().cloned().unwrap_or(SqlType::Text)),
        |args| {
            let array = args.array(0);
            let Some(list) = array.as_list_opt::<i32>() else { return Ok(array.clone()) };
            let dropped = args.int8(1)?;
            let (mut indices, mut counts) = (Vec::new(), Vec::new());
            for row in 0..args.rows() {
                let length = i64::from(list.value_length(row));
                let drop = if dropped.is_valid(row) { dropped.value(row) } else { length };
                if !(0..=length).contains(&drop) {
                    let message = format!("number of elements to trim must be between 0 and {length}");
                    return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
                }
                let start = list.value_offsets()[row];
                let kept = usize::try_from(length - drop).unwrap_or(0);
                indices.extend(
                    (0..kept).map(|at| u32::try_from(start).unwrap_or(0) + u32::try_from(at).unwrap_or(0)),
                );
                counts.push(kept);
            }
            let items = take(list.values(), &UInt32Array::from(indices), None)?;
            let field = match list.data_type() {
                arrow::datatypes::DataType::List(field) => field.clone(),
                _ => return Err(Error::internal("a list is no list")),
            };
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(counts);
            Ok(Arc::new(ListArray::try_new(field, offsets, items, list.nulls().cloned())?))
        },
    )
}

fn no_encoding(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{name}\""))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(args: &Args<'_>) -> Result<ArrayRef> {
    let bytes = args.cast(0, &SqlType::Bytea)?;
    let (bytes, encodings) = (bytes.as_binary::<i32>(), args.text(1)?);
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        if bytes.is_null(row) || encodings.is_null(row) {
            out.append_null();
            continue;
        }
        let value = bytes.value(row);
        out.append_value(match encodings.value(row).to_ascii_lowercase().as_str() {
            "hex" => value.iter().map(|byte| format!("{byte:02x}")).collect(),
            "escape" => escaped(value),
            "base64" => base64(value),
            other => return Err(no_encoding(other)),
        });
    }
    Ok(Arc::new(out.finish()))
}

/// Zeros and bytes past ASCII in octal, the backslash doubled.
fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        0 | 128.. => format!("\\{byte:03o}"),
        b'\\' => "\\\\".to_owned(),
        byte => char::from(*byte).to_string(),
    };
    bytes.iter().map(one).collect()
}

/// In lines of 76 characters, as MIME has it.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for (index, chunk) in bytes.chunks(3).enumerate() {
        if index > 0 && index % 19 == 0 {
            out.push('\n');
        }
        let bits =
            chunk.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            match at <= chunk.len() {
                true => out.push(char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

fn decode(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, encodings) = (args.text(0)?, args.text(1)?);
    let mut out = BinaryBuilder::new();
    for row in 0..args.rows() {
        if texts.is_null(row) || encodings.is_null(row) {
            out.append_null();
            continue;
        }
        let text = texts.value(row);
        out.append_value(match encodings.value(row).to_ascii_lowercase().as_str() {
            "hex" => from_hex(text)?,
            "escape" => from_escaped(text)?,
            "base64" => from_base64(text)?,
            other => return Err(no_encoding(other)),
        });
    }
    Ok(Arc::new(out.finish()))
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\""))))
        .collect::<Result<Vec<u32>>>()?;
    if digits.len() % 2 == 1 {
        return Err(invalid("invalid hexadecimal data: odd number of digits".to_owned()));
    }
    Ok(digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(0)).collect())
}

fn from_escaped(text: &str) -> Result<Vec<u8>> {
    let bad = || Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea");
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
        } else if bytes.get(at + 1) == Some(&b'\\') {
            out.push(b'\\');
            at += 2;
        } else {
            let octal = text.get(at + 1..at + 4).ok_or_else(bad)?;
            out.push(u8::from_str_radix(octal, 8).map_err(|_| bad())?);
            at += 4;
        }
    }
    Ok(out)
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count, mut end) = (0_u32, 0, 0);
    for byte in text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        let value = match ALPHABET.iter().position(|it| *it == byte) {
            Some(value) => u32::try_from(value).unwrap_or(0),
            None if byte == b'=' => {
                end = match (end, count) {
                    (0, 2) => 1,
                    (0, 3) => 2,
                    (0, _) => {
                        return Err(invalid("unexpected \"=\" while decoding base64 sequence".to_owned()));
                    }
                    (end, _) => end,
                };
                0
            }
            None => {
                let symbol = char::from(byte);
                return Err(invalid(format!(
                    "invalid symbol \"{symbol}\" found while decoding base64 sequence"
                )));
            }
        };
        bits = bits << 6 | value;
        count += 1;
        if count == 4 {
            let [_, bytes @ ..] = bits.to_be_bytes();
            out.extend(&bytes[..if end == 0 { 3 } else { end }]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        0 => Ok(out),
        _ => Err(invalid("invalid base64 end sequence".to_owned())
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted.")),
    }
}
