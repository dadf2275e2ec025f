//! Literals that sqlparser reads as something else: integers in other bases, strings over several lines, and what must not
//! stand directly behind a literal.

use super::errors;
use super::text::Text;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use quiver_base::{Error, Result, SqlState};

/// The tokens with such literals read as PostgreSQL does.
pub(super) fn read(text: &Text<'_>, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut line_break = false;
    // Where the last token that is not white space is.
    let mut last: Option<usize> = None;
    for mut token in tokens {
        if let Token::Whitespace(space) = &token.token {
            line_break |= matches!(space, Whitespace::Newline | Whitespace::SingleLineComment { .. });
            out.push(token);
            continue;
        }
        let before = last.and_then(|at| out.get_mut(at));
        match (before, &mut token.token) {
            (
                Some(TokenWithSpan { token: Token::SingleQuotedString(first), span }),
                Token::SingleQuotedString(second),
            ) => {
                if !line_break {
                    return Err(errors::near(text, &token));
                }
                first.push_str(second);
                span.end = token.span.end;
                continue;
            }
            (Some(TokenWithSpan { token: Token::Number(number, false), span }), Token::Word(word))
                if span.end == token.span.start && word.quote_style.is_none() =>
            {
                match in_base(number, &word.value)? {
                    Some(value) => {
                        *number = value;
                        span.end = token.span.end;
                        continue;
                    }
                    None => {
                        let message = format!(
                            "trailing junk after numeric literal at or near \"{number}{}\"",
                            word.value
                        );
                        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                    }
                }
            }
            (_, Token::HexStringLiteral(digits)) => {
                // X'1F' is one longer than 0x1F.
                let (start, end) = (text.byte(token.span.start), text.byte(token.span.end));
                if text.sql[start..end].starts_with("0x") {
                    token.token = Token::Number(from_digits(digits, 16)?, false);
                }
            }
            _ => {}
        }
        line_break = false;
        last = Some(out.len());
        out.push(token);
    }
    Ok(out)
}

/// `0b11`, `0o17` and `0X1F`, which come as the number 0 and a word.
fn in_base(number: &str, word: &str) -> Result<Option<String>> {
    let mut digits = word.chars();
    let base = match (number, digits.next()) {
        ("0", Some('b' | 'B')) => 2,
        ("0", Some('o' | 'O')) => 8,
        ("0", Some('x' | 'X')) => 16,
        _ => return Ok(None),
    };
    let digits = digits.as_str();
    if digits.is_empty() || !digits.chars().all(|c| c == '_' || c.is_digit(base)) {
        return Ok(None);
    }
    from_digits(digits, base).map(Some)
}

fn from_digits(digits: &str, base: u32) -> Result<String> {
    let digits = digits.replace('_', "");
    match u128::from_str_radix(&digits, base) {
        Ok(value) => Ok(value.to_string()),
        Err(_) => Err(Error::unsupported("an integer literal of more than 128 bits")),
    }
}
