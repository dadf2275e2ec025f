//! Functions and operators of bit strings.

use super::{Args, Function};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array,
};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Volatility;
use quiver_base::bits::{BitsRef, LENGTH_MAX, encode};
use quiver_base::{Error, Result, SqlState, SqlType};
use std::cmp::Ordering;
use std::sync::Arc;

/// An argument's values.
fn values(args: &Args<'_>, index: usize) -> Result<BinaryArray> {
    let array = args.array(index);
    if array.data_type() == &DataType::Null {
        return Ok(BinaryArray::new_null(array.len()));
    }
    let wrong = || Error::new(SqlState::UNDEFINED_FUNCTION, "this function takes a bit string");
    match args.ty(index) {
        SqlType::Bit(_) | SqlType::Varbit(_) => array.as_binary_opt::<i32>().cloned().ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

fn read(array: &BinaryArray, row: usize) -> Result<Option<BitsRef<'_>>> {
    array.is_valid(row).then(|| BitsRef::read(array.value(row))).transpose()
}

/// Integer arguments after the bit strings, of one row; `None` if one is NULL.
fn integers(args: &Args<'_>, from: usize) -> Result<Vec<Int64Array>> {
    (from..args.count()).map(|index| args.int8(index)).collect()
}

fn row_of(integers: &[Int64Array], row: usize) -> Option<Vec<i64>> {
    integers.iter().map(|array| array.is_valid(row).then(|| array.value(row))).collect()
}

/// A function of one bit string and integers.
fn one<T>(args: &Args<'_>, of: impl Fn(BitsRef<'_>, &[i64]) -> Result<T>) -> Result<Vec<Option<T>>> {
    let (array, integers) = (values(args, 0)?, integers(args, 1)?);
    let of_row = |row| match (read(&array, row)?, row_of(&integers, row)) {
        (Some(bits), Some(numbers)) => of(bits, &numbers).map(Some),
        _ => Ok(None),
    };
    (0..args.rows()).map(of_row).collect()
}

/// A function of two bit strings and integers.
fn two<T>(
    args: &Args<'_>,
    of: impl Fn(BitsRef<'_>, BitsRef<'_>, &[i64]) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    let (left, right, integers) = (values(args, 0)?, values(args, 1)?, integers(args, 2)?);
    let of_row = |row| match (read(&left, row)?, read(&right, row)?, row_of(&integers, row)) {
        (Some(a), Some(b), Some(numbers)) => of(a, b, &numbers).map(Some),
        _ => Ok(None),
    };
    (0..args.rows()).map(of_row).collect()
}

fn strings(values: Vec<Option<Vec<u8>>>) -> ArrayRef {
    let mut out = BinaryBuilder::new();
    values.into_iter().for_each(|value| out.append_option(value));
    Arc::new(out.finish())
}

/// The bits at some places of others.
fn picked(length: u32, bit: impl Fn(u32) -> bool) -> Vec<u8> {
    let mut packed = vec![0_u8; quiver_base::bits::byte_count(length)];
    for at in (0..length).filter(|at| bit(*at)) {
        packed[(at / 8) as usize] |= 1 << (7 - at % 8);
    }
    encode(length, &packed)
}

/// `& | #`: both of one length.
pub(super) fn combine(name: &str, a: BitsRef<'_>, b: BitsRef<'_>, of: fn(u8, u8) -> u8) -> Result<Vec<u8>> {
    if a.len() != b.len() {
        return Err(Error::new(
            SqlState::STRING_DATA_LENGTH_MISMATCH,
            format!("cannot {name} bit strings of different sizes"),
        ));
    }
    let packed: Vec<u8> = a.bytes().iter().zip(b.bytes()).map(|(a, b)| of(*a, *b)).collect();
    Ok(encode(a.len(), &packed))
}

/// Moved to the left, or to the right by a negative count; zeros come in.
fn shifted(bits: BitsRef<'_>, left: i64) -> Vec<u8> {
    picked(bits.len(), |at| u32::try_from(i64::from(at) + left).is_ok_and(|at| bits.bit(at)))
}

fn joined(a: BitsRef<'_>, b: BitsRef<'_>) -> Result<Vec<u8>> {
    let length = u64::from(a.len()) + u64::from(b.len());
    let length = u32::try_from(length).ok().filter(|length| *length <= LENGTH_MAX).ok_or_else(|| {
        let message = format!("bit string length exceeds the maximum allowed ({LENGTH_MAX})");
        Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
    })?;
    Ok(picked(length, |at| if at < a.len() { a.bit(at) } else { b.bit(at - a.len()) }))
}

fn negative_length() -> Error {
    Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed")
}

/// From a place counted from 1, a number of bits or all that follow.
fn substring(bits: BitsRef<'_>, start: i64, count: Option<i64>) -> Result<Vec<u8>> {
    let end = match count {
        Some(count) if count < 0 => return Err(negative_length()),
        Some(count) => start.saturating_add(count).min(i64::from(bits.len()) + 1),
        None => i64::from(bits.len()) + 1,
    };
    let start = start.max(1);
    let length = u32::try_from(end - start).unwrap_or(0);
    let first = u32::try_from(start - 1).unwrap_or(u32::MAX);
    Ok(picked(length, |at| first.checked_add(at).is_some_and(|at| bits.bit(at))))
}

