//! From a query string to statements: tokens once, split at semicolons, each parsed by sqlparser or, where it lacks
//! PostgreSQL's form, from the same tokens by hand. Knows no catalog.

mod depth;
mod dialect;
mod errors;
mod identity;
mod literals;
mod locking;
mod place;
mod text;
mod utility;

#[cfg(test)]
mod tests;

pub(crate) use place::{first_parameter, placed};
pub(crate) use utility::{
    AlterSequence, CopyOption, CopySource, CopyStatement, CopyTarget, MaintenanceCommand, SequenceOption,
};

use crate::statement::{Parsed, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};
use quiver_base::{Error, Result, SqlState};
use text::Text;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// How deep expressions and queries may nest before 54001.
const RECURSION_LIMIT: usize = 200;

/// Splits a query string into statements and parses each. Positions in errors count characters of the whole string.
pub(crate) fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let text = Text::new(sql);
    let tokens = Tokenizer::new(&DIALECT, sql)
        .tokenize_with_location()
        .map_err(|error| errors::from_tokenizer(&text, &error))?;
    let tokens = cast_typed_literals(literals::read(&text, join_operators(tokens))?);
    let mut statements = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let first = tokens.iter().position(|token| !matches!(token.token, Token::Whitespace(_)));
        let Some(first) = first else { continue };
        let last = tokens.iter().rposition(|token| !matches!(token.token, Token::Whitespace(_)));
        let tokens = &tokens[first..=last.unwrap_or(first)];
        statements.push(parse_one(&text, tokens)?);
    }
    if statements.is_empty() {
        statements.push(Parsed { statement: Statement::Empty, sql: String::new(), offset: 0 });
    }
    Ok(statements)
}

/// Parses an expression that the catalog keeps as text: a default or a check.
pub(crate) fn parse_expression(sql: &str) -> Result<ast::Expr> {
    let text = Text::new(sql);
    let tokens = Tokenizer::new(&DIALECT, sql)
        .tokenize_with_location()
        .map_err(|error| errors::from_tokenizer(&text, &error))?;
    let tokens = cast_typed_literals(literals::read(&text, join_operators(tokens))?);
    depth::check(&tokens)?;
    let dialect = dialect::Bounded::new(tokens.len());
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(RECURSION_LIMIT)
        .with_tokens_with_locations(tokens.clone());
    parser.parse_expr().map_err(|error| errors::from_parser(&text, &tokens, &parser, &error))
}

fn parse_one(text: &Text<'_>, tokens: &[TokenWithSpan]) -> Result<Parsed> {
    let start = text.byte(tokens[0].span.start);
    let end = text.byte(tokens[tokens.len() - 1].span.end);
    let sql = &text.sql[start..end];
    if let Some(command) = crate::session::parse_command(sql, start)? {
        return Ok(Parsed {
            statement: Statement::Session(Box::new(command)),
            sql: sql.to_owned(),
            offset: start,
        });
    }
    if let Some(command) = crate::admin::parse_admin(sql, start)? {
        return Ok(Parsed {
            statement: Statement::Admin(Box::new(command)),
            sql: sql.to_owned(),
            offset: start,
        });
    }
    let mut tokens = tokens.to_vec();
    locking::refuse_current_of(&tokens)?;
    say_table_for_collection(&mut tokens);
    identity::order_options(&mut tokens);
    locking::say_plain_strengths(&mut tokens);
    let overriding = take_overriding(&mut tokens);
    let concurrently = take_drop_concurrently(&mut tokens);
    depth::check(&tokens)?;
    let dialect = dialect::Bounded::new(tokens.len());
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(RECURSION_LIMIT)
        .with_tokens_with_locations(tokens.clone());
    let parsed = match utility::parse(&mut parser) {
        Ok(Some(statement)) => Ok(statement),
        Ok(None) => parser.parse_statement().map(|statement| Sorted::Ast(Box::new(statement))),
        Err(error) => Err(error),
    };
    let parsed = parsed.map_err(|error| errors::from_parser(text, &tokens, &parser, &error))?;
    if parser.peek_token_ref().token != Token::EOF {
        return Err(errors::near(text, &parser.peek_token()));
    }
    let statement = match parsed {
        Sorted::Ready(statement) => statement,
        Sorted::Ast(statement) => {
            let mut statement = *statement;
            match &mut statement {
                ast::Statement::Insert(insert) => {
                    insert.overwrite = overriding == Some(Overriding::System);
                    insert.ignore = overriding == Some(Overriding::User);
                }
                ast::Statement::Drop { purge, .. } => *purge = concurrently,
                _ => {}
            }
            sort(statement)?
        }
    };
    Ok(Parsed { statement, sql: sql.to_owned(), offset: start })
}

