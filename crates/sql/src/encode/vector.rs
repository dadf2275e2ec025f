//! pgvector's types and bit strings in the forms that clients read.

use super::scalar::{put_float4, put_int};
use arrow::array::{Array, ArrayRef, AsArray, Float16Array, Float32Array};
use arrow::datatypes::DataType;
use half::f16;
use quiver_base::bits::BitsRef;
use quiver_base::sparse::SparseRef;
use quiver_base::{Result, SqlType};
use std::ops::Range;

/// The elements of a dense column.
#[derive(Debug)]
pub(super) enum Floats {
    Single(Float32Array),
    Half(Float16Array),
}

impl Floats {
    /// `None` for items of other types.
    pub(super) fn of(items: &ArrayRef) -> Option<Floats> {
        match items.data_type() {
            DataType::Float32 => Some(Floats::Single(items.as_primitive().clone())),
            DataType::Float16 => Some(Floats::Half(items.as_primitive().clone())),
            _ => None,
        }
    }

    /// Whether they are what usually carries the type.
    pub(super) fn carry(&self, ty: &SqlType) -> bool {
        matches!((self, ty), (Floats::Single(_), SqlType::Vector(_)) | (Floats::Half(_), SqlType::Halfvec(_)))
    }

    /// `[1,2.5]`.
    pub(super) fn text(&self, row: Range<usize>, out: &mut Vec<u8>) {
        match self {
            Floats::Single(values) => put_list(values.values()[row].iter().copied(), out),
            Floats::Half(values) => put_list(values.values()[row].iter().map(|value| value.to_f32()), out),
        }
    }

    /// Dimension, an unused word, elements.
    pub(super) fn binary(&self, row: Range<usize>, out: &mut Vec<u8>) {
        out.extend_from_slice(&(row.len() as u16).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        match self {
            Floats::Single(values) => values.values()[row].iter().for_each(|value: &f32| {
                out.extend_from_slice(&value.to_be_bytes());
            }),
            Floats::Half(values) => values.values()[row].iter().for_each(|value: &f16| {
                out.extend_from_slice(&value.to_be_bytes());
            }),
        }
    }
}

fn put_list(values: impl Iterator<Item = f32>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (position, value) in values.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        put_float4(value, out);
    }
    out.push(b']');
}

/// `{1:1.5,3:2}/5`.
pub(super) fn put_sparse(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let value = SparseRef::read(bytes)?;
    out.push(b'{');
    for (position, (index, element)) in value.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        put_int(i64::from(index) + 1, out);
        out.push(b':');
        put_float4(element, out);
    }
    out.extend_from_slice(b"}/");
    put_int(i64::from(value.dim()), out);
    Ok(())
}

/// Dimension, number of elements, an unused word, positions from 0, values.
pub(super) fn send_sparse(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let value = SparseRef::read(bytes)?;
    out.extend_from_slice(&value.dim().to_be_bytes());
    out.extend_from_slice(&(value.nnz() as u32).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    value.iter().for_each(|(index, _)| out.extend_from_slice(&index.to_be_bytes()));
    value.iter().for_each(|(_, element)| out.extend_from_slice(&element.to_be_bytes()));
    Ok(())
}

/// `101`.
pub(super) fn put_bits(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let value = BitsRef::read(bytes)?;
    out.extend((0..value.len()).map(|at| b'0' + u8::from(value.bit(at))));
    Ok(())
}

/// Length, bits.
pub(super) fn send_bits(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let value = BitsRef::read(bytes)?;
    out.extend_from_slice(&value.len().to_be_bytes());
    out.extend_from_slice(value.bytes());
    Ok(())
}
