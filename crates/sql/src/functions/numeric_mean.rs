//! avg of integers and numerics: the sum divided by the count as numerics are divided.

use super::decimals::{Decimals, of_stored};
use super::numeric_math::{builder, quotient};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Decimal256Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use quiver_base::{Result, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// The mean of the values of a state: a count and a sum, or a list of different values.
fn means(states: &[ArrayRef]) -> Result<ArrayRef> {
    let mut out = builder(states.first().map_or(0, Array::len))?;
    match states {
        [counts, sums] => {
            let counts = counts.as_primitive::<UInt64Type>();
            for (count, sum) in counts.iter().zip(wide(sums)?) {
                match sum.zip(count.filter(|count| *count > 0)) {
                    Some((sum, count)) => out.append_value(quotient(&sum, &whole(count))?.stored()?),
                    None => out.append_null(),
                }
            }
        }
        [lists] => {
            for list in lists.as_list::<i32>().iter() {
                let values: Vec<Decimals> = match list {
                    Some(list) => wide(&list)?.into_iter().flatten().collect(),
                    None => Vec::new(),
                };
                let count = whole(u64::try_from(values.len()).unwrap_or(u64::MAX));
                let sum = values.iter().fold(Decimals::from(0), |sum, value| sum.minus(&value.negated()));
                match count.is_zero() {
                    true => out.append_null(),
                    false => out.append_value(quotient(&sum, &count)?.stored()?),
                }
            }
        }
        _ => {}
    }
    Ok(Arc::new(out.finish()))
}

fn whole(count: u64) -> Decimals {
    Decimals::from(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Decimals of any width.
fn wide(values: &ArrayRef) -> Result<Vec<Option<Decimals>>> {
    let scale = match values.data_type() {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    let wide = arrow::compute::cast(values, &DataType::Decimal256(SqlType::NUMERIC_PRECISION_MAX, scale))?;
    let values = wide.as_primitive::<Decimal256Type>();
    Ok(values.iter().map(|value| value.map(|value| of_stored(value, scale))).collect())
}

/// The mean of one group.
#[derive(Debug)]
pub(super) struct NumericMean(pub(super) Box<dyn Accumulator>);

impl Accumulator for NumericMean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.update_batch(values)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let state = self.0.state()?;
        let arrays = state.iter().map(ScalarValue::to_array).collect::<DfResult<Vec<_>>>()?;
        ScalarValue::try_from_array(&means(&arrays).map_err(to_datafusion)?, 0)
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

/// The means of many groups.
pub(super) struct NumericMeans(pub(super) Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for NumericMeans {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> DfResult<()> {
        self.0.update_batch(values, groups, filter, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DfResult<ArrayRef> {
        means(&self.0.state(emit_to)?).map_err(to_datafusion)
    }

    fn state(&mut self, emit_to: EmitTo) -> DfResult<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> DfResult<()> {
        self.0.merge_batch(values, groups, count)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> DfResult<Vec<ArrayRef>> {
        self.0.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
