//! parse_ident: a qualified name taken apart.

use super::Function;
use arrow::array::{Array, ListBuilder, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// `parse_ident(text, strict)`: without `strict`, what follows the name is let pass.
pub(super) fn parse_ident() -> Function {
    let list = SqlType::Array(Box::new(SqlType::Text));
    Function::new("parse_ident", Volatility::Immutable, list, |args| {
        let texts = args.text(0)?;
        let strict = if args.count() > 1 { Some(args.bool(1)?) } else { None };
        let mut out =
            ListBuilder::new(StringBuilder::new()).with_field(Arc::new(SqlType::Text.field("item", true)));
        for row in 0..args.rows() {
            let flag = strict.as_ref().map_or(Some(true), |it| it.is_valid(row).then(|| it.value(row)));
            let Some(flag) = flag.filter(|_| texts.is_valid(row)) else {
                out.append(false);
                continue;
            };
            for part in parts(texts.value(row), flag)? {
                out.values().append_value(part);
            }
            out.append(true);
        }
        Ok(Arc::new(out.finish()))
    })
}

fn parts(text: &str, strict: bool) -> Result<Vec<String>> {
    let invalid = |detail: &str| {
        let message = format!("string is not a valid identifier: \"{text}\"");
        let error = Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
        if detail.is_empty() { error } else { error.with_detail(detail) }
    };
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let starts = |c: char| c == '_' || c.is_ascii_alphabetic() || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c.is_ascii_digit() || c == '$';
    let (mut found, mut rest, mut after_dot) = (Vec::new(), text.trim_start_matches(blank), false);
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (part, after) =
                unquoted(quoted).ok_or_else(|| invalid("String has unclosed double quotes."))?;
            if part.is_empty() {
                return Err(invalid("Quoted identifier must not be empty."));
            }
            found.push(part);
            rest = after;
        } else if rest.starts_with(starts) {
            let end = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
            found.push(rest[..end].to_ascii_lowercase());
            rest = &rest[end..];
        } else {
            return Err(invalid(match after_dot {
                _ if rest.starts_with('.') => "No valid identifier before \".\".",
                true => "No valid identifier after \".\".",
                false => "",
            }));
        }
        rest = rest.trim_start_matches(blank);
        match rest.strip_prefix('.') {
            Some(after) => (rest, after_dot) = (after.trim_start_matches(blank), true),
            None if rest.is_empty() || !strict => return Ok(found),
            None => return Err(invalid("")),
        }
    }
}

/// What is before the closing quote, and what is after it; a doubled quote is one.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let at = rest.find('"')?;
        part.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => return Some((part, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(parts(" Foo . \"B\"\"ar\" ", true).expect("a name"), ["foo", "B\"ar"]);
        assert_eq!(parts("foo(bar)", false).expect("a name"), ["foo"]);
        for text in ["foo(bar)", "1a", "a.", ".a", "\"\"", "\"a", "a b"] {
            assert!(parts(text, true).is_err(), "{text}");
        }
    }
}
