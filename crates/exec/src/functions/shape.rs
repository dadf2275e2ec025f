//! Functions of one vector: dimensions, norm, normalised form, a part of it, its signs; comparison;
//! concatenation.

use super::operand::{Bytes, Operand, is_half};
use super::{coerce_vector, columnar, list_of_any_dim, no_function, rows_of, vector_field};
use crate::vector::{Dense, Vectors, dense_column};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Int32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::sparse::{self, SparseRef};
use quiver_base::{Error, SqlState, SqlType};
use std::cmp::Ordering;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Dims,
    Norm,
    Normalize,
    Subvector,
    Concat,
    Quantize,
    Compare(Wanted),
}

/// What is asked of two values' order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Order,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

impl Wanted {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Wanted::Less => order.is_lt(),
            Wanted::LessOrEqual => order.is_le(),
            Wanted::NotEqual => order.is_ne(),
            Wanted::GreaterOrEqual => order.is_ge(),
            Wanted::Greater => order.is_gt(),
            Wanted::Order | Wanted::Equal => order.is_eq(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    name: String,
    kind: Kind,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let one = [
        ("vector_dims", Kind::Dims),
        ("vector_norm", Kind::Norm),
        ("l2_norm", Kind::Norm),
        ("l2_normalize", Kind::Normalize),
        ("subvector", Kind::Subvector),
        ("vector_concat", Kind::Concat),
        ("halfvec_concat", Kind::Concat),
        ("binary_quantize", Kind::Quantize),
    ];
    let comparisons = [
        ("cmp", Wanted::Order),
        ("lt", Wanted::Less),
        ("le", Wanted::LessOrEqual),
        ("eq", Wanted::Equal),
        ("ne", Wanted::NotEqual),
        ("ge", Wanted::GreaterOrEqual),
        ("gt", Wanted::Greater),
    ];
    let of_type = |ty: &'static str| {
        comparisons.map(move |(word, wanted)| (format!("{ty}_{word}"), Kind::Compare(wanted)))
    };
    one.map(|(name, kind)| (name.to_owned(), kind))
        .into_iter()
        .chain(["vector", "halfvec", "sparsevec"].into_iter().flat_map(of_type))
        .map(|(name, kind)| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Shape { name, kind, signature }))
        })
        .collect()
}

impl Shape {
    fn compute(&self, args: &ScalarFunctionArgs, rows: usize) -> quiver_base::Result<ArrayRef> {
        let ty = args.return_field.data_type();
        if let Kind::Compare(wanted) = self.kind {
            return compare(wanted, &args.args, rows);
        }
        if args.args[0].data_type() == DataType::Binary {
            return self.of_sparse(&Bytes::new(&args.args[0])?, rows);
        }
        let input = Vectors::new(&args.args[0])?;
        let half = is_half(&args.args[0].data_type());
        let dense = if half { Dense::Halfvec } else { Dense::Vector };
        Ok(match self.kind {
            Kind::Dims => Arc::new(
                (0..rows).map(|row| input.row(row).map(|vector| vector.len() as i32)).collect::<Int32Array>(),
            ),
            Kind::Norm => {
                let norm = |row| input.row(row).map(|vector| norm(vector.iter().copied()));
                Arc::new((0..rows).map(norm).collect::<Float64Array>())
            }
            Kind::Normalize => dense_column(ty, rows, |row| {
                input.row(row).map(|vector| normalize(dense, vector)).transpose()
            })?,
            Kind::Quantize => {
                let mut out = BinaryBuilder::new();
                (0..rows).for_each(|row| out.append_option(input.row(row).map(signs)));
                Arc::new(out.finish())
            }
            Kind::Subvector => {
                let (start, count) = (integers(&args.args[1], rows)?, integers(&args.args[2], rows)?);
                let (start, count) = (start.as_primitive::<Int32Type>(), count.as_primitive::<Int32Type>());
                let part = |row| match (start.is_valid(row) && count.is_valid(row), input.row(row)) {
                    (true, Some(vector)) => part(dense, vector, start.value(row), count.value(row)).map(Some),
                    _ => Ok(None),
                };
                dense_column(ty, rows, part)?
            }
            Kind::Concat | Kind::Compare(_) => {
                let other = Vectors::new(&args.args[1])?;
                dense_column(ty, rows, |row| match (input.row(row), other.row(row)) {
                    (Some(a), Some(b)) => {
                        dense.check_dim(a.len() + b.len())?;
                        Ok(Some([a, b].concat()))
                    }
                    _ => Ok(None),
                })?
            }
        })
    }

    fn of_sparse(&self, input: &Bytes, rows: usize) -> quiver_base::Result<ArrayRef> {
        let norm = |value: &SparseRef<'_>| norm(value.iter().map(|(_, value)| value));
        match self.kind {
            Kind::Norm => {
                let norms = (0..rows).map(|row| Ok(input.sparse(row)?.map(|value| norm(&value))));
                Ok(Arc::new(norms.collect::<quiver_base::Result<Float64Array>>()?))
            }
            Kind::Normalize => {
                let mut out = BinaryBuilder::new();
                for row in 0..rows {
                    out.append_option(match input.sparse(row)? {
                        Some(value) => Some(normalize_sparse(&value, norm(&value))?),
                        None => None,
                    });
                }
                Ok(Arc::new(out.finish()))
            }
            _ => Err(Error::internal(format!("{} of a sparsevec", self.name))),
        }
    }
}

