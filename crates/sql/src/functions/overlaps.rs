//! OVERLAPS: whether two spans of time, each given by two ends or by one and a length, have an instant in common.

use super::series::later;
use super::session::FunctionContext;
use super::{Args, Function};
use crate::calendar::DAY_US;
use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let zone = context.style.input.time_zone;
    vec![Function::new("overlaps", Volatility::Stable, SqlType::Bool, move |args| {
        let starts = [moments(args, 0)?, moments(args, 2)?];
        let ends = [ends(args, 1, &starts[0], zone)?, ends(args, 3, &starts[1], zone)?];
        let answers = (0..args.rows()).map(|row| {
            let span = |at: usize| Span::between(starts[at][row], ends[at][row]);
            span(0)?.overlaps(span(1)?)
        });
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    })]
}

/// Microseconds since 1970 or midnight.
fn moments(args: &Args<'_>, index: usize) -> Result<Vec<Option<i64>>> {
    if *args.ty(index) == SqlType::Time(None) {
        return Ok(args.array(index).as_primitive::<Time64MicrosecondType>().iter().collect());
    }
    let times = args.cast(index, &SqlType::Timestamp(None))?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().iter().collect())
}

fn ends(args: &Args<'_>, index: usize, starts: &[Option<i64>], zone: Tz) -> Result<Vec<Option<i64>>> {
    if *args.ty(index) != SqlType::Interval(None) {
        return moments(args, index);
    }
    let steps = args.array(index).as_primitive::<IntervalMonthDayNanoType>();
    let zone = if *args.ty(index - 1) == SqlType::Timestamptz(None) { zone } else { Tz::UTC };
    let is_time = *args.ty(index - 1) == SqlType::Time(None);
    let end = |(start, step): (&Option<i64>, _)| match (start, step) {
        (Some(start), Some(step)) if is_time => {
            let step: arrow::datatypes::IntervalMonthDayNano = step;
            Ok(Some((start + step.nanoseconds / 1_000 % DAY_US).rem_euclid(DAY_US)))
        }
        (Some(start), Some(step)) => later(*start, step, zone)
            .map(Some)
            .ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")),
        _ => Ok(None),
    };
    starts.iter().zip(steps.iter()).map(end).collect()
}

/// From its lesser end, as far as the other is known.
#[derive(Clone, Copy)]
struct Span {
    start: i64,
    end: Option<i64>,
}

impl Span {
    fn between(one: Option<i64>, other: Option<i64>) -> Option<Span> {
        Some(match (one, other) {
            (Some(one), Some(other)) => Span { start: one.min(other), end: Some(one.max(other)) },
            (known, other) => Span { start: known.or(other)?, end: None },
        })
    }

    /// The end is not of the span, unless it is its start too.
    fn overlaps(self, other: Span) -> Option<bool> {
        let (earlier, later) = if self.start <= other.start { (self, other) } else { (other, self) };
        if earlier.start == later.start {
            return (earlier.end.is_some() && later.end.is_some()).then_some(true);
        }
        if later.start < earlier.end? {
            return Some(true);
        }
        later.end.map(|_| false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_outside() {
        let of = |a: [Option<i64>; 2], b: [Option<i64>; 2]| {
            Span::between(a[0], a[1]).zip(Span::between(b[0], b[1])).and_then(|(a, b)| a.overlaps(b))
        };
        assert_eq!(of([Some(1), Some(3)], [Some(2), Some(4)]), Some(true));
        assert_eq!(of([Some(3), Some(1)], [Some(3), Some(4)]), Some(false));
        assert_eq!(of([Some(1), Some(1)], [Some(1), Some(2)]), Some(true));
        assert_eq!(of([None, Some(1)], [Some(1), Some(2)]), None);
        assert_eq!(of([None, None], [Some(1), Some(2)]), None);
    }
}
