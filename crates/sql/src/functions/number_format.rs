//! to_char of numbers, and the template patterns that to_number shares with it.

use super::Args;
use crate::bind::to_text_array;
use arrow::array::{Array, ArrayRef, StringBuilder};
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `9` or `0`.
    Digit {
        zero: bool,
    },
    Point,
    Group,
    /// S: the sign beside the digits, or after them.
    Sign,
    /// MI: a minus or a blank.
    Minus,
    /// PL: a plus or a blank.
    Plus,
    /// SG: a sign where it stands.
    PlusMinus,
    /// TH, th.
    Ordinal {
        upper: bool,
    },
    Text(String),
}

/// A template taken apart.
#[derive(Debug, Default)]
pub(super) struct Template {
    pub(super) parts: Vec<Part>,
    /// FM.
    pub(super) unpadded: bool,
    /// PR.
    pub(super) angled: bool,
    /// RN, rn.
    pub(super) roman: Option<bool>,
    /// EEEE.
    pub(super) exponent: bool,
    /// Digits after V.
    pub(super) shift: usize,
}

impl Template {
    fn point(&self) -> usize {
        self.parts.iter().position(|part| *part == Part::Point).unwrap_or(self.parts.len())
    }

    /// Digits before the point.
    pub(super) fn whole_places(&self) -> usize {
        digits(&self.parts[..self.point()])
    }

    /// Digits after the point.
    pub(super) fn fraction_places(&self) -> usize {
        digits(&self.parts[self.point()..])
    }
}

fn digits(parts: &[Part]) -> usize {
    parts.iter().filter(|part| matches!(part, Part::Digit { .. })).count()
}

pub(super) fn template(text: &str) -> Result<Template> {
    let mut found = Template::default();
    let mut rest = text;
    let mut shifting = false;
    while let Some(first) = rest.chars().next() {
        let upper = rest.get(..2).map(str::to_ascii_uppercase).unwrap_or_default();
        let (length, part) = match (first, upper.as_str()) {
            _ if rest.get(..4).is_some_and(|it| it.eq_ignore_ascii_case("EEEE")) => {
                found.exponent = true;
                (4, None)
            }
            (_, "FM") => {
                found.unpadded = true;
                (2, None)
            }
            (_, "PR") => {
                found.angled = true;
                (2, None)
            }
            (_, "RN") => {
                found.roman = Some(first == 'R');
                (2, None)
            }
            (_, "MI") => (2, Some(Part::Minus)),
            (_, "PL") => (2, Some(Part::Plus)),
            (_, "SG") => (2, Some(Part::PlusMinus)),
            (_, "TH") => (2, Some(Part::Ordinal { upper: first == 'T' })),
            ('9' | '0', _) => {
                found.shift += usize::from(shifting);
                (1, Some(Part::Digit { zero: first == '0' }))
            }
            ('.' | 'D' | 'd', _) => {
                if found.parts.contains(&Part::Point) {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "multiple decimal points"));
                }
                (1, Some(Part::Point))
            }
            (',' | 'G' | 'g', _) => (1, Some(Part::Group)),
            ('S' | 's', _) => (1, Some(Part::Sign)),
            ('V' | 'v', _) => {
                shifting = true;
                (1, None)
            }
            ('L' | 'l' | 'B' | 'b', _) => {
                return Err(Error::unsupported(format!("\"{first}\" in a template of to_char for numbers")));
            }
            ('"', _) => {
                let quoted = &rest[1..];
                let end = quoted.find('"').unwrap_or(quoted.len());
                ((end + 2).min(rest.len()), Some(Part::Text(quoted[..end].to_owned())))
            }
            _ => (first.len_utf8(), Some(Part::Text(first.to_string()))),
        };
        found.parts.extend(part);
        rest = &rest[length..];
    }
    Ok(found)
}

/// to_char of a number in its decimal form; of a double, which has so many digits.
fn number_to_char(number: &str, format: &str, digits: Option<usize>) -> Result<String> {
    let template = template(format)?;
    if let Some(upper) = template.roman {
        return Ok(roman(number, upper, template.unpadded));
    }
    if matches!(number, "NaN" | "Infinity" | "-Infinity") {
        return Err(Error::unsupported(format!("to_char of {number}")));
    }
    if template.exponent {
        return Ok(scientific(number, &template));
    }
    let (before, after) = (template.whole_places(), template.fraction_places());
    let Some(digits) = digits else {
        let (negative, whole, fraction) = rounded(number, after, template.shift);
        let negative = negative && (whole != "0" || fraction.bytes().any(|digit| digit != b'0'));
        return Ok(Writer::new(&template, negative, before, after, whole, fraction).write());
    };
    // Digits past those that a double is sure of are left out, and a zero may be below zero.
    let value: f64 = number.parse().unwrap_or(0.0);
    let known = digits.saturating_sub(format!("{:.0}", value.abs()).len());
    let shown = format!("{value:.places$}", places = after.min(known) + template.shift);
    let (negative, whole, fraction) = rounded(&shown, after.min(known), template.shift);
    Ok(Writer::new(&template, negative, before, after.min(known), whole, fraction).write())
}

