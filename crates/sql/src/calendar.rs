//! Days, years and zones: what dates mean, not how they are written.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01, which PostgreSQL's binary forms count from.
pub(crate) const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub(crate) const POSTGRES_EPOCH_US: i64 = POSTGRES_EPOCH_DAYS as i64 * DAY_US;
/// 4714-11-24 BC, the first date of PostgreSQL, in days since 1970.
pub(crate) const FIRST_DAY: i64 = -2_440_588;
/// 5874897-12-31, the last date of PostgreSQL, in days since 1970.
pub(crate) const LAST_DAY: i64 = 2_145_042_905;
/// (year, month, day) of a day since 1970 in the proleptic Gregorian calendar; year 0 is 1 BC.
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    // Counted from 0000-03-01, so that the leap day ends a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// The day since 1970 of a date that exists.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// How many days a month has.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A zone by its IANA name, in any case.
pub(crate) fn iana_zone(name: &str) -> Option<Tz> {
    name.parse().ok().or_else(|| {
        chrono_tz::TZ_VARIANTS.iter().copied().find(|zone| zone.name().eq_ignore_ascii_case(name))
    })
}

/// The zone's offset east of Greenwich, in seconds, at an instant. Instants that chrono cannot hold count as UTC.
pub(crate) fn offset_at_s(zone: Tz, instant_us: i64) -> i32 {
    match DateTime::from_timestamp_micros(instant_us) {
        Some(instant) => zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc(),
        None => 0,
    }
}

/// The instant of a wall-clock time in a zone. A time that a clock change skips is read with the offset before it, one that
/// comes twice with standard time, as in PostgreSQL.
pub(crate) fn instant_of_local_us(zone: Tz, local_us: i64) -> i64 {
    let Some(local) = DateTime::from_timestamp_micros(local_us).map(|local| local.naive_utc()) else {
        return local_us;
    };
    let offset_s = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => offset.fix().local_minus_utc(),
        MappedLocalTime::Ambiguous(one, other) => {
            one.fix().local_minus_utc().min(other.fix().local_minus_utc())
        }
        MappedLocalTime::None => offset_before(zone, local),
    };
    local_us - i64::from(offset_s) * 1_000_000
}

fn offset_before(zone: Tz, local: NaiveDateTime) -> i32 {
    let day_earlier = local - chrono::TimeDelta::days(1);
    zone.offset_from_utc_datetime(&day_earlier).fix().local_minus_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(i64::from(POSTGRES_EPOCH_DAYS)), (2000, 1, 1));
        assert_eq!(civil_from_days(FIRST_DAY), (-4713, 11, 24));
        assert_eq!(civil_from_days(LAST_DAY), (5_874_897, 12, 31));
        for days in (FIRST_DAY..3_000_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!(day <= days_in_month(year, month));
        }
    }

    #[test]
    fn skipped_and_doubled_times_are_read_as_postgresql_reads_them() {
        let berlin: Tz = "Europe/Berlin".parse().expect("a zone");
        let at = |text: &str| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M")
                .expect("a time")
                .and_utc()
                .timestamp_micros()
        };
        assert_eq!(instant_of_local_us(berlin, at("2024-03-31 02:30")), at("2024-03-31 01:30"));
        assert_eq!(instant_of_local_us(berlin, at("2024-10-27 02:30")), at("2024-10-27 01:30"));
        assert_eq!(instant_of_local_us(berlin, at("2024-07-01 12:00")), at("2024-07-01 10:00"));
    }
}
