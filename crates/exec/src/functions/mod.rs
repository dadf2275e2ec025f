//! pgvector's functions and aggregates for DataFusion. The operators `<->`, `<#>`, `<=>`, `<+>` are bound to the functions here.

mod aggregate;
mod arithmetic;
mod distance;
mod measure;
mod operand;
mod shape;
pub(crate) mod sized;

pub use distance::Distance;
pub(crate) use measure::Measure;

use crate::vector::Vectors;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, ScalarUDF};
use quiver_base::{Error, SqlState, SqlType};
use std::sync::Arc;

/// Every scalar function of the extension.
pub fn extension_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = distance::all();
    all.extend(arithmetic::all());
    all.extend(measure::all());
    all.extend(shape::all());
    all
}

/// `avg` and `sum` that take vectors too; other types go to `builtin`.
pub(crate) fn aggregate_functions(builtin: &[Arc<AggregateUDF>]) -> Vec<Arc<AggregateUDF>> {
    aggregate::all(builtin)
}

/// The type that an argument meant as a vector is cast to before a function sees it.
fn coerce_vector(function: &str, ty: &DataType) -> Result<DataType> {
    let item = match ty {
        DataType::Null | DataType::Utf8 | DataType::Binary => return Ok(ty.clone()),
        DataType::LargeUtf8 | DataType::Utf8View => return Ok(DataType::Utf8),
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => item,
        other => return Err(no_function(function, std::slice::from_ref(other))),
    };
    match (ty, item.data_type()) {
        (DataType::FixedSizeList(..) | DataType::List(_), DataType::Float32 | DataType::Float16) => {
            Ok(ty.clone())
        }
        (_, item) if item.is_numeric() || item.is_null() => Ok(vector_of_any_dim()),
        _ => Err(no_function(function, std::slice::from_ref(ty))),
    }
}

/// 42883 for argument types that no overload has.
fn no_function(function: &str, types: &[DataType]) -> DataFusionError {
    let shown = |ty: &DataType| match ty {
        DataType::List(item) if *item.data_type() == DataType::Float32 => "vector".to_owned(),
        ty => SqlType::from_arrow(ty).map_or_else(|| ty.to_string(), |ty| ty.to_string()),
    };
    let types: Vec<String> = types.iter().map(shown).collect();
    let message = format!("function {function}({}) does not exist", types.join(", "));
    crate::to_datafusion(Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    ))
}

fn vector_of_any_dim() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Float32, true)))
}

/// The same, or `halfvec`'s type if an argument has that.
fn list_of_any_dim(arg_types: &[DataType]) -> DataType {
    match arg_types.iter().any(operand::is_half) {
        true => SqlType::Halfvec(None).arrow_type(),
        false => vector_of_any_dim(),
    }
}

/// 22003.
fn out_of_range(how: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {how}"))
}

/// A result field: one whose rows are vectors of any dimension says so, since its Arrow type alone is real[]'s.
fn vector_field(name: &str, ty: DataType) -> FieldRef {
    match &ty {
        DataType::List(item) if *item.data_type() == DataType::Float32 => {
            Arc::new(SqlType::Vector(None).field(name, true))
        }
        _ => Arc::new(Field::new(name, ty, true)),
    }
}

fn vectors(value: &ColumnarValue) -> Result<Vectors> {
    Vectors::new(value).map_err(crate::to_datafusion)
}

/// Whether every argument is one value, so that the answer is one too; and the rows to compute.
fn rows_of(args: &[ColumnarValue], rows: usize) -> (bool, usize) {
    let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    (constant, if constant { 1 } else { rows })
}

fn columnar(array: arrow::array::ArrayRef, constant: bool) -> Result<ColumnarValue> {
    if constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
    }
    Ok(ColumnarValue::Array(array))
}

#[cfg(test)]
mod tests;