/// The sign, the digits before the point, and `places` digits after it, rounded half away from zero.
fn rounded(number: &str, places: usize, shift: usize) -> (bool, String, String) {
    let number = plain(number);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let kept = places + shift;
    let mut all: Vec<u8> =
        whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(kept)).collect();
    if fraction.as_bytes().get(kept).is_some_and(|digit| *digit >= b'5') {
        let mut at = all.len();
        loop {
            if at == 0 {
                all.insert(0, b'1');
                break;
            }
            at -= 1;
            if all[at] == b'9' {
                all[at] = b'0';
            } else {
                all[at] += 1;
                break;
            }
        }
    }
    let text = String::from_utf8(all).unwrap_or_default();
    let (whole, fraction) = text.split_at(text.len() - places);
    let whole = whole.trim_start_matches('0');
    (negative, if whole.is_empty() { "0" } else { whole }.to_owned(), fraction.to_owned())
}

/// A number without an exponent.
fn plain(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return number.to_owned() };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).unwrap_or(i32::MAX).saturating_add(exponent);
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        _ => format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0))),
    }
}

fn scientific(number: &str, template: &Template) -> String {
    let places = template.parts.iter().skip_while(|part| **part != Part::Point);
    let places = places.filter(|part| matches!(part, Part::Digit { .. })).count();
    let value: f64 = number.parse().unwrap_or(0.0);
    let text = format!("{value:.places$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    let blank = if mantissa.starts_with('-') || template.unpadded { "" } else { " " };
    format!("{blank}{mantissa}e{sign}{digits:0>2}")
}

fn roman(number: &str, upper: bool, unpadded: bool) -> String {
    const NUMERALS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let (_, whole, _) = rounded(number, 0, 0);
    let value: Option<u32> =
        whole.parse().ok().filter(|it| (1..=3999).contains(it) && !number.starts_with('-'));
    let Some(mut value) = value else { return "#".repeat(15) };
    let mut out = String::new();
    for (worth, numeral) in NUMERALS {
        while value >= worth {
            out.push_str(numeral);
            value -= worth;
        }
    }
    let out = if upper { out } else { out.to_lowercase() };
    if unpadded { out } else { format!("{out:>15}") }
}

/// Writes one number part by part.
struct Writer<'a> {
    template: &'a Template,
    negative: bool,
    /// Digits for the places before the point; fewer than places if the number is short.
    whole: Vec<u8>,
    fraction: Vec<u8>,
    places: usize,
    after: usize,
    /// The number has more digits than places.
    overflow: bool,
    out: String,
}

