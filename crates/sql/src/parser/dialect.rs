//! sqlparser's PostgreSQL, except that parsing takes a time in proportion to the text: an argument of a call is read once, and
//! what sqlparser tries in several ways is given up when it has tried too long.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use std::any::TypeId;
use std::sync::atomic::{AtomicUsize, Ordering};

const POSTGRESQL: PostgreSqlDialect = PostgreSqlDialect {};

/// The dialect for one statement.
#[derive(Debug)]
pub(super) struct Bounded {
    /// How often an operand may still be begun.
    budget: AtomicUsize,
}

impl Bounded {
    /// For so many tokens.
    pub(super) fn new(tokens: usize) -> Bounded {
        Bounded { budget: AtomicUsize::new(tokens.saturating_mul(32).saturating_add(10_000)) }
    }
}

/// Answers that are PostgreSQL's.
macro_rules! as_postgresql {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            POSTGRESQL.$name()
        })*
    };
}

impl Dialect for Bounded {
    fn dialect(&self) -> TypeId {
        POSTGRESQL.dialect()
    }

    fn parse_prefix(&self, _parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let left = self.budget.load(Ordering::Relaxed);
        self.budget.store(left.saturating_sub(1), Ordering::Relaxed);
        (left == 0).then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let ways = [
            (&[Keyword::BETWEEN, Keyword::SYMMETRIC][..], false, true),
            (&[Keyword::NOT, Keyword::BETWEEN, Keyword::SYMMETRIC][..], true, true),
            (&[Keyword::BETWEEN, Keyword::ASYMMETRIC][..], false, false),
            (&[Keyword::NOT, Keyword::BETWEEN, Keyword::ASYMMETRIC][..], true, false),
        ];
        let (_, negated, either_way) = ways.into_iter().find(|(words, ..)| parser.parse_keywords(words))?;
        let between = parser.parse_between(expr.clone(), negated);
        Some(between.map(|between| if either_way { in_either_order(between) } else { between }))
    }

    // As PostgreSQL's would have it, every argument would be read twice, and one of a call within a call four times.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRESQL.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRESQL.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRESQL.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRESQL.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        POSTGRESQL.is_reserved_for_identifier(kw)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRESQL.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        POSTGRESQL.get_next_precedence(parser)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        POSTGRESQL.prec_value(prec)
    }

    as_postgresql!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );
}

/// BETWEEN SYMMETRIC: inside, whichever of the bounds is the lower.
fn in_either_order(between: Expr) -> Expr {
    let Expr::Between { expr, negated, low, high } = between else { return between };
    let nested = |expr: Expr| Box::new(Expr::Nested(Box::new(expr)));
    let swapped = Expr::Between { expr: expr.clone(), negated, low: high.clone(), high: low.clone() };
    let between = Expr::Between { expr, negated, low, high };
    let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
    let both = Expr::BinaryOp { left: nested(between), op, right: nested(swapped) };
    Expr::Nested(Box::new(both))
}
