//! The aggregate behind scalar subqueries: the value of the only row, 21000 for a second one; and an empty array for NULL.

use super::{Function, only_value};
use arrow::array::{Array, ArrayRef, BooleanArray, ListArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use quiver_base::{Error, SqlState};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// The only value, or the first by the aggregate's order if `first`.
pub(crate) fn single_value(first: bool) -> Arc<AggregateUDF> {
    if first {
        return datafusion::functions_aggregate::first_last::first_value_udaf();
    }
    Arc::new(AggregateUDF::new_from_impl(SingleValue { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(args[0].clone())
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        Ok(Arc::new(args[0].as_ref().clone().with_name("single_value").with_nullable(true)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Single { value: ScalarValue::try_from(args.return_type())?, rows: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new("value", args.return_type().clone(), true)),
            Arc::new(Field::new("rows", DataType::Int64, false)),
        ])
    }
}

#[derive(Debug)]
struct Single {
    value: ScalarValue,
    rows: i64,
}

impl Single {
    fn take(&mut self, rows: i64, value: impl FnOnce() -> DfResult<ScalarValue>) -> DfResult<()> {
        if rows > 0 {
            self.value = value()?;
        }
        self.rows += rows;
        if self.rows > 1 {
            return Err(to_datafusion(Error::new(
                SqlState::CARDINALITY_VIOLATION,
                "more than one row returned by a subquery used as an expression",
            )));
        }
        Ok(())
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let rows = i64::try_from(values[0].len()).unwrap_or(i64::MAX);
        self.take(rows, || only_value(&values[0].slice(0, 1)))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for row in 0..states[0].len() {
            let rows = match ScalarValue::try_from_array(&states[1], row)? {
                ScalarValue::Int64(Some(rows)) => rows,
                _ => 0,
            };
            self.take(rows, || only_value(&states[0].slice(row, 1)))?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(Some(self.rows))])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }
}

/// `ARRAY(SELECT …)` of no rows is an empty array, not NULL.
pub(crate) fn array_of_nothing() -> Function {
    Function::typed(
        "array_or_empty",
        Volatility::Immutable,
        |types| Ok(types[0].clone()),
        |args| {
            let array = args.array(0);
            let Some(list) = array.as_any().downcast_ref::<ListArray>() else { return Ok(array.clone()) };
            if list.null_count() == 0 {
                return Ok(array.clone());
            }
            let lengths = (0..list.len()).map(|row| match list.is_null(row) {
                true => 0,
                false => usize::try_from(list.value_length(row)).unwrap_or(0),
            });
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>());
            let keep: BooleanArray = (0..list.len())
                .flat_map(|row| {
                    let count = usize::try_from(list.value_length(row)).unwrap_or(0);
                    std::iter::repeat_n(Some(list.is_valid(row)), count)
                })
                .collect();
            let start = usize::try_from(list.value_offsets()[0]).unwrap_or(0);
            let items = arrow::compute::filter(&list.values().slice(start, keep.len()), &keep)?;
            let field = match list.data_type() {
                DataType::List(field) => field.clone(),
                _ => return Ok(array.clone()),
            };
            Ok(Arc::new(ListArray::try_new(field, offsets, items, None)?))
        },
    )
}
