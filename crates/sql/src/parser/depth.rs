//! How deep a statement's tree will be, told from its tokens before anything is built: chains of operators make trees as deep as
//! they are long, and whatever walks, copies or drops such a tree needs stack for it.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use quiver_base::{Error, Result, SqlState};

/// The deepest tree that is built. The server's threads have the stack for it, in a debug build too.
const MAX_DEPTH: usize = 1_500;
/// The longest chain of operators and casts.
const MAX_COMPUTED: usize = 1_100;
/// The longest chain of arithmetic: planning one takes a time of about the cube of its length.
const MAX_ARITHMETIC: usize = 256;
/// How deep subqueries may stand in the expressions of others: planning doubles its time for each.
const MAX_SUBQUERIES: usize = 16;
/// The most tables and queries that one FROM or one chain of UNION may put together.
const MAX_RELATIONS: usize = 1_100;

/// 54001.
pub(super) fn too_deep() -> Error {
    Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_hint("The statement nests expressions or queries too deeply; write it in smaller parts.")
}

/// Refuses a statement whose tree would be too deep.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels: Vec<Level> = Vec::new();
    let mut level = Level::default();
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                let inner = Level { in_table: level.in_from, ..Level::default() };
                levels.push(std::mem::replace(&mut level, inner));
            }
            Token::RParen | Token::RBracket => {
                level = level.close(levels.pop().unwrap_or_default())?;
                level.computed += usize::from(token.token == Token::RBracket);
            }
            Token::Comma if level.in_from => level.relations += 1,
            Token::Comma => level.end_item(),
            Token::Word(word) if word.quote_style.is_none() => level.word(word.keyword),
            token if is_operator(token) => {
                level.computed += 1;
                level.arithmetic += usize::from(is_arithmetic(token));
            }
            _ => {}
        }
    }
    while let Some(outer) = levels.pop() {
        level = level.close(outer)?;
    }
    level.depth().map(drop)
}

/// What stands between two parentheses.
#[derive(Default)]
struct Level {
    /// ANDs and ORs of the expression that is being read.
    logical: usize,
    /// Operators since the last of these.
    computed: usize,
    /// The most of them, of this expression.
    most_computed: usize,
    /// The deepest expression before.
    deepest: usize,
    /// The deepest of what is in parentheses.
    inner: usize,
    /// Joins, tables and queries that are put together.
    relations: usize,
    /// Commas stand between tables.
    in_from: bool,
    /// It stands between tables itself.
    in_table: bool,
    /// It is a query.
    is_query: bool,
    /// The most queries within each other's expressions.
    subqueries: usize,
    /// Arithmetic since the last AND or OR.
    arithmetic: usize,
    too_long: bool,
}

impl Level {
    fn end_operand(&mut self) {
        self.too_long |= self.computed > MAX_COMPUTED || self.arithmetic > MAX_ARITHMETIC;
        self.most_computed = self.most_computed.max(self.computed);
        (self.computed, self.arithmetic) = (0, 0);
    }

    fn end_item(&mut self) {
        self.end_operand();
        self.deepest = self.deepest.max(self.logical + self.most_computed);
        (self.logical, self.most_computed) = (0, 0);
    }

    /// The level around this one, with what this one adds to it.
    fn close(mut self, mut outer: Level) -> Result<Level> {
        outer.inner = outer.inner.max(self.depth()? + 1);
        let subqueries = self.subqueries + usize::from(self.is_query && !self.in_table);
        outer.subqueries = outer.subqueries.max(subqueries);
        if subqueries > MAX_SUBQUERIES { Err(too_deep()) } else { Ok(outer) }
    }

