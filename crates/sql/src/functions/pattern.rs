//! Patterns of LIKE and SIMILAR TO brought to what the engine knows: the backslash as escape, regular expressions.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// `like_escape(pattern, escape)`: the pattern with the backslash as its escape character.
pub(crate) fn like_escape() -> Function {
    Function::new("like_escape", Volatility::Immutable, SqlType::Text, |args| {
        patterns(args, with_backslashes)
    })
}

/// `similar_to_escape(pattern, escape)`: the regular expression that matches what SIMILAR TO would.
pub(crate) fn similar_to_escape() -> Function {
    Function::new("similar_to_escape", Volatility::Immutable, SqlType::Text, |args| {
        patterns(args, |pattern, escape| Ok(regular_expression(pattern, escape)))
    })
}

fn patterns(args: &Args<'_>, change: fn(&str, Option<char>) -> Result<String>) -> Result<ArrayRef> {
    let texts = args.text(0)?;
    let escapes = if args.count() > 1 { Some(args.text(1)?) } else { None };
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        let escape = match &escapes {
            None => Some('\\'),
            Some(escapes) if escapes.is_valid(row) => one_character(escapes.value(row))?,
            Some(_) => {
                out.append_null();
                continue;
            }
        };
        match texts.is_null(row) {
            true => out.append_null(),
            false => out.append_value(change(texts.value(row), escape)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn one_character(escape: &str) -> Result<Option<char>> {
    let mut characters = escape.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")),
    }
}

fn with_backslashes(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 2);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            it if Some(it) == escape => {
                let next = characters.next().ok_or_else(|| {
                    Error::new(
                        SqlState::INVALID_ESCAPE_SEQUENCE,
                        "LIKE pattern must not end with escape character",
                    )
                })?;
                out.push('\\');
                out.push(next);
            }
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// The regular expression of a pattern that may mark a part of itself between two `escape"`.
pub(super) fn marked_expression(pattern: &str, escape: &str) -> Result<String> {
    Ok(regular_expression(pattern, one_character(escape)?))
}

fn regular_expression(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?:");
    let mut characters = pattern.chars();
    let (mut bracket, mut marks) = (false, 0);
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            // A mark, or the next character as it is.
            if characters.as_str().starts_with('"') && marks < 2 {
                characters.next();
                out.push_str(if marks == 0 { "){1,1}?(" } else { "){1,1}(?:" });
                marks += 1;
                continue;
            }
            if let Some(next) = characters.next() {
                out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            }
            continue;
        }
        match character {
            '[' => {
                bracket = true;
                out.push('[');
            }
            ']' => {
                bracket = false;
                out.push(']');
            }
            '\\' if bracket => out.push_str("\\\\"),
            other if bracket => out.push(other),
            '%' => out.push_str("(?s:.*)"),
            '_' => out.push_str("(?s:.)"),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
    }
    out.push_str(")$");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_what_the_engine_knows() {
        assert_eq!(with_backslashes("a/_\\b/%", Some('/')).expect("valid"), "a\\_\\\\b\\%");
        assert!(with_backslashes("a/", Some('/')).is_err());
        let matches = |text: &str, pattern: &str| {
            let pattern = regular_expression(pattern, Some('\\'));
            regex::Regex::new(&pattern).expect("a regular expression").is_match(text)
        };
        assert!(matches("abc", "a(b|x)c"));
        assert!(!matches("abc", "ab"));
        assert!(matches("abc", "_b_"));
        assert!(matches("a.c", "a.c") && !matches("abc", "a.c"));
        assert!(matches("a%", "a\\%") && !matches("ab", "a\\%"));
    }
}
