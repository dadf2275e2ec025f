//! `+`, `-`, `*` of dense vectors, element by element.

use super::operand::{check_same_dim, is_half, type_name};
use super::{
    coerce_vector, columnar, list_of_any_dim, no_function, out_of_range, rows_of, vector_field, vectors,
};
use crate::vector::{Dense, dense_column};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    name: String,
    operation: Operation,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let operations = [("add", Operation::Add), ("sub", Operation::Subtract), ("mul", Operation::Multiply)];
    let of_type = |ty: &'static str| operations.map(|(word, operation)| (format!("{ty}_{word}"), operation));
    ["vector", "halfvec"]
        .into_iter()
        .flat_map(of_type)
        .map(|(name, operation)| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Arithmetic { name, operation, signature }))
        })
        .collect()
}

impl Arithmetic {
    fn of(&self, ty: &DataType, a: &[f32], b: &[f32]) -> quiver_base::Result<Vec<f32>> {
        check_same_dim(type_name(ty), a.len(), b.len())?;
        let kind = if is_half(ty) { Dense::Halfvec } else { Dense::Vector };
        let out: Vec<f32> = a
            .iter()
            .zip(b)
            .map(|(a, b)| match self.operation {
                Operation::Add => kind.rounded(a + b),
                Operation::Subtract => kind.rounded(a - b),
                Operation::Multiply => kind.rounded(a * b),
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

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, _] = arg_types else {
            return Err(no_function(&self.name, arg_types));
        };
        arg_types.iter().map(|ty| coerce_vector(&self.name, ty)).collect()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(list_of_any_dim(arg_types))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(vector_field(&self.name, self.return_type(&types)?))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (constant, rows) = rows_of(&args.args, args.number_rows);
        let (left, right) = (vectors(&args.args[0])?, vectors(&args.args[1])?);
        let ty = args.return_field.data_type();
        let compute = |row| match (left.row(row), right.row(row)) {
            (Some(a), Some(b)) => self.of(ty, a, b).map(Some),
            _ => Ok(None),
        };
        let array = dense_column(ty, rows, compute).map_err(crate::to_datafusion)?;
        columnar(array, constant)
    }
}
