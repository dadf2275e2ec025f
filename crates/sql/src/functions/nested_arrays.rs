//! Arrays made of arrays: all of them have the same dimensions, as those of PostgreSQL must.

use super::Function;
use super::deferred::reversed;
use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature, Volatility,
};
use quiver_base::{Error, Result, SQL_TYPE_KEY, SqlState, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// The lengths of an array in each of its dimensions; none of NULL and of an empty one.
fn dimensions(lists: &ListArray, row: usize) -> Vec<i32> {
    if lists.is_null(row) || lists.value_length(row) == 0 {
        return Vec::new();
    }
    let mut found = vec![lists.value_length(row)];
    if let Some(inner) = lists.values().as_list_opt::<i32>() {
        let first = usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
        found.extend(dimensions(inner, first));
    }
    found
}

/// The dimensions of the arrays in an array.
fn inner_dimensions(lists: &ListArray, row: usize) -> Vec<Vec<i32>> {
    let items = lists.value(row);
    match items.as_list_opt::<i32>() {
        Some(inner) => (0..inner.len()).map(|item| dimensions(inner, item)).collect(),
        None => Vec::new(),
    }
}

fn wrong(message: &str) -> Error {
    Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
}

/// What `ARRAY[a, b]` makes of arrays: an empty one if all are empty or NULL.
pub(crate) fn matching_arrays() -> Function {
    Function::typed(
        "matching_arrays",
        Volatility::Immutable,
        |types| Ok(types[0].clone()),
        |args| {
            let array = args.array(0);
            let Some(lists) = array.as_list_opt::<i32>() else { return Ok(array.clone()) };
            let mut emptied = false;
            let mut lengths = Vec::with_capacity(lists.len());
            for row in 0..lists.len() {
                let found = inner_dimensions(lists, row);
                let nothing = found.iter().all(Vec::is_empty);
                if !nothing && found.windows(2).any(|two| two[0] != two[1]) {
                    let message =
                        "multidimensional arrays must have array expressions with matching dimensions";
                    return Err(wrong(message));
                }
                emptied |= nothing && !found.is_empty();
                lengths.push(if nothing { 0 } else { found.len() });
            }
            if emptied { without_items(lists, lengths) } else { Ok(array.clone()) }
        },
    )
}

/// The lists with so many items each: all or none of those they have.
fn without_items(lists: &ListArray, lengths: Vec<usize>) -> Result<ArrayRef> {
    let keep = (0..lists.len()).flat_map(|row| {
        let count = usize::try_from(lists.value_length(row)).unwrap_or(0);
        std::iter::repeat_n(Some(lengths[row] > 0), count)
    });
    let keep: arrow::array::BooleanArray = keep.collect();
    let start = usize::try_from(lists.value_offsets()[0]).unwrap_or(0);
    let items = arrow::compute::filter(&lists.values().slice(start, keep.len()), &keep)?;
    let field = match lists.data_type() {
        DataType::List(field) => field.clone(),
        _ => return Err(Error::internal("a list is no list")),
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, lists.nulls().cloned())?))
}

/// `array_agg` of arrays, with the SQL type of its result.
pub(crate) fn array_of_arrays(other: Arc<AggregateUDF>, ty: SqlType) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(OfArrays { other, ty }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfArrays {
    other: Arc<AggregateUDF>,
    ty: SqlType,
}

impl AggregateUDFImpl for OfArrays {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn signature(&self) -> &Signature {
        self.other.signature()
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        self.other.return_type(args)
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        let field = self.other.return_field(args)?.as_ref().clone();
        let label = [(SQL_TYPE_KEY.to_owned(), self.ty.to_string())];
        Ok(Arc::new(field.with_metadata(label.into())))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Checked(self.other.accumulator(args)?)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.other.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.other.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> DfResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let other = self.other.as_ref().clone().with_beneficial_ordering(beneficial_ordering)?;
        let same = |other| OfArrays { other: Arc::new(other), ty: self.ty.clone() };
        Ok(other.map(|other| Arc::new(same(other)) as Arc<dyn AggregateUDFImpl>))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        reversed(&self.other, |other| array_of_arrays(other, self.ty.clone()))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.other.inner().supports_null_handling_clause()
    }
}

/// Collects what it is given, and looks at it in the end.
#[derive(Debug)]
struct Checked(Box<dyn Accumulator>);

impl Accumulator for Checked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.update_batch(values)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let value = self.0.evaluate()?;
        if let ScalarValue::List(lists) = &value
            && lists.len() == 1
            && lists.is_valid(0)
        {
            check(lists).map_err(to_datafusion)?;
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.0.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }
}

/// What accumArrayResultArr refuses, in the order of the rows.
fn check(lists: &ListArray) -> Result<()> {
    let items = lists.value(0);
    let Some(inner) = items.as_list_opt::<i32>() else { return Ok(()) };
    let mut first: Option<Vec<i32>> = None;
    for row in 0..inner.len() {
        if inner.is_null(row) {
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays"));
        }
        let found = dimensions(inner, row);
        match &first {
            None if found.is_empty() => return Err(wrong("cannot accumulate empty arrays")),
            None => first = Some(found),
            Some(first) if *first != found => {
                return Err(wrong("cannot accumulate arrays of different dimensionality"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
