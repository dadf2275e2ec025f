//! pgvector's functions and aggregates for DataFusion. The operators `<->`, `<#>`, `<=>`, `<+>` are bound to the functions here.

mod aggregate;
mod arithmetic;
mod distance;
mod shape;

pub use distance::Distance;

use crate::vector::Vectors;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, ScalarUDF};
use quiver_base::{Error, SqlState, SqlType};
use std::sync::Arc;

/// Every scalar function of the extension.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = distance::all();
    all.extend(arithmetic::all());
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
        DataType::Null | DataType::Utf8 => return Ok(ty.clone()),
        DataType::LargeUtf8 | DataType::Utf8View => return Ok(DataType::Utf8),
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => item,
        other => return Err(no_function(function, other)),
    };
    match (ty, item.data_type()) {
        (DataType::FixedSizeList(..) | DataType::List(_), DataType::Float32) => Ok(ty.clone()),
        (_, item) if item.is_numeric() || item.is_null() => Ok(vector_of_any_dim()),
        _ => Err(no_function(function, ty)),
    }
}

fn no_function(function: &str, ty: &DataType) -> DataFusionError {
    let ty = SqlType::from_arrow(ty).map_or_else(|| ty.to_string(), |ty| ty.to_string());
    crate::to_datafusion(
        Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {function}({ty}) does not exist"))
            .with_hint("No function matches the given name and argument types. You might need to add explicit type casts."),
    )
}

fn vector_of_any_dim() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Float32, true)))
}

/// A result field: one whose rows are vectors of any dimension says so, since its Arrow type alone is real[]'s.
fn vector_field(name: &str, ty: DataType) -> FieldRef {
    match &ty {
        DataType::List(_) => Arc::new(SqlType::Vector(None).field(name, true)),
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
