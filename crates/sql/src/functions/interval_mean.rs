//! avg of intervals: months, days and time are added up apart and divided by the count as PostgreSQL divides an interval.

use super::time::{divided, out_of_range};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Accumulator;
use quiver_base::Result;
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// Sums so far: months, days, nanoseconds, and how many intervals they are of.
#[derive(Debug, Default)]
pub(super) struct IntervalMean([i64; 4]);

/// What is handed from one part of an aggregation to the next: four bigints.
pub(super) fn state_fields() -> Vec<FieldRef> {
    let names = ["months", "days", "nanoseconds", "count"];
    names.into_iter().map(|name| Arc::new(Field::new(name, DataType::Int64, false))).collect()
}

impl IntervalMean {
    fn add(&mut self, parts: [i64; 4]) -> Result<()> {
        for (sum, part) in self.0.iter_mut().zip(parts) {
            *sum = sum.checked_add(part).ok_or_else(out_of_range)?;
        }
        Ok(())
    }

    fn add_all(&mut self, values: &[ArrayRef], sign: i64) -> DfResult<()> {
        for value in values[0].as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let nanoseconds = value.nanoseconds.saturating_mul(sign);
            let parts = [i64::from(value.months) * sign, i64::from(value.days) * sign, nanoseconds, sign];
            self.add(parts).map_err(to_datafusion)?;
        }
        Ok(())
    }

    fn mean(&self) -> Result<Option<IntervalMonthDayNano>> {
        let [months, days, nanoseconds, count] = self.0;
        if count == 0 {
            return Ok(None);
        }
        let months = i32::try_from(months).map_err(|_| out_of_range())?;
        let days = i32::try_from(days).map_err(|_| out_of_range())?;
        #[allow(clippy::cast_precision_loss)] // as PostgreSQL computes it
        let count = count as f64;
        divided(IntervalMonthDayNano::new(months, days, nanoseconds), count).map(Some)
    }
}

impl Accumulator for IntervalMean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.add_all(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.add_all(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for row in 0..states[0].len() {
            let part = |at: usize| states[at].as_primitive::<Int64Type>().value(row);
            self.add([part(0), part(1), part(2), part(3)]).map_err(to_datafusion)?;
        }
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(self.0.iter().map(|sum| ScalarValue::Int64(Some(*sum))).collect())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::IntervalMonthDayNano(self.mean().map_err(to_datafusion)?))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
