//! Where in a statement an error is that was found after parsing: what it names is looked for among the tokens, the first place
//! counts. Knows messages as PostgreSQL words them, and no catalog.

use super::text::Text;
use super::{DIALECT, at_word, join_operators};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use quiver_base::{Error, SqlState};

/// The error with the position of what it names, for the errors that PostgreSQL gives one. Others stay as they are.
pub(crate) fn placed(error: Error, sql: &str) -> Error {
    if error.position().is_some() {
        return error;
    }
    let Some(subject) = Subject::of(&error) else { return error };
    let Ok(tokens) = Tokenizer::new(&DIALECT, sql).tokenize_with_location() else { return error };
    let mut tokens = join_operators(tokens);
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let is_query = tokens.first().is_some_and(|first| QUERIES.iter().any(|word| at_word(first, word)));
    if !is_query && !matches!(subject, Subject::Type(_)) {
        return error;
    }
    match subject.find(&tokens) {
        Some(at) => error.with_position(Text::new(sql).character(tokens[at].span.start)),
        None => error,
    }
}

/// The first of a statement's parameters that is not among so many given ones, with its dollar.
pub(crate) fn first_parameter(sql: &str, given: usize) -> Option<String> {
    let is_given = |id: &str| id.parse().is_ok_and(|number: usize| number <= given);
    let tokens = Tokenizer::new(&DIALECT, sql).tokenize().ok()?;
    tokens.into_iter().find_map(|token| match token {
        Token::Placeholder(id) if id.strip_prefix('$').is_some_and(|id| !is_given(id)) => Some(id),
        _ => None,
    })
}

/// What statements begin with whose names PostgreSQL looks up while it analyses them.
const QUERIES: [&str; 10] =
    ["select", "with", "values", "table", "insert", "update", "delete", "explain", "prepare", "declare"];

