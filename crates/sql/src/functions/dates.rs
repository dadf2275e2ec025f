//! Fields and parts of dates, times and intervals: extract, date_part, age, justify_….

use super::session::FunctionContext;
use super::{Args, Function};
use crate::bind::{CastContext, cast_array};
use crate::calendar::{DAY_US, civil_from_days, days_from_civil, days_in_month, offset_at_s};
use arrow::array::*;
use arrow::datatypes::*;
use chrono_tz::Tz;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// Microseconds of an hour.
pub(super) const HOUR_US: i64 = 3_600_000_000;

/// A point in time or a span, as its parts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    /// Of the calendar.
    pub(super) year: i64,
    /// 1 to 12; of a span: what is beyond years.
    pub(super) month: i64,
    day: i64,
    /// Of a point: since its midnight; of a span: all of it.
    time_us: i64,
    /// Of a point: days since 1970.
    pub(super) days: Option<i64>,
    /// Of a point: microseconds since 1970.
    instant_us: i64,
    /// Seconds east of Greenwich, of a timestamptz.
    offset_s: Option<i32>,
    /// A time alone.
    is_time: bool,
}

/// The parts of a time of day and date, as microseconds since 1970 of their own zone.
pub(super) fn of_local(local_us: i64) -> Parts {
    let days = local_us.div_euclid(DAY_US);
    let (year, month, day) = civil_from_days(days);
    Parts {
        year,
        month: month.into(),
        day: day.into(),
        time_us: local_us.rem_euclid(DAY_US),
        days: Some(days),
        instant_us: local_us,
        ..Parts::default()
    }
}

/// The parts of a day since 1970, which may be further away than microseconds count.
fn of_day(days: i64) -> Parts {
    let (year, month, day) = civil_from_days(days);
    Parts { year, month: month.into(), day: day.into(), days: Some(days), ..Parts::default() }
}

/// The parts of every row; `zone` is where a timestamptz is looked at.
fn parts(args: &Args<'_>, index: usize, zone: Tz) -> Result<Vec<Option<Parts>>> {
    let each = |array: &ArrayRef, part: &dyn Fn(usize) -> Parts| {
        (0..array.len()).map(|row| array.is_valid(row).then(|| part(row))).collect()
    };
    Ok(match args.ty(index) {
        SqlType::Interval(_) => {
            let array = args.array(index);
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            each(array, &|row| {
                let value = values.value(row);
                Parts {
                    year: i64::from(value.months / 12),
                    month: i64::from(value.months % 12),
                    day: i64::from(value.days),
                    time_us: value.nanoseconds / 1000,
                    ..Parts::default()
                }
            })
        }
        SqlType::Time(_) => {
            let array = args.array(index);
            let values = array.as_primitive::<Time64MicrosecondType>();
            each(array, &|row| Parts { time_us: values.value(row), is_time: true, ..Parts::default() })
        }
        SqlType::Timestamptz(_) => {
            let array = args.array(index);
            let values = array.as_primitive::<TimestampMicrosecondType>();
            each(array, &|row| {
                let instant = values.value(row);
                let offset = offset_at_s(zone, instant);
                let local = instant + i64::from(offset) * 1_000_000;
                Parts { offset_s: Some(offset), instant_us: instant, ..of_local(local) }
            })
        }
        SqlType::Date => {
            let array = args.array(index);
            let values = array.as_primitive::<Date32Type>();
            each(array, &|row| of_day(values.value(row).into()))
        }
        SqlType::Timestamp(_) | SqlType::Unknown | SqlType::Text => {
            let array = args.cast(index, &SqlType::Timestamp(None))?;
            let values = array.as_primitive::<TimestampMicrosecondType>();
            each(&array, &|row| of_local(values.value(row)))
        }
        other => {
            let message = format!("function pg_catalog.extract(unknown, {other}) does not exist");
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
        }
    })
}