/// OVERRIDING … VALUE of an INSERT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overriding {
    System,
    User,
}

/// Takes OVERRIDING {SYSTEM | USER} VALUE, which sqlparser does not know, out of an INSERT. The tree says it in two flags that
/// no INSERT of PostgreSQL has: `overwrite` and `ignore`.
fn take_overriding(tokens: &mut Vec<TokenWithSpan>) -> Option<Overriding> {
    if !at_word(tokens.first()?, "insert") {
        return None;
    }
    let words: Vec<usize> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| !matches!(token.token, Token::Whitespace(_)))
        .map(|(position, _)| position)
        .take_while(|position| {
            !at_word(&tokens[*position], "values") && !at_word(&tokens[*position], "select")
        })
        .collect();
    let found = words.windows(3).find(|three| {
        at_word(&tokens[three[0]], "overriding")
            && (at_word(&tokens[three[1]], "system") || at_word(&tokens[three[1]], "user"))
            && at_word(&tokens[three[2]], "value")
    })?;
    let kind = if at_word(&tokens[found[1]], "system") { Overriding::System } else { Overriding::User };
    tokens.drain(found[0]..=found[2]);
    Some(kind)
}

/// Whether a token is a word, not quoted.
fn at_word(token: &TokenWithSpan, expected: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

/// Takes CONCURRENTLY, which sqlparser does not know there, out of a DROP INDEX. The tree says it in a flag that no DROP of
/// PostgreSQL has: `purge`.
fn take_drop_concurrently(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let words = tokens.iter().enumerate().filter(|(_, token)| !matches!(token.token, Token::Whitespace(_)));
    let first: Vec<(usize, Keyword)> = words
        .take(3)
        .map_while(|(position, token)| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => Some((position, word.keyword)),
            _ => None,
        })
        .collect();
    match first.as_slice() {
        [(_, Keyword::DROP), (_, Keyword::INDEX), (position, Keyword::CONCURRENTLY)] => {
            tokens.remove(*position);
            true
        }
        _ => false,
    }
}

/// What the hand-written parsers give back.
enum Sorted {
    Ready(Statement),
    Ast(Box<ast::Statement>),
}

/// pgvector's operators as single tokens that bind like other operators: sqlparser reads `<+>` as three, and gives `<=>` the
/// precedence of a comparison.
fn join_operators(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for mut token in split_signs(tokens) {
        match token.token {
            Token::Spaceship => token.token = Token::CustomBinaryOperator("<=>".to_owned()),
            Token::TwoWayArrow => token.token = Token::CustomBinaryOperator("<->".to_owned()),
            Token::Gt => {
                let count = joined.len();
                if let [.., first, second] = joined.as_slice()
                    && (&first.token, &second.token) == (&Token::Lt, &Token::Plus)
                    && first.span.end == second.span.start
                    && second.span.end == token.span.start
                {
                    token.span.start = first.span.start;
                    token.token = Token::CustomBinaryOperator("<+>".to_owned());
                    joined.truncate(count - 2);
                }
            }
            _ => {}
        }
        joined.push(token);
    }
    joined
}

