//! Times rounded to the digits of their seconds that a type keeps: half away from zero, as PostgreSQL does.

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::kernels::arity::unary;
use arrow::datatypes::{
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use quiver_base::SqlType;
use std::sync::Arc;

/// PostgreSQL counts from the year 2000, which tells which way a half goes.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// The values of a type of times as the type keeps them; those of a type that keeps all as they are.
pub(crate) fn rounded(array: ArrayRef, ty: &SqlType) -> ArrayRef {
    let Some(step) = ty.precision().and_then(step) else { return array };
    if let Some(times) = array.as_primitive_opt::<Time64MicrosecondType>() {
        return Arc::new(unary::<_, _, Time64MicrosecondType>(times, |us| round(us, step)));
    }
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        let since_epoch = |us: i64| match us.checked_sub(POSTGRES_EPOCH_US) {
            Some(since) => round(since, step).saturating_add(POSTGRES_EPOCH_US),
            None => us,
        };
        let times = unary::<_, _, TimestampMicrosecondType>(times, since_epoch);
        return Arc::new(times.with_data_type(array.data_type().clone()));
    }
    if let Some(lengths) = array.as_primitive_opt::<IntervalMonthDayNanoType>() {
        let shorter = |length: IntervalMonthDayNano| {
            let nanoseconds = round(length.nanoseconds, step * 1_000);
            IntervalMonthDayNano { nanoseconds, ..length }
        };
        return Arc::new(unary::<_, _, IntervalMonthDayNanoType>(lengths, shorter));
    }
    array
}

/// The least difference of two values, in microseconds; `None` if it is one.
fn step(precision: u8) -> Option<i64> {
    6_u32.checked_sub(precision.into()).filter(|digits| *digits > 0).map(|digits| 10_i64.pow(digits))
}

fn round(value: i64, step: i64) -> i64 {
    let half = step / 2;
    let up = if value < 0 { value.saturating_sub(half) } else { value.saturating_add(half) };
    up / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!((step(0), step(6)), (Some(1_000_000), None));
        assert_eq!(round(500_000, 1_000_000), 1_000_000);
        assert_eq!(round(-500_000, 1_000_000), -1_000_000);
        assert_eq!(round(499_999, 1_000_000), 0);
    }
}
