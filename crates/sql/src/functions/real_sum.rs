//! sum of reals, which is a real: added up as reals are.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use std::collections::HashSet;
use std::sync::Arc;

/// The aggregate.
pub(crate) fn real_sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(RealSum { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RealSum {
    signature: Signature,
}

impl AggregateUDFImpl for RealSum {
    fn name(&self) -> &str {
        "real_total"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float32)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Total { sum: None, seen: args.is_distinct.then(HashSet::new) }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let ty = match args.is_distinct {
            true => DataType::new_list(DataType::Float32, true),
            false => DataType::Float32,
        };
        Ok(vec![Arc::new(Field::new("sum", ty, true))])
    }
}

#[derive(Debug)]
struct Total {
    sum: Option<f32>,
    /// Of a DISTINCT sum: the bits of what is in it.
    seen: Option<HashSet<u32>>,
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        for value in values[0].as_primitive::<Float32Type>().iter().flatten() {
            let is_new = self.seen.as_mut().is_none_or(|seen| seen.insert(value.to_bits()));
            if is_new {
                self.sum = Some(self.sum.map_or(value, |sum| sum + value));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        if self.seen.is_none() {
            return self.update_batch(states);
        }
        states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let Some(seen) = &self.seen else { return Ok(vec![self.evaluate()?]) };
        let values = seen.iter().map(|bits| ScalarValue::Float32(Some(f32::from_bits(*bits))));
        let values: Vec<ScalarValue> = values.collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list(&values, &DataType::Float32, true))])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Float32(self.sum))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.as_ref().map_or(0, |seen| seen.capacity() * size_of::<u32>())
    }
}
