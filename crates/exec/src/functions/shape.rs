//! Functions of one vector: dimensions, norm, normalised form, a part of it; comparison; concatenation.

use super::{arithmetic, coerce_vector, columnar, rows_of, vector_field, vector_of_any_dim};
use crate::vector::{Vectors, check_dim, dense_column};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::cmp::Ordering;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Dims,
    Norm,
    Normalize,
    Subvector,
    Concat,
    Compare,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    [
        ("vector_dims", Kind::Dims),
        ("vector_norm", Kind::Norm),
        ("l2_norm", Kind::Norm),
        ("l2_normalize", Kind::Normalize),
        ("subvector", Kind::Subvector),
        ("vector_concat", Kind::Concat),
        ("vector_cmp", Kind::Compare),
    ]
    .map(|(name, kind)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Shape { name, kind, signature }))
    })
    .to_vec()
}

impl Shape {
    fn compute(&self, args: &ScalarFunctionArgs, rows: usize) -> quiver_base::Result<ArrayRef> {
        let input = Vectors::new(&args.args[0])?;
        let ty = args.return_field.data_type();
        Ok(match self.kind {
            Kind::Dims => Arc::new(
                (0..rows).map(|row| input.row(row).map(|vector| vector.len() as i32)).collect::<Int32Array>(),
            ),
            Kind::Norm => Arc::new((0..rows).map(|row| input.row(row).map(norm)).collect::<Float64Array>()),
            Kind::Normalize => arithmetic::map(ty, rows, &input, |vector| Ok(normalize(vector)))?,
            Kind::Subvector => {
                let (start, count) = (integers(&args.args[1], rows)?, integers(&args.args[2], rows)?);
                let (start, count) = (start.as_primitive::<Int32Type>(), count.as_primitive::<Int32Type>());
                dense_column(ty, rows, |row| {
                    if start.is_null(row) || count.is_null(row) {
                        return Ok(None);
                    }
                    input.row(row).map(|vector| part(vector, start.value(row), count.value(row))).transpose()
                })?
            }
            Kind::Concat => {
                let other = Vectors::new(&args.args[1])?;
                dense_column(ty, rows, |row| match (input.row(row), other.row(row)) {
                    (Some(a), Some(b)) => {
                        check_dim(a.len() + b.len())?;
                        Ok(Some([a, b].concat()))
                    }
                    _ => Ok(None),
                })?
            }
            Kind::Compare => {
                let other = Vectors::new(&args.args[1])?;
                let order = |row| Some(compare(input.row(row)?, other.row(row)?) as i32);
                Arc::new((0..rows).map(order).collect::<Int32Array>())
            }
        })
    }
}

fn integers(value: &ColumnarValue, rows: usize) -> quiver_base::Result<ArrayRef> {
    let array = value.to_array(rows).map_err(crate::from_datafusion)?;
    Ok(cast(&array, &DataType::Int32)?)
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt()
}

fn normalize(vector: &[f32]) -> Vec<f32> {
    let norm = norm(vector);
    if norm == 0.0 {
        return vec![0.0; vector.len()];
    }
    vector.iter().map(|value| (f64::from(*value) / norm) as f32).collect()
}

/// pgvector's `subvector`: 1-based, cut off at both ends.
fn part(vector: &[f32], start: i32, count: i32) -> quiver_base::Result<Vec<f32>> {
    check_dim(usize::try_from(count).unwrap_or(0))?;
    let end = (i64::from(start) + i64::from(count)).min(vector.len() as i64 + 1);
    let start = i64::from(start).max(1);
    check_dim(usize::try_from(end - start).unwrap_or(0))?;
    Ok(vector[start as usize - 1..end as usize - 1].to_vec())
}

/// Element by element, then the shorter one first. Elements are never NaN.
fn compare(a: &[f32], b: &[f32]) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

impl ScalarUDFImpl for Shape {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let vector = |at: usize| coerce_vector(self.name, &arg_types[at]);
        match (self.kind, arg_types.len()) {
            (Kind::Dims | Kind::Norm | Kind::Normalize, 1) => Ok(vec![vector(0)?]),
            (Kind::Concat | Kind::Compare, 2) => Ok(vec![vector(0)?, vector(1)?]),
            (Kind::Subvector, 3) => Ok(vec![vector(0)?, DataType::Int32, DataType::Int32]),
            _ => datafusion::common::plan_err!("wrong number of arguments for {}", self.name),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Dims | Kind::Compare => DataType::Int32,
            Kind::Norm => DataType::Float64,
            Kind::Normalize if matches!(arg_types[0], DataType::FixedSizeList(..)) => arg_types[0].clone(),
            Kind::Normalize | Kind::Subvector | Kind::Concat => vector_of_any_dim(),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(vector_field(self.name, self.return_type(&types)?))
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
