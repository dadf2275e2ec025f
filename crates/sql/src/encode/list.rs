//! Arrays: `{1,NULL,"a b"}` and their binary form; int2vector and oidvector print without braces.

use super::column::{ColumnEncoder, Source};
use super::scalar::quote_array_item;
use crate::oids;
use arrow::array::ListArray;
use quiver_base::{Error, Result, SqlType};
use std::ops::Range;

/// The type of an array's items.
pub(super) fn item_type(ty: &SqlType) -> Result<SqlType> {
    match ty {
        SqlType::Array(item) => Ok((**item).clone()),
        SqlType::Int2Vector => Ok(SqlType::Int2),
        SqlType::OidVector => Ok(SqlType::Oid),
        _ => Err(Error::internal(format!("a list does not carry {ty}"))),
    }
}

/// Where a row's items are.
pub(super) fn range(array: &ListArray, row: usize) -> Range<usize> {
    let offsets = array.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The text form.
pub(super) fn text(
    ty: &SqlType,
    array: &ListArray,
    items: &ColumnEncoder,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let braces = matches!(ty, SqlType::Array(_));
    let nested = matches!(items.source, Source::List(..)) && matches!(items.ty, SqlType::Array(_));
    if braces {
        out.push(b'{');
    }
    for (position, item) in range(array, row).enumerate() {
        if position > 0 {
            out.push(if braces { b',' } else { b' ' });
        }
        if items.is_null(item) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        let start = out.len();
        items.text(item, out)?;
        if braces && !nested {
            quote_array_item(out, start);
        }
    }
    if braces {
        out.push(b'}');
    }
    Ok(())
}

/// The binary form: dimensions, whether there are NULLs, the item type's oid, then items with their lengths.
pub(super) fn binary(
    ty: &SqlType,
    array: &ListArray,
    items: &ColumnEncoder,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut shape = Shape { lengths: Vec::new(), has_nulls: false };
    shape.measure(range(array, row), items, 0)?;
    if shape.lengths.contains(&0) {
        shape.lengths.clear();
    }
    out.extend_from_slice(&(shape.lengths.len() as i32).to_be_bytes());
    out.extend_from_slice(&i32::from(shape.has_nulls).to_be_bytes());
    out.extend_from_slice(&oids::type_oid(leaf(items)).to_be_bytes());
    // The two vector types of the catalogs count from 0, arrays from 1.
    let first = i32::from(matches!(ty, SqlType::Array(_)));
    for length in &shape.lengths {
        out.extend_from_slice(&(*length as i32).to_be_bytes());
        out.extend_from_slice(&first.to_be_bytes());
    }
    if shape.lengths.is_empty() { Ok(()) } else { put_items(range(array, row), items, out) }
}

fn leaf(items: &ColumnEncoder) -> &SqlType {
    match &items.source {
        Source::List(_, inner) => leaf(inner),
        _ => &items.ty,
    }
}

struct Shape {
    lengths: Vec<usize>,
    has_nulls: bool,
}

impl Shape {
    fn measure(&mut self, items_of: Range<usize>, items: &ColumnEncoder, depth: usize) -> Result<()> {
        match self.lengths.get(depth) {
            None => self.lengths.push(items_of.len()),
            Some(length) if *length == items_of.len() => {}
            Some(_) => {
                return Err(Error::unsupported("an array whose sub-arrays differ in length"));
            }
        }
        for item in items_of {
            match &items.source {
                _ if items.is_null(item) => self.has_nulls = true,
                Source::List(array, inner) => self.measure(range(array, item), inner, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn put_items(items_of: Range<usize>, items: &ColumnEncoder, out: &mut Vec<u8>) -> Result<()> {
    for item in items_of {
        if items.is_null(item) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        }
        if let Source::List(array, inner) = &items.source {
            put_items(range(array, item), inner, out)?;
            continue;
        }
        put_sized(out, |out| items.binary(item, out))?;
    }
    Ok(())
}

/// Runs `put` and writes before its bytes how many they are.
pub(crate) fn put_sized(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| {
        Error::new(quiver_base::SqlState::PROGRAM_LIMIT_EXCEEDED, "a value is too large to send")
    })?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
