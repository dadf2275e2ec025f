//! `+`, `-`, `*` of vectors, element by element.

use super::{coerce_vector, columnar, rows_of, vector_field, vector_of_any_dim, vectors};
use crate::vector::{Vectors, check_same_dim, dense_column};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::{Error, SqlState};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    name: &'static str,
    operation: Operation,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    [("vector_add", Operation::Add), ("vector_sub", Operation::Subtract), ("vector_mul", Operation::Multiply)]
        .map(|(name, operation)| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Arithmetic { name, operation, signature }))
        })
        .to_vec()
}

impl Arithmetic {
    fn of(&self, a: &[f32], b: &[f32]) -> quiver_base::Result<Vec<f32>> {
        check_same_dim(a.len(), b.len())?;
        let out: Vec<f32> = a
            .iter()
            .zip(b)
            .map(|(a, b)| match self.operation {
                Operation::Add => a + b,
                Operation::Subtract => a - b,
                Operation::Multiply => a * b,
            })
            .collect();
        if out.iter().any(|value| value.is_infinite()) {
            return Err(out_of_range("overflow"));
        }
        let underflow = |((a, b), out): ((&f32, &f32), &f32)| *out == 0.0 && *a != 0.0 && *b != 0.0;
        if self.operation == Operation::Multiply && a.iter().zip(b).zip(&out).any(underflow) {
            return Err(out_of_range("underflow"));
        }
        Ok(out)
    }
}

fn out_of_range(how: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {how}"))
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, _] = arg_types else {
            return datafusion::common::plan_err!("{} takes two arguments", self.name);
        };
        arg_types.iter().map(|ty| coerce_vector(self.name, ty)).collect()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let fixed = arg_types.iter().find(|ty| matches!(ty, DataType::FixedSizeList(..)));
        Ok(fixed.cloned().unwrap_or_else(vector_of_any_dim))
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
        let (left, right) = (vectors(&args.args[0])?, vectors(&args.args[1])?);
        let compute = |row| match (left.row(row), right.row(row)) {
            (Some(a), Some(b)) => self.of(a, b).map(Some),
            _ => Ok(None),
        };
        let array =
            dense_column(args.return_field.data_type(), rows, compute).map_err(crate::to_datafusion)?;
        columnar(array, constant)
    }
}

/// Builds a column of type `ty` with a function of one vector.
pub(super) fn map(
    ty: &DataType,
    rows: usize,
    input: &Vectors,
    of: impl Fn(&[f32]) -> quiver_base::Result<Vec<f32>>,
) -> quiver_base::Result<ArrayRef> {
    dense_column(ty, rows, |row| input.row(row).map(&of).transpose())
}