    fn word(&mut self, word: Keyword) {
        self.is_query |= word == Keyword::SELECT;
        match word {
            Keyword::AND | Keyword::OR => {
                self.end_operand();
                self.logical += 1;
            }
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT => {
                self.end_item();
                (self.relations, self.in_from) = (self.relations + 1, false);
            }
            Keyword::JOIN => {
                self.end_item();
                self.relations += 1;
            }
            Keyword::FROM => {
                self.end_item();
                self.in_from = true;
            }
            Keyword::SELECT
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::RETURNING
            | Keyword::VALUES
            | Keyword::SET => {
                self.end_item();
                self.in_from = false;
            }
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE | Keyword::ON => self.end_item(),
            Keyword::IS
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::BETWEEN
            | Keyword::SIMILAR => self.computed += 1,
            _ => {}
        }
    }

    fn depth(&mut self) -> Result<usize> {
        self.end_item();
        let depth = self.deepest + self.inner + self.relations;
        if self.too_long || self.relations > MAX_RELATIONS || depth > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(depth)
    }
}

fn is_arithmetic(token: &Token) -> bool {
    matches!(token, Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::Caret)
}

/// Whether a token makes a tree of what stands before it.
fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::EOF
            | Token::Word(_)
            | Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedString(_)
            | Token::Whitespace(_)
            | Token::Period
            | Token::Colon
            | Token::SemiColon
            | Token::LBrace
            | Token::RBrace
            | Token::Placeholder(_)
    )
}

#[cfg(test)]
mod tests {
    use crate::parser::parse;
    use quiver_base::SqlState;

    fn state(sql: &str) -> Option<SqlState> {
        parse(sql).err().map(|error| error.state())
    }

    /// Parses on a thread with the stack that the server's have.
    fn on_a_large_stack(test: fn()) {
        let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test);
        thread.expect("a thread").join().expect("the test passes");
    }

    #[test]
    fn long_chains_are_read_and_longer_ones_refused() {
        on_a_large_stack(|| {
            for (term, operator, most) in [
                ("a = 1", " and ", 1_000),
                ("a <> 1", " or ", 1_000),
                ("'a'", " || ", 1_000),
                ("1", " + ", 250),
            ] {
                let chain = |terms: usize| format!("select {}", vec![term; terms].join(operator));
                assert_eq!(state(&chain(most)), None, "{operator}");
                assert_eq!(state(&chain(20_000)), Some(SqlState::STATEMENT_TOO_COMPLEX), "{operator}");
            }
            let casts = |count: usize| format!("select 1{}", "::int".repeat(count));
            assert_eq!(state(&casts(1_000)), None);
            assert_eq!(state(&casts(20_000)), Some(SqlState::STATEMENT_TOO_COMPLEX));
            let union = |count: usize| vec!["select 1"; count].join(" union all ");
            assert_eq!(state(&union(1_000)), None);
            assert_eq!(state(&union(20_000)), Some(SqlState::STATEMENT_TOO_COMPLEX));
        });
    }

    #[test]
    fn lists_are_not_deep() {
        let list = vec!["1"; 50_000].join(", ");
        assert_eq!(state(&format!("select 1 where 1 in ({list})")), None);
        assert_eq!(state(&format!("values ({})", vec!["1 + 1"; 20_000].join("), ("))), None);
    }

    #[test]
    fn calls_within_calls_take_no_time() {
        on_a_large_stack(|| {
            assert_eq!(state(&format!("select {}1{}", "abs(".repeat(60), ")".repeat(60))), None);
            let broken = format!("select {}1{}", "cast(".repeat(60), ")".repeat(59));
            assert!(state(&broken).is_some());
        });
    }

    #[test]
    fn subqueries_in_expressions_are_counted_and_those_in_from_are_not() {
        on_a_large_stack(|| {
            let scalar = |depth: usize| format!("{}1{}", "select (".repeat(depth), ")".repeat(depth));
            assert_eq!(state(&scalar(10)), None);
            assert_eq!(state(&scalar(40)), Some(SqlState::STATEMENT_TOO_COMPLEX));
            let table = format!("{}select 1{}", "select * from (".repeat(30), ") x".repeat(30));
            assert_eq!(state(&table), None);
        });
    }
}