/// A field's value in units of 10^-scale.
fn field(name: &str, parts: &Parts, ty: &SqlType) -> Result<(i128, u8)> {
    let is_span = parts.days.is_none() && !parts.is_time;
    let whole = |value: i64| Ok((i128::from(value), 0));
    let second_us = parts.time_us % 60_000_000;
    let unit = unit(name);
    match unit {
        "microseconds" => whole(second_us),
        "milliseconds" => Ok((i128::from(second_us), 3)),
        "second" => Ok((i128::from(second_us), 6)),
        "minute" => whole(parts.time_us / 60_000_000 % 60),
        "hour" => whole(parts.time_us / HOUR_US),
        "epoch" if is_span => {
            // A year has 365.25 days, a month thirty.
            let days = i128::from(parts.year) * 1461 * i128::from(DAY_US) / 4
                + (i128::from(parts.month) * 30 + i128::from(parts.day)) * i128::from(DAY_US);
            Ok((days + i128::from(parts.time_us), 6))
        }
        "epoch" if parts.is_time => Ok((i128::from(parts.time_us), 6)),
        "epoch" => match ty {
            SqlType::Date => whole(parts.days.unwrap_or(0) * (DAY_US / 1_000_000)),
            _ => Ok((i128::from(parts.instant_us), 6)),
        },
        _ if parts.is_time => Err(unsupported(name, ty)),
        "day" => whole(parts.day),
        "month" => whole(parts.month),
        "quarter" => whole(parts.month.max(1).saturating_sub(1) / 3 + 1),
        // There is no year 0.
        "year" => whole(if is_span { parts.year } else { in_era(parts.year) }),
        "decade" => whole(parts.year.div_euclid(10)),
        "century" if is_span => whole(parts.year / 100),
        "millennium" if is_span => whole(parts.year / 1000),
        "century" => whole(era(parts.year, 100)),
        "millennium" => whole(era(parts.year, 1000)),
        _ => match parts.days {
            None => Err(unsupported(name, ty)),
            Some(days) => match unit {
                "dow" => whole((days + 4).rem_euclid(7)),
                "isodow" => whole((days + 3).rem_euclid(7) + 1),
                "doy" => whole(days - days_from_civil(parts.year, 1, 1) + 1),
                "week" => whole(iso_week(days).1),
                "isoyear" => whole(in_era(iso_week(days).0)),
                "julian" if parts.time_us == 0 => whole(days + 2_440_588),
                "julian" => {
                    let part = i128::from(parts.time_us) * 10_i128.pow(20) / i128::from(DAY_US);
                    Ok((i128::from(days + 2_440_588) * 10_i128.pow(20) + part, 20))
                }
                "timezone" => whole(parts.offset_s.ok_or_else(|| unsupported(name, ty))?.into()),
                "timezone_hour" => {
                    whole((parts.offset_s.ok_or_else(|| unsupported(name, ty))? / 3600).into())
                }
                "timezone_minute" => {
                    whole((parts.offset_s.ok_or_else(|| unsupported(name, ty))? / 60 % 60).into())
                }
                _ => Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("unit \"{name}\" not recognized for type {ty}"),
                )),
            },
        },
    }
}

fn unsupported(name: &str, ty: &SqlType) -> Error {
    match unit(name) {
        "" => {
            let message = format!("unit \"{name}\" not recognized for type {ty}");
            Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
        }
        _ => {
            let message = format!("unit \"{name}\" not supported for type {ty}");
            Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
        }
    }
}

/// Units that a date alone has none of.
fn is_within_day(name: &str) -> bool {
    matches!(unit(name), "microseconds" | "milliseconds" | "second" | "minute" | "hour")
}

/// A year as it is called: before 1 is -1.
fn in_era(year: i64) -> i64 {
    if year <= 0 { year - 1 } else { year }
}

/// The century or millennium of a year: the first begins with year 1.
fn era(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((-(year - 1) + length - 1) / length) }
}