/// What an error is about.
#[derive(Debug, PartialEq)]
enum Subject<'a> {
    /// A column, with or without its table, as a path that may be written shorter.
    Column(&'a str),
    /// A column that is written to.
    Target(&'a str),
    /// A table.
    Relation(&'a str),
    /// What stands before a column.
    Qualifier(&'a str),
    Function(&'a str),
    Operator(&'a str),
    Type(&'a str),
    Literal(&'a str),
    /// What follows a keyword.
    After(&'a str),
    /// An aggregate after a keyword.
    AggregateAfter(&'a str),
    /// `$1`.
    Parameter(&'a str),
}

impl Subject<'_> {
    fn of(error: &Error) -> Option<Subject<'_>> {
        let message = error.message();
        let quoted = |before: &str| message.strip_prefix(before)?.strip_prefix('"')?.split_once('"');
        match error.state() {
            SqlState::UNDEFINED_COLUMN => match quoted("column ") {
                Some((name, rest)) if rest.starts_with(" of relation") => Some(Subject::Target(name)),
                Some((name, _)) => Some(Subject::Column(name)),
                None => message.strip_prefix("column ")?.strip_suffix(" does not exist").map(Subject::Column),
            },
            SqlState::AMBIGUOUS_COLUMN => quoted("column reference ").map(|(name, _)| Subject::Column(name)),
            SqlState::GROUPING_ERROR => match quoted("column ") {
                Some((name, _)) => Some(Subject::Column(name)),
                None => {
                    let clause = message.strip_prefix("aggregate functions are not allowed in ")?;
                    Some(Subject::AggregateAfter(clause))
                }
            },
            SqlState::UNDEFINED_TABLE => match quoted("relation ") {
                Some((name, _)) => Some(Subject::Relation(name)),
                None => quoted("missing FROM-clause entry for table ")
                    .or_else(|| quoted("invalid reference to FROM-clause entry for table "))
                    .map(|(name, _)| Subject::Qualifier(name)),
            },
            SqlState::UNDEFINED_FUNCTION | SqlState::AMBIGUOUS_FUNCTION => {
                let operator = message
                    .strip_prefix("operator does not exist: ")
                    .or_else(|| message.strip_prefix("operator is not unique: "));
                if let Some(operator) = operator {
                    let is_symbol = |word: &&str| word.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c));
                    return operator.split(' ').find(is_symbol).map(Subject::Operator);
                }
                Some(Subject::Function(message.strip_prefix("function ")?.split('(').next()?))
            }
            SqlState::UNDEFINED_PARAMETER => {
                message.strip_prefix("there is no parameter ").map(Subject::Parameter)
            }
            SqlState::UNDEFINED_OBJECT => quoted("type ").map(|(name, _)| Subject::Type(name)),
            SqlState::DATATYPE_MISMATCH => {
                let clause = message.strip_prefix("argument of ")?.split(' ').next()?;
                ["WHERE", "HAVING"].contains(&clause).then_some(Subject::After(clause))
            }
            SqlState::INVALID_TEXT_REPRESENTATION
            | SqlState::INVALID_DATETIME_FORMAT
            | SqlState::DATETIME_FIELD_OVERFLOW
            | SqlState::NUMERIC_VALUE_OUT_OF_RANGE => {
                let (_, value) = message.split_once('"')?;
                Some(Subject::Literal(value.rsplit_once('"')?.0))
            }
            _ => None,
        }
    }

    /// The token it is first named by.
    fn find(&self, tokens: &[TokenWithSpan]) -> Option<usize> {
        let place = |found: &dyn Fn(usize) -> bool| (0..tokens.len()).find(|at| found(*at));
        let is = |at: usize, token: &Token| tokens.get(at).is_some_and(|other| other.token == *token);
        let is_word = |at: usize, name: &str| named(tokens.get(at), name);
        match self {
            Subject::Column(path) => {
                let free = |at: usize| at == 0 || !is(at - 1, &Token::Period);
                let bare = |name: &str| {
                    let ends = |at: usize| !is(at + 1, &Token::Period) && !is(at + 1, &Token::LParen);
                    place(&|at| is_word(at, name) && free(at) && ends(at) && !follows_as(tokens, at))
                };
                let Some((table, name)) = path.rsplit_once('.') else { return bare(path) };
                let whole = |at| is_word(at, table) && is(at + 1, &Token::Period) && is_word(at + 2, name);
                place(&whole).or_else(|| bare(name))
            }
            Subject::Target(name) => place(&|at| is_word(at, name) && !is(at + 1, &Token::Period)),
            Subject::Relation(path) => {
                let (schema, name) = path.rsplit_once('.').unwrap_or(("", path));
                let name_at = |at: usize| is_word(at, name) && !is(at + 1, &Token::Period);
                match place(&name_at) {
                    Some(at) if at >= 2 && is(at - 1, &Token::Period) && is_word(at - 2, schema) => {
                        Some(at - 2)
                    }
                    Some(at) => Some(at),
                    None => place(&|at| is(at, &Token::SingleQuotedString((*path).to_owned()))),
                }
            }
            Subject::Qualifier(name) => place(&|at| is_word(at, name) && is(at + 1, &Token::Period)),
            Subject::Function(path) => {
                let (schema, name) = path.rsplit_once('.').unwrap_or(("", path));
                let at = place(&|at| is_word(at, name) && is(at + 1, &Token::LParen))?;
                let qualified = at >= 2 && is(at - 1, &Token::Period) && is_word(at - 2, schema);
                Some(if qualified { at - 2 } else { at })
            }
            Subject::Operator(symbol) => {
                let word = match *symbol {
                    "~~" => "like",
                    "~~*" => "ilike",
                    "=" => "in",
                    _ => "",
                };
                place(&|at| tokens[at].token.to_string() == *symbol)
                    .or_else(|| place(&|at| at_word(&tokens[at], word)))
            }
            Subject::Type(name) => place(&|at| is_word(at, name)),
            Subject::Literal(text) => {
                let at = place(&|at| is(at, &Token::SingleQuotedString((*text).to_owned())))?;
                Some(at)
            }
            Subject::Parameter(id) => place(&|at| is(at, &Token::Placeholder((*id).to_owned()))),
            Subject::After(keyword) => {
                let at = place(&|at| at_word(&tokens[at], keyword))? + 1;
                (at < tokens.len()).then_some(at)
            }
            Subject::AggregateAfter(keyword) => {
                let start = place(&|at| at_word(&tokens[at], keyword))?;
                place(&|at| {
                    at > start
                        && is(at + 1, &Token::LParen)
                        && AGGREGATES.iter().any(|name| at_word(&tokens[at], name))
                })
            }
        }
    }
}

const AGGREGATES: [&str; 10] =
    ["count", "sum", "avg", "min", "max", "array_agg", "string_agg", "bool_and", "bool_or", "every"];

/// Whether a token is a name, folded as PostgreSQL does.
fn named(token: Option<&TokenWithSpan>, name: &str) -> bool {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_some() => word.value == name,
        Some(Token::Word(word)) => word.value.to_lowercase() == name,
        _ => false,
    }
}

/// Whether a name is one that is given and not used: `… AS name`.
fn follows_as(tokens: &[TokenWithSpan], at: usize) -> bool {
    at > 0 && at_word(&tokens[at - 1], "as")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the caret points at.
    fn caret(state: SqlState, message: &str, sql: &str) -> Option<String> {
        let position = placed(Error::new(state, message), sql).position()?;
        Some(sql.chars().skip(position as usize - 1).take_while(|c| !c.is_whitespace()).collect())
    }

    #[test]
    fn carets_are_where_postgresql_puts_them() {
        let cases = [
            (SqlState::UNDEFINED_COLUMN, "column \"x\" does not exist", "SELECT id AS x, x+1 FROM t", "x+1"),
            (
                SqlState::UNDEFINED_COLUMN,
                "column t1.x does not exist",
                "SELECT 'é', t1.X, x FROM t1",
                "t1.X,",
            ),
            (
                SqlState::UNDEFINED_COLUMN,
                "column \"x\" of relation \"t\" does not exist",
                "INSERT INTO t (x) VALUES (1)",
                "x)",
            ),
            (
                SqlState::AMBIGUOUS_COLUMN,
                "column reference \"id\" is ambiguous",
                "SELECT a.id, id FROM a, b",
                "id",
            ),
            (
                SqlState::GROUPING_ERROR,
                "column \"t.id\" must appear in the GROUP BY clause or be used in an aggregate function",
                "SELECT id, count(*) FROM t",
                "id,",
            ),
            (
                SqlState::GROUPING_ERROR,
                "aggregate functions are not allowed in WHERE",
                "SELECT max(i) FROM t WHERE abs(i) = max(i)",
                "max(i)",
            ),
            (SqlState::UNDEFINED_TABLE, "relation \"s.x\" does not exist", "SELECT *\nFROM s.x", "s.x"),
            (SqlState::UNDEFINED_TABLE, "relation \"x\" does not exist", "SELECT nextval('x')", "'x')"),
            (
                SqlState::UNDEFINED_TABLE,
                "missing FROM-clause entry for table \"u\"",
                "SELECT u, u.id FROM t",
                "u.id",
            ),
            (SqlState::UNDEFINED_FUNCTION, "function f(integer) does not exist", "SELECT f, f(1)", "f(1)"),
            (
                SqlState::UNDEFINED_FUNCTION,
                "operator does not exist: character varying <-> integer",
                "SELECT a <-> 1",
                "<->",
            ),
            (
                SqlState::UNDEFINED_FUNCTION,
                "operator does not exist: integer ~~ integer",
                "SELECT 1 LIKE 2",
                "LIKE",
            ),
            (SqlState::UNDEFINED_PARAMETER, "there is no parameter $2", "SELECT '$2', $1, $2", "$2"),
            (SqlState::UNDEFINED_OBJECT, "type \"x\" does not exist", "CREATE TABLE t (a x)", "x)"),
            (
                SqlState::DATATYPE_MISMATCH,
                "argument of WHERE must be type boolean, not type text",
                "SELECT 1 WHERE 'a'::text",
                "'a'::text",
            ),
            (
                SqlState::INVALID_TEXT_REPRESENTATION,
                "invalid input syntax for type integer: \"a\"",
                "SELECT 'b', 'a'::int",
                "'a'::int",
            ),
        ];
        for (state, message, sql, expected) in cases {
            assert_eq!(caret(state, message, sql).as_deref(), Some(expected), "{message}: {sql}");
        }
    }

    #[test]
    fn what_is_not_in_the_statement_has_no_place() {
        let column = "column \"x\" does not exist";
        assert_eq!(caret(SqlState::UNDEFINED_COLUMN, column, "SELECT x.y, x(1) FROM t AS x"), None);
        assert_eq!(caret(SqlState::UNDEFINED_COLUMN, column, "CREATE INDEX ON t (x)"), None);
        assert_eq!(caret(SqlState::UNDEFINED_TABLE, "relation \"x\" does not exist", "TRUNCATE x"), None);
        assert_eq!(caret(SqlState::UNIQUE_VIOLATION, "duplicate key", "INSERT INTO t VALUES (1)"), None);
    }
}
