//! Numbers, booleans, uuids and bytes from text, with PostgreSQL's rules and words.

use quiver_base::{Error, Result, SqlState};

/// `invalid input syntax for type …`.
pub(crate) fn syntax_error(type_name: &str, text: &str) -> Error {
    Error::new(
        SqlState::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// An integer between two limits. Decimal, 0x, 0o and 0b, with underscores between digits.
pub(crate) fn parse_int(text: &str, type_name: &str, min: i64, max: i64) -> Result<i64> {
    let trimmed = trim(text);
    if let Ok(value) = trimmed.parse::<i64>()
        && (min..=max).contains(&value)
    {
        return Ok(value);
    }
    let (negative, digits) = match trimmed.as_bytes() {
        [b'-', ..] => (true, &trimmed[1..]),
        [b'+', ..] => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        _ => (10, digits),
    };
    let digits = without_underscores(digits, radix != 10).ok_or_else(|| syntax_error(type_name, text))?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(syntax_error(type_name, text));
    }
    let value = i128::from_str_radix(&digits, radix).ok().map(|value| if negative { -value } else { value });
    match value.and_then(|value| i64::try_from(value).ok()) {
        Some(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type {type_name}"),
        )),
    }
}

/// An underscore stands between two digits (or after a radix prefix).
fn without_underscores(digits: &str, after_prefix: bool) -> Option<String> {
    let starts_badly = digits.starts_with('_') && !after_prefix;
    if starts_badly || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    Some(digits.replace('_', ""))
}

/// float8.
pub(crate) fn parse_float8(text: &str) -> Result<f64> {
    parse_float(text, "double precision", |trimmed| trimmed.parse::<f64>().ok(), |value| value)
}

/// float4.
pub(crate) fn parse_float4(text: &str) -> Result<f32> {
    parse_float(text, "real", |trimmed| trimmed.parse::<f32>().ok(), f64::from)
}

fn parse_float<F: Copy>(
    text: &str,
    type_name: &str,
    parse: impl Fn(&str) -> Option<F>,
    widen: impl Fn(F) -> f64,
) -> Result<F> {
    let trimmed = trim(text);
    // As the C library reads them: whole numbers in hexadecimal too.
    let whole = in_hexadecimal(trimmed).map(|value| value.to_string());
    let trimmed = whole.as_deref().unwrap_or(trimmed);
    let value = parse(trimmed).ok_or_else(|| syntax_error(type_name, text))?;
    let wide = widen(value);
    let named = trimmed.bytes().any(|byte| matches!(byte, b'n' | b'N'));
    let digits = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let underflown = wide == 0.0 && digits.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if (wide.is_infinite() && !named) || underflown {
        return Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{trimmed}\" is out of range for type {type_name}"),
        ));
    }
    Ok(value)
}

/// `-0x1F`.
fn in_hexadecimal(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| i128::from_str_radix(digits, 16).ok())?.map(|value| sign * value)
}

/// bool: any beginning of true, false, yes, no; on, off; 1, 0.
pub(crate) fn parse_bool(text: &str) -> Result<bool> {
    bool_word(trim(text)).ok_or_else(|| syntax_error("boolean", text))
}

/// What settings and options take as a boolean too.
pub(crate) fn bool_word(word: &str) -> Option<bool> {
    let word = word.to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(word.as_str());
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Some(false)
    } else {
        None
    }
}

/// A decimal number as it is written: digits without point, and where the point is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// Below zero.
    pub negative: bool,
    /// Digits, none in front that is zero.
    pub digits: String,
    /// Digits after the point.
    pub scale: i64,
}