fn integers(value: &ColumnarValue, rows: usize) -> quiver_base::Result<ArrayRef> {
    let array = value.to_array(rows).map_err(crate::from_datafusion)?;
    Ok(cast(&array, &DataType::Int32)?)
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

/// Of length one; a zero vector stays as it is.
fn normalize(kind: Dense, vector: &[f32]) -> quiver_base::Result<Vec<f32>> {
    let norm = norm(vector.iter().copied());
    if norm == 0.0 {
        return Ok(vec![0.0; vector.len()]);
    }
    let scaled: Vec<f32> =
        vector.iter().map(|value| kind.rounded((f64::from(*value) / norm) as f32)).collect();
    if scaled.iter().any(|value| value.is_infinite()) {
        return Err(super::out_of_range("overflow"));
    }
    Ok(scaled)
}

fn normalize_sparse(value: &SparseRef<'_>, norm: f64) -> quiver_base::Result<Vec<u8>> {
    if norm == 0.0 {
        return Ok(sparse::encode(value.dim(), &[]));
    }
    let scaled = value.iter().map(|(index, value)| (index, (f64::from(value) / norm) as f32));
    // What became zero is left out.
    let scaled: Vec<(u32, f32)> = scaled.filter(|(_, value)| *value != 0.0).collect();
    if scaled.iter().any(|(_, value)| value.is_infinite()) {
        return Err(super::out_of_range("overflow"));
    }
    Ok(sparse::encode(value.dim(), &scaled))
}

/// pgvector's `binary_quantize`: one bit an element, set where it is positive.
fn signs(vector: &[f32]) -> Vec<u8> {
    let mut packed = vec![0_u8; vector.len().div_ceil(8)];
    for (at, value) in vector.iter().enumerate() {
        packed[at / 8] |= u8::from(*value > 0.0) << (7 - at % 8);
    }
    quiver_base::bits::encode(vector.len() as u32, &packed)
}

/// pgvector's `subvector`: 1-based, cut off at both ends.
fn part(kind: Dense, vector: &[f32], start: i32, count: i32) -> quiver_base::Result<Vec<f32>> {
    if count < 1 {
        kind.check_dim(0)?;
    }
    let end = (i64::from(start) + i64::from(count)).min(vector.len() as i64 + 1);
    let start = i64::from(start).max(1);
    kind.check_dim(usize::try_from(end - start).unwrap_or(0))?;
    Ok(vector[start as usize - 1..end as usize - 1].to_vec())
}

fn compare(wanted: Wanted, args: &[ColumnarValue], rows: usize) -> quiver_base::Result<ArrayRef> {
    let (left, right) = (Operand::new(&args[0])?, Operand::new(&args[1])?);
    let order = |row| -> quiver_base::Result<Option<Ordering>> {
        Ok(match (&left, &right) {
            (Operand::Dense(left), Operand::Dense(right)) => {
                // Element by element, then the shorter one first. Elements are never NaN.
                let pair = left.row(row).zip(right.row(row));
                pair.map(|(a, b)| a.partial_cmp(b).unwrap_or(Ordering::Equal))
            }
            (Operand::Sparse(left), Operand::Sparse(right)) => {
                left.sparse(row)?.zip(right.sparse(row)?).map(|(a, b)| a.compare(&b))
            }
            _ => return Err(Error::new(SqlState::INTERNAL_ERROR, "a comparison of different types")),
        })
    };
    if wanted == Wanted::Order {
        let orders = (0..rows).map(|row| Ok(order(row)?.map(|order| order as i32)));
        return Ok(Arc::new(orders.collect::<quiver_base::Result<Int32Array>>()?));
    }
    let answers = (0..rows).map(|row| Ok(order(row)?.map(|order| wanted.holds(order))));
    Ok(Arc::new(answers.collect::<quiver_base::Result<BooleanArray>>()?))
}

impl ScalarUDFImpl for Shape {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let vector = |at: usize| coerce_vector(&self.name, &arg_types[at]);
        match (self.kind, arg_types.len()) {
            (Kind::Dims | Kind::Norm | Kind::Normalize | Kind::Quantize, 1) => Ok(vec![vector(0)?]),
            (Kind::Concat | Kind::Compare(_), 2) => Ok(vec![vector(0)?, vector(1)?]),
            (Kind::Subvector, 3) => Ok(vec![vector(0)?, DataType::Int32, DataType::Int32]),
            _ => Err(no_function(&self.name, arg_types)),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Dims | Kind::Compare(Wanted::Order) => DataType::Int32,
            Kind::Compare(_) => DataType::Boolean,
            Kind::Norm => DataType::Float64,
            Kind::Quantize => DataType::Binary,
            Kind::Normalize if arg_types[0] == DataType::Binary => DataType::Binary,
            Kind::Normalize | Kind::Subvector | Kind::Concat => list_of_any_dim(arg_types),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let ty = self.return_type(&types)?;
        Ok(match (self.kind, &ty) {
            (Kind::Quantize, _) => Arc::new(SqlType::Bit(None).field(&self.name, true)),
            (_, DataType::Binary) => Arc::new(SqlType::Sparsevec(None).field(&self.name, true)),
            (_, DataType::List(_)) => vector_field(&self.name, ty),
            _ => Arc::new(Field::new(&self.name, ty, true)),
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (constant, rows) = rows_of(&args.args, args.number_rows);
        let array = self.compute(&args, rows).map_err(crate::to_datafusion)?;
        columnar(array, constant)
    }
}
