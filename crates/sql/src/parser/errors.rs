//! Syntax errors in PostgreSQL's words, with the position it would give.

use super::text::Text;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, TokenizerError};
use quiver_base::{Error, SqlState};

/// `syntax error at or near "x"`.
pub(super) fn near(text: &Text<'_>, token: &TokenWithSpan) -> Error {
    if token.token == Token::EOF {
        return at_end(text);
    }
    let source = &text.sql[text.byte(token.span.start)..text.byte(token.span.end)];
    Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{source}\""))
        .with_position(text.character(token.span.start))
}

fn at_end(text: &Text<'_>) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").with_position(text.end())
}

/// Unterminated strings, comments and identifiers.
pub(super) fn from_tokenizer(text: &Text<'_>, error: &TokenizerError) -> Error {
    let rest = &text.sql[text.byte(error.location)..];
    let position = text.character(error.location);
    let message = error.message.to_ascii_lowercase();
    let what = if message.contains("multi-line comment") || message.contains("comment") {
        "unterminated /* comment"
    } else if message.contains("dollar") {
        "unterminated dollar-quoted string"
    } else if message.contains("delimiter") || message.contains("identifier") {
        "unterminated quoted identifier"
    } else if message.contains("unterminated") || message.contains("string") {
        "unterminated quoted string"
    } else {
        let c = rest.chars().next().map(String::from).unwrap_or_default();
        return Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{c}\""))
            .with_position(position);
    };
    Error::new(SqlState::SYNTAX_ERROR, format!("{what} at or near \"{rest}\"")).with_position(position)
}

/// Finds the token that the parser did not expect. Its message ends with the token's location; where it has none, the
/// parser stopped at it.
pub(super) fn from_parser(
    text: &Text<'_>,
    tokens: &[TokenWithSpan],
    parser: &Parser<'_>,
    error: &ParserError,
) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return super::depth::too_deep();
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    if let Some(message) = message.strip_prefix(super::utility::REFUSED) {
        return Error::new(SqlState::FEATURE_NOT_SUPPORTED, message);
    }
    if let Some(location) = location_of(message) {
        return match tokens.iter().find(|token| token.span.start == location) {
            Some(token) => near(text, token),
            None => at_end(text),
        };
    }
    if message.contains("found: EOF") {
        return at_end(text);
    }
    near(text, &parser.peek_token())
}

fn location_of(message: &str) -> Option<Location> {
    let (rest, column) = message.rsplit_once(", Column: ")?;
    let (_, line) = rest.rsplit_once("at Line: ")?;
    Some(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? })
}
