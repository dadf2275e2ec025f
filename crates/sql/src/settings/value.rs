//! Values of settings: checked when set, printed as SHOW prints them.

use super::table::{Definition, Kind, Special, Unit};
use crate::calendar::iana_zone;
use crate::decode::{DateOrder, bool_word};
use chrono_tz::Tz;
use quiver_base::{Error, Result, SqlState};

/// Checks a value and brings it to the form that is kept: numbers in base units, words in their usual case.
pub(super) fn canonical(definition: &Definition, value: &str) -> Result<String> {
    let name = definition.name;
    match definition.kind {
        Kind::Bool => match bool_word(value.trim()) {
            Some(on) => Ok(if on { "on" } else { "off" }.to_owned()),
            None => Err(invalid(format!("parameter \"{name}\" requires a Boolean value"))),
        },
        Kind::Int { min, max, unit } => int(name, value, min, max, unit),
        Kind::Real { min, max } => real(name, value, min, max),
        Kind::Enum(words) => word(name, value, words),
        Kind::Text if name == "application_name" => {
            Ok(value.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(63).collect())
        }
        Kind::Text => Ok(value.to_owned()),
        Kind::Special(special) => match special {
            Special::TimeZone => zone(name, value).map(|zone| zone.name().to_owned()),
            Special::DateStyle => date_style(name, value),
            Special::ClientEncoding => encoding(name, value),
            Special::SearchPath => match split_identifiers(value) {
                Some(_) => Ok(value.to_owned()),
                None => Err(refused(name, value).with_detail("List syntax is invalid.")),
            },
        },
    }
}

/// A kept value as SHOW prints it.
pub(super) fn shown(definition: &Definition, kept: &str) -> String {
    let Kind::Int { unit, .. } = definition.kind else { return kept.to_owned() };
    let Ok(number) = kept.parse::<i64>() else { return kept.to_owned() };
    let mut shown = (number, "");
    if number > 0 {
        for (factor, suffix) in unit.suffixes().iter().filter(|(factor, _)| *factor >= 1.0) {
            let factor = *factor as i64;
            if number % factor == 0 {
                shown = (number / factor, suffix);
            }
        }
    }
    format!("{}{}", shown.0, shown.1)
}

impl Unit {
    /// Factors of the base unit, ascending.
    fn suffixes(self) -> &'static [(f64, &'static str)] {
        match self {
            Unit::None => &[],
            Unit::Milliseconds => &[
                (0.001, "us"),
                (1.0, "ms"),
                (1_000.0, "s"),
                (60_000.0, "min"),
                (3_600_000.0, "h"),
                (86_400_000.0, "d"),
            ],
            Unit::Kilobytes => &[
                (1.0 / 1_024.0, "B"),
                (1.0, "kB"),
                (1_024.0, "MB"),
                (1_048_576.0, "GB"),
                (1_073_741_824.0, "TB"),
            ],
        }
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Unit::None => None,
            Unit::Milliseconds => {
                Some("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            }
            Unit::Kilobytes => {
                Some("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
            }
        }
    }

    /// The base unit as pg_settings shows it.
    pub(crate) fn base(self) -> Option<&'static str> {
        match self {
            Unit::None => None,
            Unit::Milliseconds => Some("ms"),
            Unit::Kilobytes => Some("kB"),
        }
    }
}

fn int(name: &str, value: &str, min: i64, max: i64, unit: Unit) -> Result<String> {
    let trimmed = value.trim();
    let end =
        trimmed.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(trimmed.len());
    let (number, suffix) = (trimmed[..end].parse::<f64>(), trimmed[end..].trim());
    let number = number.map_err(|_| refused(name, value))?;
    let factor = match suffix {
        "" => 1.0,
        _ => match unit.suffixes().iter().find(|(_, known)| *known == suffix) {
            Some((factor, _)) => *factor,
            None => {
                let error = refused(name, value);
                return Err(match unit.hint() {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                });
            }
        },
    };
    let scaled = (number * factor).round();
    if !(min as f64..=max as f64).contains(&scaled) {
        let base = unit.base().map(|base| format!(" {base}")).unwrap_or_default();
        return Err(invalid(format!(
            "{scaled}{base} is outside the valid range for parameter \"{name}\" ({min} .. {max})"
        )));
    }
    Ok((scaled as i64).to_string())
}