/// Reads `[+-]digits[.digits][e[+-]digits]`; underscores may stand between digits.
pub(crate) fn parse_decimal(text: &str) -> Result<Decimal> {
    if let Some(whole) = in_hexadecimal(trim(text)) {
        return parse_decimal(&whole.to_string());
    }
    let error = || syntax_error("numeric", text);
    let trimmed = trim(text);
    let (negative, rest) = match trimmed.as_bytes() {
        [b'-', ..] => (true, &trimmed[1..]),
        [b'+', ..] => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let lower = rest.to_ascii_lowercase();
    if matches!(lower.as_str(), "nan" | "inf" | "infinity") {
        return Err(Error::unsupported(format!("the numeric value {trimmed}")));
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent).ok_or_else(error)?),
        None => (lower.as_str(), 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = without_underscores(whole, false).ok_or_else(error)?;
    let fraction = without_underscores(fraction, false).ok_or_else(error)?;
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(&whole) || !all_digits(&fraction) {
        return Err(error());
    }
    let digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    Ok(Decimal { negative, digits, scale: fraction.len() as i64 - exponent })
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More would overflow every numeric anyway.
    Some(text.parse::<i64>().unwrap_or(i64::from(i32::MAX)).clamp(-100_000, 100_000))
}

impl Decimal {
    /// The unscaled digits at a scale, rounded half away from zero. Fails past `precision` digits as PostgreSQL does.
    pub(crate) fn unscaled(&self, precision: u8, scale: i8) -> Result<String> {
        let mut digits = self.digits.clone();
        let shift = i64::from(scale) - self.scale;
        if digits.is_empty() {
            return Ok("0".to_owned());
        }
        if shift >= 0 {
            if digits.len() as i64 + shift > i64::from(precision) {
                return Err(overflow(precision, scale));
            }
            digits.push_str(&"0".repeat(shift as usize));
        } else {
            digits = rounded(&digits, shift.unsigned_abs() as usize);
        }
        if digits.len() > usize::from(precision) {
            return Err(overflow(precision, scale));
        }
        if self.negative && digits != "0" {
            digits.insert(0, '-');
        }
        Ok(digits)
    }
}

/// The unscaled digits of a numeric of some precision and scale.
pub(crate) fn parse_numeric(text: &str, precision: u8, scale: i8) -> Result<String> {
    parse_decimal(text)?.unscaled(precision, scale)
}

/// Drops the last `count` digits, rounding half up.
fn rounded(digits: &str, count: usize) -> String {
    if count > digits.len() {
        return "0".to_owned();
    }
    let (kept, dropped) = digits.split_at(digits.len() - count);
    let mut kept = kept.as_bytes().to_vec();
    if dropped.as_bytes().first().is_some_and(|digit| *digit >= b'5') {
        let mut carry = true;
        for digit in kept.iter_mut().rev() {
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
            if !carry {
                break;
            }
        }
        if carry {
            kept.insert(0, b'1');
        }
    }
    if kept.is_empty() { "0".to_owned() } else { String::from_utf8_lossy(&kept).into_owned() }
}

/// 22003 with the limit in the DETAIL line.
pub(crate) fn overflow(precision: u8, scale: i8) -> Error {
    let error = Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow");
    let whole = i32::from(precision) - i32::from(scale);
    let limit = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
    error.with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    ))
}

/// uuid: 32 hex digits, hyphens after any group of four, braces around.
pub(crate) fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let error = || syntax_error("uuid", text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(error)?,
        None => text,
    };
    let mut bytes = [0; 16];
    let mut rest = inner.as_bytes();
    for (position, byte) in bytes.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return Err(error()) };
        *byte = hex_digit(*high).ok_or_else(error)? << 4 | hex_digit(*low).ok_or_else(error)?;
        rest = match after {
            [b'-', after @ ..] if position % 2 == 1 && position < 15 => after,
            _ => after,
        };
    }
    if rest.is_empty() { Ok(bytes) } else { Err(error()) }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// bytea: `\x` and hex digits, or the escape form.
pub(crate) fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text),
    }
}

fn parse_hex(hex: &str) -> Result<Vec<u8>> {
    let invalid = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut characters = hex.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r'));
    let digit = |c: char| {
        c.to_digit(16)
            .map(|digit| digit as u8)
            .ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))
    };
    while let Some(high) = characters.next() {
        let high = digit(high)?;
        let low = characters
            .next()
            .ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits".to_owned()))?;
        bytes.push(high << 4 | digit(low)?);
    }
    Ok(bytes)
}

fn parse_escaped(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => {
                return Err(Error::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea",
                ));
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}