/// `id>-1`: as in PostgreSQL an operator does not end in a sign, unless it has one of some characters that no plain one has.
fn split_signs(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        let signed = match &token.token {
            Token::CustomBinaryOperator(operator) if !operator.contains(|c| "~!@#%^&|`?".contains(c)) => {
                operator
                    .strip_suffix('-')
                    .map(|rest| (rest, Token::Minus))
                    .or_else(|| operator.strip_suffix('+').map(|rest| (rest, Token::Plus)))
            }
            _ => None,
        };
        let plain = signed.and_then(|(rest, sign)| Some((plain_operator(rest)?, rest.len() as u64, sign)));
        let Some((operator, length, sign)) = plain else {
            split.push(token);
            continue;
        };
        let mut between = token.span.start;
        between.column += length;
        split.push(TokenWithSpan::new(operator, Span::new(token.span.start, between)));
        split.push(TokenWithSpan::new(sign, Span::new(between, token.span.end)));
    }
    split
}

fn plain_operator(text: &str) -> Option<Token> {
    Some(match text {
        "<" => Token::Lt,
        ">" => Token::Gt,
        "=" => Token::Eq,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" => Token::Neq,
        "*" => Token::Mul,
        "/" => Token::Div,
        "+" => Token::Plus,
        "-" => Token::Minus,
        _ => return None,
    })
}

/// `vector '[1,2]'` is a cast: sqlparser knows this form of PostgreSQL's own types only.
fn cast_typed_literals(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_type = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => {
            matches!(word.value.to_ascii_lowercase().as_str(), "vector" | "halfvec" | "sparsevec" | "varbit")
        }
        _ => false,
    };
    let space = |token: &&TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let is_literal = |at: usize| {
        let after = tokens.get(at + 1..).unwrap_or_default();
        let spaces = after.iter().take_while(space).count();
        matches!(after.get(spaces).map(|it| &it.token), Some(Token::SingleQuotedString(_)))
            .then_some(at + 1 + spaces)
    };
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let qualified = matches!(out.last().map(|it| &it.token), Some(Token::Period));
        match is_literal(at).filter(|_| is_type(&token.token) && !qualified) {
            Some(literal) => {
                let at_type = |token: Token| TokenWithSpan::new(token, tokens[at].span);
                out.push(tokens[literal].clone());
                out.push(at_type(Token::DoubleColon));
                out.push(token.clone());
                at = literal + 1;
            }
            None => {
                out.push(token.clone());
                at += 1;
            }
        }
    }
    out
}

/// A collection is a table: `CREATE COLLECTION`, `DROP COLLECTION`, `ALTER COLLECTION` and so on say so.
fn say_table_for_collection(tokens: &mut [TokenWithSpan]) {
    let mut words = tokens.iter_mut().filter_map(|token| match &mut token.token {
        Token::Word(word) => Some(Some(word)),
        Token::Whitespace(_) => None,
        _ => Some(None),
    });
    let Some(Some(first)) = words.next() else { return };
    if !matches!(
        first.keyword,
        Keyword::CREATE | Keyword::DROP | Keyword::ALTER | Keyword::TRUNCATE | Keyword::COMMENT
    ) {
        return;
    }
    for word in words.take(2) {
        let Some(word) = word else { return };
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("collection") {
            word.value = "TABLE".to_owned();
            word.keyword = Keyword::TABLE;
            return;
        }
        if !matches!(
            word.keyword,
            Keyword::TEMP | Keyword::TEMPORARY | Keyword::UNLOGGED | Keyword::ON | Keyword::LOCAL
        ) {
            return;
        }
    }
}

fn sort(statement: ast::Statement) -> Result<Statement> {
    use ast::Statement as S;
    Ok(match statement {
        S::Query(_) | S::Insert(_) | S::Update(_) | S::Delete(_) | S::Explain { .. } => {
            Statement::Plannable(Box::new(statement))
        }
        S::CreateTable(_)
        | S::CreateIndex(_)
        | S::CreateSchema { .. }
        | S::CreateSequence { .. }
        | S::CreateView(_)
        | S::CreateExtension(_)
        | S::DropExtension(_)
        | S::AlterTable(_)
        | S::AlterIndex { .. }
        | S::AlterSchema(_)
        | S::Drop { .. }
        | S::Truncate(_)
        | S::Comment { .. } => Statement::Ddl(Box::new(statement)),
        S::CreateFunction(_) => return Err(Error::unsupported("CREATE FUNCTION")),
        S::Merge { .. } => return Err(Error::unsupported("MERGE")),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("{} is not supported", words.join(" ")),
            ));
        }
    })
}