fn real(name: &str, value: &str, min: f64, max: f64) -> Result<String> {
    let number: f64 = value.trim().parse().map_err(|_| refused(name, value))?;
    if !(min..=max).contains(&number) {
        return Err(invalid(format!(
            "{number} is outside the valid range for parameter \"{name}\" ({min} .. {max})"
        )));
    }
    Ok(number.to_string())
}

fn word(name: &str, value: &str, words: &[&str]) -> Result<String> {
    let trimmed = value.trim();
    if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(trimmed)) {
        return Ok((*word).to_owned());
    }
    // Words that include on and off take what a boolean takes.
    let flag = bool_word(trimmed).map(|on| if on { "on" } else { "off" });
    match flag.filter(|flag| words.contains(flag)) {
        Some(flag) => Ok(flag.to_owned()),
        None => Err(refused(name, value).with_hint(format!("Available values: {}.", words.join(", ")))),
    }
}

/// A time zone as SET takes it: a name, or whole hours east of Greenwich.
pub(super) fn zone(name: &str, value: &str) -> Result<Tz> {
    let trimmed = value.trim();
    if let Some(zone) = iana_zone(trimmed) {
        return Ok(zone);
    }
    let hours = trimmed.strip_prefix("UTC").unwrap_or(trimmed).parse::<f64>();
    let whole = hours.ok().filter(|hours| hours.fract() == 0.0 && (-12.0..=14.0).contains(hours));
    // The sign of these zones' names is the other way round.
    match whole {
        Some(0.0) => Ok(Tz::UTC),
        Some(hours) => iana_zone(&format!("Etc/GMT{:+}", -hours)).ok_or_else(|| refused(name, value)),
        None => Err(refused(name, value)),
    }
}

fn date_style(name: &str, value: &str) -> Result<String> {
    let mut order = "MDY";
    for part in value.split(',') {
        match part.trim().to_ascii_lowercase().as_str() {
            "iso" | "default" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = "MDY",
            "dmy" | "euro" | "european" => order = "DMY",
            "ymd" => order = "YMD",
            "sql" | "postgres" | "german" => {
                return Err(Error::unsupported(format!("DateStyle \"{}\"", part.trim())));
            }
            _ => {
                return Err(
                    refused(name, value).with_detail(format!("Unrecognized key word: \"{}\".", part.trim()))
                );
            }
        }
    }
    Ok(format!("ISO, {order}"))
}

/// The order of a kept DateStyle.
pub(super) fn date_order(kept: &str) -> DateOrder {
    match kept.rsplit(' ').next() {
        Some("DMY") => DateOrder::Dmy,
        Some("YMD") => DateOrder::Ymd,
        _ => DateOrder::Mdy,
    }
}

fn encoding(name: &str, value: &str) -> Result<String> {
    let bare: String =
        value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match bare.as_str() {
        "utf8" | "unicode" => Ok("UTF8".to_owned()),
        "sqlascii" => Ok("SQL_ASCII".to_owned()),
        _ => Err(refused(name, value)),
    }
}

/// Identifiers between commas: folded to lower case unless quoted. `None`: malformed.
pub(super) fn split_identifiers(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = quoted.char_indices().peekable();
            let end = loop {
                match characters.next()? {
                    (_, '"') if characters.peek().is_some_and(|(_, c)| *c == '"') => {
                        characters.next();
                        text.push('"');
                    }
                    (at, '"') => break at,
                    (_, c) => text.push(c),
                }
            };
            name = text;
            rest = quoted[end + 1..].trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            name = rest[..end].trim_end().to_ascii_lowercase();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return None;
            }
            rest = &rest[end..];
        }
        names.push(name);
        match rest.strip_prefix(',') {
            Some(after) if after.trim().is_empty() => return None,
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(names)
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn refused(name: &str, value: &str) -> Error {
    invalid(format!("invalid value for parameter \"{name}\": \"{value}\""))
}