impl<'a> Writer<'a> {
    fn new(
        template: &'a Template,
        negative: bool,
        places: usize,
        after: usize,
        whole: String,
        fraction: String,
    ) -> Writer<'a> {
        let overflow = whole.len() > places && whole != "0";
        let mut fraction = fraction.into_bytes();
        if template.unpadded {
            let zeros = template.parts.iter().skip_while(|part| **part != Part::Point).skip(1);
            let digits: Vec<bool> = zeros
                .filter_map(|part| match part {
                    Part::Digit { zero } => Some(*zero),
                    _ => None,
                })
                .collect();
            let kept = digits.iter().rposition(|zero| *zero).map_or(0, |at| at + 1);
            while fraction.len() > kept && fraction.last() == Some(&b'0') {
                fraction.pop();
            }
        }
        // A zero before the point is shown where nothing else would be.
        let whole = if whole == "0" && !fraction.is_empty() { Vec::new() } else { whole.into_bytes() };
        Writer { template, negative, whole, fraction, places, after, overflow, out: String::new() }
    }

    fn write(mut self) -> String {
        let parts = &self.template.parts;
        let first_digit = parts.iter().position(|part| matches!(part, Part::Digit { .. }));
        let sign_at = parts.iter().position(|part| *part == Part::Sign);
        let sign_leads = sign_at.is_some_and(|at| first_digit.is_none_or(|digit| at < digit));
        let placed = parts.iter().any(|part| matches!(part, Part::Minus | Part::PlusMinus));
        // What stands right before the digits.
        let before = match (sign_at, self.template.angled, self.negative) {
            (Some(_), _, negative) if sign_leads => Some(if negative { '-' } else { '+' }),
            (Some(_), ..) => None,
            (None, ..) if placed => None,
            (None, true, true) => Some('<'),
            (None, false, true) => Some('-'),
            (None, ..) if self.template.unpadded => None,
            (None, ..) => Some(' '),
        };
        let mut started = false;
        let (mut place, mut after_point, mut zero_seen) = (0, false, false);
        let mut fraction_at = 0;
        for part in parts.clone() {
            match part {
                Part::Digit { .. } if after_point => {
                    let digit = self.fraction.get(fraction_at);
                    let digit = if self.overflow { digit.map(|_| &b'#') } else { digit };
                    if let Some(digit) = digit {
                        self.out.push(char::from(*digit));
                    }
                    fraction_at += 1;
                }
                Part::Digit { zero } => {
                    zero_seen |= zero;
                    let missing = self.places.saturating_sub(self.whole.len());
                    let shown = if self.overflow {
                        Some('#')
                    } else if place >= missing {
                        self.whole.get(place - missing).copied().map(char::from)
                    } else if zero_seen {
                        Some('0')
                    } else {
                        None
                    };
                    place += 1;
                    self.put(shown, before, &mut started);
                }
                Part::Group => match started {
                    true => self.out.push(','),
                    false if self.template.unpadded => {}
                    false => self.out.push(' '),
                },
                Part::Point => {
                    self.begin(before, &mut started);
                    after_point = true;
                    if self.after > 0 || self.overflow && self.template.fraction_places() > 0 {
                        self.out.push('.');
                    }
                }
                Part::Sign if !sign_leads => self.out.push(if self.negative { '-' } else { '+' }),
                Part::Sign => {}
                Part::Minus => self.put_sign('-', self.negative),
                Part::Plus => self.put_sign('+', !self.negative),
                Part::PlusMinus => self.out.push(if self.negative { '-' } else { '+' }),
                Part::Ordinal { upper } => self.put_ordinal(upper),
                Part::Text(text) => self.out.push_str(&text),
            }
        }
        if self.template.angled {
            match (self.negative, self.template.unpadded) {
                (true, _) => self.out.push('>'),
                (false, false) => self.out.push(' '),
                (false, true) => {}
            }
        }
        self.out
    }

    /// The sign goes before the first digit.
    fn begin(&mut self, before: Option<char>, started: &mut bool) {
        if !*started {
            *started = true;
            self.out.extend(before);
        }
    }

    fn put(&mut self, shown: Option<char>, before: Option<char>, started: &mut bool) {
        match shown {
            Some(digit) => {
                self.begin(before, started);
                self.out.push(digit);
            }
            None if self.template.unpadded => {}
            None => self.out.push(' '),
        }
    }

    fn put_sign(&mut self, sign: char, shown: bool) {
        match shown {
            true => self.out.push(sign),
            false if self.template.unpadded => {}
            false => self.out.push(' '),
        }
    }

    fn put_ordinal(&mut self, upper: bool) {
        if self.negative || !self.fraction.is_empty() {
            return;
        }
        let digits: String = self.whole.iter().copied().map(char::from).collect();
        let number: u64 = digits.parse().unwrap_or(0);
        let suffix = match (number % 100, number % 10) {
            (11..=13, _) => "th",
            (_, 1) => "st",
            (_, 2) => "nd",
            (_, 3) => "rd",
            _ => "th",
        };
        self.out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
    }
}

/// to_char of a column of numbers.
pub(super) fn numbers_to_char(args: &Args<'_>) -> Result<ArrayRef> {
    let numbers = to_text_array(args.array(0), args.ty(0), &crate::bind::CastStyle::utc())?;
    let formats = args.text(1)?;
    let digits = match args.ty(0) {
        SqlType::Float4 => Some(6),
        SqlType::Float8 => Some(15),
        _ => None,
    };
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        match numbers.is_null(row) || formats.is_null(row) {
            true => out.append_null(),
            false => out.append_value(number_to_char(numbers.value(row), formats.value(row), digits)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 16 prints.
    #[test]
    fn numbers_print_as_in_postgresql() {
        let of = |number: &str, format: &str| number_to_char(number, format, None).expect("a template");
        assert_eq!(of("1234.5", "9,999.99"), " 1,234.50");
        assert_eq!(of("-5", "S999"), "  -5");
        assert_eq!(of("12", "000"), " 012");
        assert_eq!(of("0.1", "FM0.00"), "0.10");
        assert_eq!(of("0.1", "9.99"), "  .10");
        assert_eq!(of("1234567", "FM9,999,999"), "1,234,567");
        assert_eq!(of("485", "RN"), "        CDLXXXV");
        assert_eq!(of("12.45", "99V9"), " 125");
        assert_eq!(of("-12", "99PR"), "<12>");
        assert_eq!(of("12", "99PR"), " 12 ");
        assert_eq!(of("1.5e10", "9.99EEEE"), " 1.50e+10");
        assert_eq!(of("5", "9th"), " 5th");
        assert_eq!(of("1234", "99"), " ##");
        assert_eq!(of("-1", "9MI"), "1-");
        assert_eq!(of("0", "9"), " 0");
        assert_eq!(of("9.99", "9.9"), " #.#");
        assert_eq!(of("1", "9."), " 1");
        assert_eq!(of("0", "FM9.99"), "0.");
        assert_eq!(of("-0.5", "9"), "-1");
        assert_eq!(of("5", "PL9"), "+ 5");
        assert_eq!(of("-5", "PL9"), " -5");
        assert_eq!(of("5", "SG9"), "+5");
        assert_eq!(of("12", "0,999"), " 0,012");
        assert_eq!(of("12", "9,999"), "    12");
    }
}