/// A unit's one spelling.
pub(super) fn unit(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    const UNITS: [(&str, &[&str]); 21] = [
        ("microseconds", &["microseconds", "microsecond", "us", "usec", "usecs", "usecond", "useconds"]),
        ("milliseconds", &["milliseconds", "millisecond", "ms", "msec", "msecs", "msecond", "mseconds"]),
        ("second", &["second", "seconds", "s", "sec", "secs"]),
        ("minute", &["minute", "minutes", "m", "min", "mins"]),
        ("hour", &["hour", "hours", "h", "hr", "hrs"]),
        ("day", &["day", "days", "d"]),
        ("week", &["week", "weeks", "w"]),
        ("month", &["month", "months", "mon", "mons"]),
        ("quarter", &["quarter", "qtr"]),
        ("year", &["year", "years", "y", "yr", "yrs"]),
        ("decade", &["decade", "decades", "dec", "decs"]),
        ("century", &["century", "centuries", "c", "cent"]),
        ("millennium", &["millennium", "millennia", "mil", "mils"]),
        ("epoch", &["epoch"]),
        ("dow", &["dow"]),
        ("isodow", &["isodow"]),
        ("doy", &["doy"]),
        ("isoyear", &["isoyear"]),
        ("julian", &["julian", "j", "jd"]),
        ("timezone", &["timezone"]),
        ("timezone_hour", &["timezone_hour"]),
    ];
    if name == "timezone_minute" {
        return "timezone_minute";
    }
    UNITS.iter().find(|(_, names)| names.contains(&name.as_str())).map_or("", |(unit, _)| unit)
}

