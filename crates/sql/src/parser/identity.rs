//! The options of an identity column: sqlparser reads them in one order only, PostgreSQL in any.

use super::at_word;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The order in which sqlparser wants them.
const ORDER: [&str; 6] = ["increment", "minvalue", "maxvalue", "start", "cache", "cycle"];

/// Brings the options of every `AS IDENTITY (…)` into sqlparser's order. Tokens keep their places in the text, so errors still
/// point at what is wrong.
pub(super) fn order_options(tokens: &mut [TokenWithSpan]) {
    let solid: Vec<usize> = (0..tokens.len())
        .filter(|position| !matches!(tokens[*position].token, Token::Whitespace(_)))
        .collect();
    let starts: Vec<usize> = solid
        .windows(3)
        .filter(|three| at_word(&tokens[three[0]], "as") && at_word(&tokens[three[1]], "identity"))
        .filter(|three| tokens[three[2]].token == Token::LParen)
        .map(|three| three[2] + 1)
        .collect();
    for start in starts {
        let length = tokens[start..].iter().position(|token| token.token == Token::RParen);
        if let Some(length) = length {
            let ordered = in_order(&tokens[start..start + length]);
            tokens[start..start + length].clone_from_slice(&ordered);
        }
    }
}

/// The same tokens, option by option. What begins no option goes with the option before it.
fn in_order(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut options: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
    let mut before: Vec<TokenWithSpan> = Vec::new();
    let mut negated = false;
    for token in tokens {
        let rank = ORDER.iter().position(|word| at_word(token, word));
        let begins = at_word(token, "no") || (rank.is_some() && !negated);
        if begins {
            options.push((rank.unwrap_or_default(), Vec::new()));
        }
        if let (true, Some(rank), Some(last)) = (negated, rank, options.last_mut()) {
            last.0 = rank;
        }
        negated = at_word(token, "no") || (negated && matches!(token.token, Token::Whitespace(_)));
        options.last_mut().map_or(&mut before, |(_, tokens)| tokens).push(token.clone());
    }
    options.sort_by_key(|(rank, _)| *rank);
    before.into_iter().chain(options.into_iter().flat_map(|(_, tokens)| tokens)).collect()
}