fn overlay(bits: BitsRef<'_>, new: BitsRef<'_>, numbers: &[i64]) -> Result<Vec<u8>> {
    let start = numbers.first().copied().unwrap_or(1);
    let count = numbers.get(1).copied().unwrap_or(i64::from(new.len()));
    if start <= 0 {
        return Err(negative_length());
    }
    if i32::try_from(start + count).is_err() {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"));
    }
    let (before, after) = (substring(bits, 1, Some(start - 1))?, substring(bits, start + count, None)?);
    let front = joined(BitsRef::read(&before)?, new)?;
    joined(BitsRef::read(&front)?, BitsRef::read(&after)?)
}

/// Where the second is found in the first, from 1; 0 if nowhere.
fn position(bits: BitsRef<'_>, wanted: BitsRef<'_>) -> i32 {
    if bits.is_empty() || wanted.len() > bits.len() {
        return 0;
    }
    let found = |from: &u32| (0..wanted.len()).all(|at| bits.bit(from + at) == wanted.bit(at));
    (0..=bits.len() - wanted.len()).find(found).map_or(0, |at| at as i32 + 1)
}

fn place(bits: BitsRef<'_>, at: i64) -> Result<u32> {
    u32::try_from(at).ok().filter(|at| *at < bits.len()).ok_or_else(|| {
        let last = i64::from(bits.len()) - 1;
        let message = format!("bit index {at} out of valid range (0..{last})");
        Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
    })
}

fn set_bit(bits: BitsRef<'_>, numbers: &[i64]) -> Result<Vec<u8>> {
    let changed = place(bits, numbers.first().copied().unwrap_or(0))?;
    let new = match numbers.get(1) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1")),
    };
    Ok(picked(bits.len(), |at| if at == changed { new } else { bits.bit(at) }))
}

/// What the C library's memcmp gives, then one for lengths.
fn difference(a: BitsRef<'_>, b: BitsRef<'_>) -> i32 {
    let unequal = a.bytes().iter().zip(b.bytes()).find(|(a, b)| a != b);
    unequal.map_or(a.len().cmp(&b.len()) as i32, |(a, b)| i32::from(*a) - i32::from(*b))
}

fn string_function(
    name: &str,
    of: impl Fn(&Args<'_>) -> Result<Vec<Option<Vec<u8>>>> + Send + Sync + 'static,
) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Bit(None), move |args| Ok(strings(of(args)?)))
}

fn int_function(
    name: &str,
    of: impl Fn(&Args<'_>) -> Result<Vec<Option<i32>>> + Send + Sync + 'static,
) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Int4, move |args| {
        Ok(Arc::new(Int32Array::from(of(args)?)))
    })
}

/// Whether a comparison is true of an order.
type Holds = fn(Ordering) -> bool;

fn comparison(name: &str, holds: Holds) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Bool, move |args| {
        let answers = two(args, |a, b, _| Ok(holds(a.compare(&b))))?;
        Ok(Arc::new(BooleanArray::from(answers)))
    })
}

/// Functions whose names text or bytea has too, and those that only bit strings have.
pub(super) fn functions() -> Vec<Function> {
    let mut all = vec![
        string_function("bitand", |args| two(args, |a, b, _| combine("AND", a, b, |a, b| a & b))),
        string_function("bitor", |args| two(args, |a, b, _| combine("OR", a, b, |a, b| a | b))),
        string_function("bitxor", |args| two(args, |a, b, _| combine("XOR", a, b, |a, b| a ^ b))),
        string_function("bitnot", |args| one(args, |bits, _| Ok(picked(bits.len(), |at| !bits.bit(at))))),
        string_function("bitshiftleft", |args| one(args, |bits, by| Ok(shifted(bits, by[0])))),
        string_function("bitshiftright", |args| one(args, |bits, by| Ok(shifted(bits, -by[0])))),
        string_function("substring", |args| {
            one(args, |bits, numbers| substring(bits, numbers[0], numbers.get(1).copied()))
        }),
        string_function("overlay", |args| two(args, overlay)),
        string_function("set_bit", |args| one(args, set_bit)),
        int_function("position", |args| two(args, |bits, wanted, _| Ok(position(bits, wanted)))),
        int_function("get_bit", |args| one(args, |bits, at| Ok(i32::from(bits.bit(place(bits, at[0])?))))),
        int_function("length", |args| one(args, |bits, _| Ok(bits.len() as i32))),
        int_function("bit_length", |args| one(args, |bits, _| Ok(bits.len() as i32))),
        int_function("octet_length", |args| one(args, |bits, _| Ok(bits.bytes().len() as i32))),
        int_function("bitcmp", |args| two(args, |a, b, _| Ok(difference(a, b)))),
        int_function("varbitcmp", |args| two(args, |a, b, _| Ok(difference(a, b)))),
        Function::new("bit_count", Volatility::Immutable, SqlType::Int8, |args| {
            let ones = |bits: BitsRef<'_>| bits.bytes().iter().map(|byte| i64::from(byte.count_ones())).sum();
            Ok(Arc::new(Int64Array::from(one(args, |bits, _| Ok(ones(bits)))?)))
        }),
        Function::new("bitcat", Volatility::Immutable, SqlType::Varbit(None), |args| {
            Ok(strings(two(args, |a, b, _| joined(a, b))?))
        }),
    ];
    let comparisons: [(&str, Holds); 6] = [
        ("lt", Ordering::is_lt),
        ("le", Ordering::is_le),
        ("eq", Ordering::is_eq),
        ("ne", Ordering::is_ne),
        ("ge", Ordering::is_ge),
        ("gt", Ordering::is_gt),
    ];
    for (word, holds) in comparisons {
        all.extend(["bit", "varbit"].map(|ty| comparison(&format!("{ty}{word}"), holds)));
    }
    all
}