/// The ISO year and week of a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // Thursday of the same week decides the year.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// `extract(field FROM source)` with a field that is known: its scale is the result's.
pub(crate) fn extract(name: &str, zone: Tz) -> Function {
    let scale: i8 = match unit(name) {
        "second" | "epoch" => 6,
        "milliseconds" => 3,
        "julian" => 20,
        _ => 0,
    };
    let field_name = name.to_owned();
    let returns = move |types: &[SqlType]| {
        let scale = match (types.first(), scale) {
            (Some(SqlType::Date), 6) => 0,
            (_, scale) => scale,
        };
        Ok(if scale == 20 { SqlType::Numeric(None) } else { SqlType::Numeric(Some((38, scale))) })
    };
    Function::typed(
        &format!("extract_{}", name.to_ascii_lowercase()),
        Volatility::Stable,
        returns,
        move |args| {
            let result = returns(args.types)?;
            let scale = match &result {
                SqlType::Numeric(Some((_, scale))) => u32::from(scale.unsigned_abs()),
                _ => 20,
            };
            let values = parts(args, 0, zone)?
                .iter()
                .map(|row| match row {
                    None => Ok(None),
                    Some(_) if args.ty(0) == &SqlType::Date && is_within_day(&field_name) => {
                        Err(unsupported(&field_name, args.ty(0)))
                    }
                    Some(row) => {
                        let (value, own) = field(&field_name, row, args.ty(0))?;
                        Ok(Some(value * 10_i128.pow(scale - u32::from(own).min(scale))))
                    }
                })
                .collect::<Result<Vec<Option<i128>>>>()?;
            Ok(match result {
                SqlType::Numeric(Some((p, s))) => {
                    Arc::new(Decimal128Array::from(values).with_precision_and_scale(p, s)?)
                }
                _ => {
                    let wide = values.into_iter().map(|value| value.map(i256::from_i128)).collect::<Vec<_>>();
                    Arc::new(Decimal256Array::from(wide).with_precision_and_scale(
                        SqlType::NUMERIC_PRECISION_MAX,
                        SqlType::NUMERIC_SCALE_DEFAULT,
                    )?)
                }
            })
        },
    )
}

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let zone = context.style.input.time_zone;
    let style = context.style.clone();
    let session = context.session.clone();
    let midnight = move || {
        let now = session.transaction_start_us();
        let local = now + i64::from(offset_at_s(zone, now)) * 1_000_000;
        local.div_euclid(DAY_US) * DAY_US
    };
    let local_style = style.clone();
    let local_session = context.session.clone();
    vec![
        Function::new("date_part", Volatility::Stable, SqlType::Float8, move |args| {
            let names = args.text(0)?;
            let mut out = Float64Builder::with_capacity(args.rows());
            for (row, parts) in parts(args, 1, zone)?.iter().enumerate() {
                match parts {
                    Some(parts) if names.is_valid(row) => {
                        let (value, scale) = field(names.value(row), parts, args.ty(1))?;
                        #[allow(clippy::cast_precision_loss)] // a double is what is asked for
                        out.append_value(value as f64 / 10_f64.powi(scale.into()));
                    }
                    _ => out.append_null(),
                }
            }
            Ok(Arc::new(out.finish()))
        }),
        Function::typed(
            "date_trunc",
            Volatility::Stable,
            |types| {
                Ok(match types.get(1) {
                    Some(SqlType::Interval(_)) => SqlType::Interval(None),
                    Some(SqlType::Timestamp(_)) => SqlType::Timestamp(None),
                    _ => SqlType::Timestamptz(None),
                })
            },
            move |args| super::date_trunc::truncated(args, &style),
        ),
        Function::typed(
            "date_bin",
            Volatility::Immutable,
            |types| {
                let is_local = types.iter().skip(1).all(|ty| *ty == SqlType::Timestamp(None));
                Ok(if is_local { SqlType::Timestamp(None) } else { SqlType::Timestamptz(None) })
            },
            super::date_trunc::binned,
        ),
        Function::new("age", Volatility::Stable, SqlType::Interval(None), move |args| {
            let now = TimestampMicrosecondArray::from(vec![midnight(); args.rows()]);
            let at = |index: usize| -> Result<TimestampMicrosecondArray> {
                let ty = match args.ty(index) {
                    SqlType::Unknown | SqlType::Text => &SqlType::Text,
                    ty => ty,
                };
                let local = cast_array(
                    args.array(index),
                    ty,
                    &SqlType::Timestamp(None),
                    CastContext::Explicit,
                    &local_style,
                )?;
                Ok(local.as_primitive::<TimestampMicrosecondType>().clone())
            };
            let (later, earlier) = if args.count() == 1 { (now, at(0)?) } else { (at(0)?, at(1)?) };
            let ages = (0..args.rows()).map(|row| {
                (later.is_valid(row) && earlier.is_valid(row))
                    .then(|| age(later.value(row), earlier.value(row)))
            });
            Ok(Arc::new(ages.collect::<IntervalMonthDayNanoArray>()))
        }),
        intervals("justify_days", |it| {
            let months = it.months + it.days / 30;
            same_sign_days(IntervalMonthDayNano::new(months, it.days % 30, it.nanoseconds))
        }),
        intervals("justify_hours", justify_hours),
        intervals("justify_interval", |it| {
            let it = justify_hours(it);
            let it = IntervalMonthDayNano::new(it.months + it.days / 30, it.days % 30, it.nanoseconds);
            same_sign_time(same_sign_days(same_sign_time(it)))
        }),
        Function::new("isfinite", Volatility::Immutable, SqlType::Bool, |args| {
            let array = args.array(0);
            let finite = (0..args.rows()).map(|row| array.is_valid(row).then_some(true));
            Ok(Arc::new(finite.collect::<BooleanArray>()))
        }),
        Function::new("localtime", Volatility::Stable, SqlType::Time(None), move |args| {
            let now = local_session.transaction_start_us();
            let local = now + i64::from(offset_at_s(zone, now)) * 1_000_000;
            Ok(Arc::new(Time64MicrosecondArray::from(vec![local.rem_euclid(DAY_US); args.rows()])))
        }),
        Function::new("time_shift", Volatility::Immutable, SqlType::Time(None), time_shift),
        Function::new("date_add_time", Volatility::Immutable, SqlType::Timestamp(None), |args| {
            let days = args.cast(0, &SqlType::Timestamp(None))?;
            let times = args.array(1).as_primitive::<Time64MicrosecondType>();
            let days = days.as_primitive::<TimestampMicrosecondType>();
            let sums = days.iter().zip(times.iter()).map(|(day, time)| Some(day? + time?));
            Ok(Arc::new(sums.collect::<TimestampMicrosecondArray>()))
        }),
        Function::new("time_mi", Volatility::Immutable, SqlType::Interval(None), |args| {
            let (left, right) = (args.cast(0, &SqlType::Time(None))?, args.cast(1, &SqlType::Time(None))?);
            let left = left.as_primitive::<Time64MicrosecondType>().iter();
            let between = left
                .zip(right.as_primitive::<Time64MicrosecondType>())
                .map(|(left, right)| Some(IntervalMonthDayNano::new(0, 0, (left? - right?) * 1_000)));
            Ok(Arc::new(between.collect::<IntervalMonthDayNanoArray>()))
        }),
    ]
}

pub(super) fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} out of range"))
}

