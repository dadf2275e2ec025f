//! to_number: a text read by a template, character by character as PostgreSQL reads it (NUM_processor).

use super::Function;
use super::number_format::{Part, Template, template};
use crate::decode::parse_numeric;
use arrow::array::{Array, Decimal256Builder};
use arrow::datatypes::i256;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// to_number(text, template).
pub(super) fn to_number() -> Function {
    Function::new("to_number", Volatility::Stable, SqlType::Numeric(None), |args| {
        let (texts, formats) = (args.text(0)?, args.text(1)?);
        let mut out = Decimal256Builder::with_capacity(args.rows())
            .with_precision_and_scale(SqlType::NUMERIC_PRECISION_MAX, SqlType::NUMERIC_SCALE_DEFAULT)?;
        for row in 0..args.rows() {
            match texts.is_null(row) || formats.is_null(row) || formats.value(row).is_empty() {
                true => out.append_null(),
                false => out.append_value(read(texts.value(row), formats.value(row))?),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn read(text: &str, format: &str) -> Result<i256> {
    let template = template(format)?;
    if template.roman.is_some() || template.exponent || template.shift > 0 {
        return Err(Error::unsupported(format!("to_number template \"{format}\"")));
    }
    let whole = template.whole_places();
    let (number, fraction) = Reader::new(text, &template).number();
    let scale = i8::try_from(fraction).unwrap_or(i8::MAX);
    let precision = u8::try_from(whole + fraction).unwrap_or(u8::MAX);
    // What the template has room for comes first, as a numeric of that many digits.
    parse_numeric(&number, precision, scale)?;
    let digits = parse_numeric(&number, SqlType::NUMERIC_PRECISION_MAX, SqlType::NUMERIC_SCALE_DEFAULT)?;
    i256::from_string(&digits)
        .ok_or_else(|| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow"))
}

struct Reader<'a> {
    text: Vec<char>,
    at: usize,
    template: &'a Template,
    sign: char,
    digits: String,
    before: usize,
    after: usize,
    point: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &str, template: &'a Template) -> Reader<'a> {
        let text = text.chars().collect();
        Reader { text, at: 0, template, sign: ' ', digits: String::new(), before: 0, after: 0, point: false }
    }

    /// The number as it was found, and how many of its digits are after the point.
    fn number(mut self) -> (String, usize) {
        for part in &self.template.parts {
            if self.at >= self.text.len() {
                break;
            }
            match part {
                Part::Digit { .. } => self.digit(true),
                Part::Point => self.digit(false),
                Part::Group => {
                    self.at += usize::from(!self.template.unpadded && self.text[self.at] == ',');
                }
                Part::Minus => self.placed_sign(&['-']),
                Part::Plus => self.placed_sign(&['+']),
                Part::PlusMinus => self.placed_sign(&['-', '+']),
                Part::Ordinal { .. } => self.other(2),
                Part::Sign => {}
                // Whatever stands there.
                Part::Text(text) => self.at += text.chars().count(),
            }
        }
        let digits = self.digits.strip_suffix('.').unwrap_or(&self.digits);
        (format!("{}{digits}", self.sign), self.after)
    }

    fn begun(&self) -> bool {
        self.before + self.after > 0
    }

    fn here(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// Steps over so many characters that are no part of a number.
    fn other(&mut self, count: usize) {
        for _ in 0..count {
            match self.here() {
                Some(c) if !(c.is_ascii_digit() || matches!(c, '.' | ',' | '+' | '-')) => self.at += 1,
                _ => break,
            }
        }
    }

    fn placed_sign(&mut self, signs: &[char]) {
        match self.here() {
            Some(c) if signs.contains(&c) => {
                self.sign = c;
                self.at += 1;
            }
            _ => self.other(1),
        }
    }

    /// NUM_numpart_from_char.
    fn digit(&mut self, of_digits: bool) {
        self.at += usize::from(self.here() == Some(' '));
        if self.sign == ' ' && of_digits && !self.begun() {
            match self.here() {
                Some('-') => self.take_sign('-'),
                Some('<') if self.template.angled => self.take_sign('-'),
                Some('+') => self.take_sign('+'),
                _ => {}
            }
        }
        let Some(c) = self.here() else { return };
        let mut read = false;
        if c.is_ascii_digit() {
            if self.point && self.after == self.template.fraction_places() {
                self.at += 1;
                return;
            }
            self.digits.push(c);
            if self.point {
                self.after += 1;
            } else {
                self.before += 1;
            }
            read = true;
        } else if c == '.' && !self.point && self.template.parts.contains(&Part::Point) {
            self.digits.push('.');
            (self.point, read) = (true, true);
        }
        if self.sign == ' ' && self.begun() {
            self.sign_behind(read);
        }
        self.at += 1;
    }

    fn take_sign(&mut self, sign: char) {
        self.sign = sign;
        self.at += 1;
    }

    /// A sign behind the last digit, whose place the template does not say exactly.
    fn sign_behind(&mut self, read: bool) {
        let has = |part: &Part| self.template.parts.contains(part);
        if has(&Part::Sign) && read {
            if let Some(sign @ ('-' | '+')) = self.text.get(self.at + 1) {
                self.sign = *sign;
                self.at += 1;
            }
        } else if !read
            && !has(&Part::Sign)
            && (has(&Part::Plus) || has(&Part::Minus))
            && let Some(sign @ ('-' | '+')) = self.here()
        {
            self.sign = sign;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_a_template() {
        let of = |text: &str, format: &str| {
            let template = template(format).expect("a template");
            Reader::new(text, &template).number().0
        };
        assert_eq!(of("1,234.5", "9,999.9"), " 1234.5");
        assert_eq!(of("-12", "S99"), "-12");
        assert_eq!(of("12-", "99S"), "-12");
        assert_eq!(of("5.01-", "FM9.99MI"), "-5.01");
        assert_eq!(of("<7>", "9PR"), "-7");
        assert_eq!(of("x", "-12"), " ");
        assert!(read("x", "9").is_err());
        assert!(read("1234", "99").is_ok());
    }
}
