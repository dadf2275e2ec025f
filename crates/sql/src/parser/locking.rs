//! Forms of row locks and of statements at a cursor's row that sqlparser does not know.

use super::at_word;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use quiver_base::{Error, Result};

/// WHERE CURRENT OF cursor, which sqlparser does not know.
pub(super) fn refuse_current_of(tokens: &[TokenWithSpan]) -> Result<()> {
    let words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let words: Vec<Keyword> = words
        .map(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        })
        .collect();
    match words.windows(3).any(|three| three == [Keyword::WHERE, Keyword::CURRENT, Keyword::OF]) {
        true => Err(Error::unsupported("WHERE CURRENT OF")),
        false => Ok(()),
    }
}

/// Rows are locked in two ways here: FOR NO KEY UPDATE, which sqlparser does not know, is FOR UPDATE, and FOR KEY SHARE is FOR
/// SHARE. Takes the words between out.
pub(super) fn say_plain_strengths(tokens: &mut Vec<TokenWithSpan>) {
    let places: Vec<usize> =
        (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let word =
        |at: usize, expected: &str| places.get(at).is_some_and(|place| at_word(&tokens[*place], expected));
    let mut taken = Vec::new();
    for at in 0..places.len() {
        if word(at, "for") && word(at + 1, "no") && word(at + 2, "key") && word(at + 3, "update") {
            taken.extend([places[at + 1], places[at + 2]]);
        } else if word(at, "for") && word(at + 1, "key") && word(at + 2, "share") {
            taken.push(places[at + 1]);
        }
    }
    for place in taken.into_iter().rev() {
        tokens.remove(place);
    }
}