fn intervals(name: &str, change: fn(IntervalMonthDayNano) -> IntervalMonthDayNano) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Interval(None), move |args| {
        let values = args.cast(0, &SqlType::Interval(None))?;
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        Ok(Arc::new(values.unary::<_, IntervalMonthDayNanoType>(change)))
    })
}

const DAY_NS: i64 = DAY_US * 1000;

fn justify_hours(it: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let days = i32::try_from(it.nanoseconds / DAY_NS).unwrap_or(0);
    same_sign_time(IntervalMonthDayNano::new(
        it.months,
        it.days.saturating_add(days),
        it.nanoseconds % DAY_NS,
    ))
}

/// Days and time with one sign.
fn same_sign_time(it: IntervalMonthDayNano) -> IntervalMonthDayNano {
    match (it.days.signum(), it.nanoseconds.signum()) {
        (1, -1) => IntervalMonthDayNano::new(it.months, it.days - 1, it.nanoseconds + DAY_NS),
        (-1, 1) => IntervalMonthDayNano::new(it.months, it.days + 1, it.nanoseconds - DAY_NS),
        _ => it,
    }
}

/// Months and days with one sign.
fn same_sign_days(it: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let rest =
        if it.days == 0 { i32::try_from(it.nanoseconds.signum()).unwrap_or(0) } else { it.days.signum() };
    match (it.months.signum(), rest) {
        (1, -1) => IntervalMonthDayNano::new(it.months - 1, it.days + 30, it.nanoseconds),
        (-1, 1) => IntervalMonthDayNano::new(it.months + 1, it.days - 30, it.nanoseconds),
        _ => it,
    }
}

/// Years, months and days between two times, as a calendar counts.
fn age(later_us: i64, earlier_us: i64) -> IntervalMonthDayNano {
    if later_us < earlier_us {
        let it = age(earlier_us, later_us);
        return IntervalMonthDayNano::new(-it.months, -it.days, -it.nanoseconds);
    }
    let (a, b) = (of_local(later_us), of_local(earlier_us));
    let mut months = (a.year - b.year) * 12 + a.month - b.month;
    let mut days = a.day - b.day;
    let mut time = a.time_us - b.time_us;
    if time < 0 {
        time += DAY_US;
        days -= 1;
    }
    if days < 0 {
        months -= 1;
        days += i64::from(days_in_month(b.year, u32::try_from(b.month).unwrap_or(1)));
    }
    IntervalMonthDayNano::new(
        i32::try_from(months).unwrap_or(i32::MAX),
        i32::try_from(days).unwrap_or(i32::MAX),
        time * 1000,
    )
}

/// `time + interval * sign`, around the clock; months and days of the interval do not count.
fn time_shift(args: &Args<'_>) -> Result<ArrayRef> {
    let (times, intervals) = (args.cast(0, &SqlType::Time(None))?, args.cast(1, &SqlType::Interval(None))?);
    let times = times.as_primitive::<Time64MicrosecondType>();
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let signs = args.int8(2)?;
    let shifted = times.iter().zip(intervals).zip(&signs).map(|((time, interval), sign)| {
        let us = interval?.nanoseconds / 1_000 % DAY_US * sign?;
        Some((time? + us).rem_euclid(DAY_US))
    });
    Ok(Arc::new(shifted.collect::<Time64MicrosecondArray>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: u32, day: u32, hour: i64) -> i64 {
        days_from_civil(year, month, day) * DAY_US + hour * HOUR_US
    }

    #[test]
    fn ages_count_as_a_calendar() {
        let it = age(at(2024, 2, 29, 0), at(2020, 1, 1, 0));
        assert_eq!((it.months, it.days, it.nanoseconds), (49, 28, 0));
        let it = age(at(2024, 3, 1, 0), at(2024, 2, 28, 12));
        assert_eq!((it.months, it.days, it.nanoseconds / 1000), (0, 1, 12 * HOUR_US));
    }

    #[test]
    fn weeks_are_iso_weeks() {
        assert_eq!(iso_week(days_from_civil(2024, 12, 31)), (2025, 1));
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!((era(2000, 100), era(2001, 100), era(0, 100), era(-99, 100)), (20, 21, -1, -1));
    }
}
