//! What DataFusion's SQL planner says about names, in PostgreSQL's words.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast;
use quiver_base::{Error, SqlState};
use quiver_exec::from_datafusion;
use std::ops::ControlFlow;

/// Whether planning failed because output names are not unique: worth another try with marks on them.
pub(super) fn is_duplicate_name(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::SchemaError(inner, _) => matches!(
            inner.as_ref(),
            SchemaError::DuplicateQualifiedField { .. }
                | SchemaError::DuplicateUnqualifiedField { .. }
                | SchemaError::AmbiguousReference { .. }
        ),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            is_duplicate_name(inner)
        }
        DataFusionError::Shared(inner) => is_duplicate_name(inner),
        DataFusionError::Collection(all) => all.iter().any(is_duplicate_name),
        DataFusionError::Plan(text) => text.contains("unique expression names"),
        _ => false,
    }
}

/// The error a client sees.
pub(super) fn from_planner(error: DataFusionError) -> Error {
    if let Some(error) = missing_relation(&error) {
        return error;
    }
    if let DataFusionError::NotImplemented(text) = &error
        && text.starts_with("unnest() does not support null")
    {
        return Error::new(SqlState::AMBIGUOUS_FUNCTION, "function unnest(unknown) is not unique");
    }
    match plan_text(&error) {
        Some(text) => from_text(text).unwrap_or_else(|| from_datafusion(error)),
        None => from_datafusion(error),
    }
}

/// A column of a table that is not in FROM.
fn missing_relation(error: &DataFusionError) -> Option<Error> {
    match error {
        DataFusionError::SchemaError(inner, _) => {
            let SchemaError::FieldNotFound { field, valid_fields } = inner.as_ref() else { return None };
            let relation = field.relation.as_ref()?;
            let known = valid_fields
                .iter()
                .any(|valid| valid.relation.as_ref().is_some_and(|valid| valid.table() == relation.table()));
            (!known).then(|| {
                Error::new(
                    SqlState::UNDEFINED_TABLE,
                    format!("missing FROM-clause entry for table \"{}\"", relation.table()),
                )
            })
        }
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => missing_relation(inner),
        DataFusionError::Shared(inner) => missing_relation(inner),
        DataFusionError::Collection(all) => all.first().and_then(missing_relation),
        _ => None,
    }
}

/// A column of USING that one side does not have.
pub(super) fn missing_in_using(query: &ast::Query, error: &DataFusionError) -> Option<Error> {
    let (field, valid) = not_found(error)?;
    let mut finder = UsingFinder { name: &field.name, valid, side: None };
    let _ = ast::Visit::visit(query, &mut finder);
    let message = format!(
        "column \"{}\" specified in USING clause does not exist in {} table",
        field.name, finder.side?
    );
    Some(Error::new(SqlState::UNDEFINED_COLUMN, message))
}

/// Looks for the join whose USING names a column that is not among those of one side.
struct UsingFinder<'a> {
    name: &'a str,
    valid: &'a [Column],
    side: Option<&'static str>,
}

impl ast::Visitor for UsingFinder<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<()> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if !super::names::using_columns(&join.join_operator).any(|column| column == self.name) {
                continue;
            }
            let right = super::names::factor_name(&join.relation);
            let of_right = |column: &Column| {
                let relation = column.relation.as_ref().map(|relation| relation.table());
                relation.is_some() && relation == right.as_deref()
            };
            self.side = Some(if self.valid.iter().any(of_right) { "right" } else { "left" });
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn not_found(error: &DataFusionError) -> Option<(&Column, &[Column])> {
    match error {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => Some((field, valid_fields)),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => not_found(inner),
        DataFusionError::Shared(inner) => not_found(inner),
        DataFusionError::Collection(all) => all.first().and_then(not_found),
        _ => None,
    }
}

fn plan_text(error: &DataFusionError) -> Option<&str> {
    match error {
        DataFusionError::Plan(text) => Some(text),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => plan_text(inner),
        DataFusionError::Shared(inner) => plan_text(inner),
        DataFusionError::Collection(all) => all.first().and_then(plan_text),
        _ => None,
    }
}

fn from_text(text: &str) -> Option<Error> {
    let quoted = |prefix: &str| {
        let rest = &text[text.find(prefix)? + prefix.len()..];
        rest.split(['\'', '"', '\n']).next().map(str::to_owned)
    };
    if let Some(error) = of_clause(text) {
        return Some(error);
    }
    if let Some(name) = quoted("Invalid function '") {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name).to_owned();
        if WINDOW_FUNCTIONS.contains(&name.as_str()) {
            let message = format!("window function {name} requires an OVER clause");
            return Some(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        return Some(
            Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist")).with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ),
        );
    }
    if let Some(error) = arms_that_do_not_meet(text) {
        return Some(error);
    }
    if text.contains("must be in GROUP BY") || text.contains("must appear in the GROUP BY") {
        let column = quoted("column \"")
            .or_else(|| quoted("expression \""))
            .or_else(|| quoted("references: "))
            .unwrap_or_default();
        let column = column.split_whitespace().next().unwrap_or_default().to_owned();
        return Some(Error::new(
            SqlState::GROUPING_ERROR,
            format!(
                "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
            ),
        ));
    }
    None
}

const WINDOW_FUNCTIONS: [&str; 11] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// What may not stand in a clause.
fn of_clause(text: &str) -> Option<Error> {
    let (state, message) = if text.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        (SqlState::GROUPING_ERROR, "aggregate functions are not allowed in WHERE".to_owned())
    } else if text.starts_with("Aggregate function calls cannot be nested") {
        (SqlState::GROUPING_ERROR, "aggregate function calls cannot be nested".to_owned())
    } else if text.starts_with("LIMIT must be >= 0") {
        (SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE, "LIMIT must not be negative".to_owned())
    } else if text.starts_with("OFFSET must be >=0") {
        (SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE, "OFFSET must not be negative".to_owned())
    } else if text.starts_with("Invalid escape character in LIKE") {
        (SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string".to_owned())
    } else if let Some(rest) = text.strip_prefix("Order by column out of bounds, specified: ") {
        let position = rest.split(',').next().unwrap_or_default();
        (SqlState::INVALID_COLUMN_REFERENCE, format!("ORDER BY position {position} is not in select list"))
    } else {
        let (_, ty) = text
            .strip_prefix("Cannot create filter with non-boolean predicate ")
            .and_then(|rest| rest.rsplit_once(" returning "))?;
        let ty = match ty {
            "Int16" => "smallint",
            "Int32" => "integer",
            "Int64" => "bigint",
            "Float32" => "real",
            "Float64" => "double precision",
            "Utf8" => "text",
            "Date32" => "date",
            ty if ty.starts_with("Decimal") => "numeric",
            ty => ty,
        };
        let message = format!("argument of WHERE must be type boolean, not type {ty}");
        (SqlState::DATATYPE_MISMATCH, message)
    };
    Some(Error::new(state, message))
}

/// Columns of a UNION whose types the planner finds no common one for. It names them as the engine does.
fn arms_that_do_not_meet(text: &str) -> Option<Error> {
    let (_, types) = text.split_once("Incompatible inputs for Union: Previous inputs were of type ")?;
    let (first, rest) = types.split_once(", but got incompatible type ")?;
    let arrays = first.starts_with("List(") && rest.starts_with("List(");
    Some(match arrays {
        true => {
            Error::new(SqlState::CANNOT_COERCE, "UNION could not convert the type of one array to the other")
        }
        false => Error::new(SqlState::DATATYPE_MISMATCH, "UNION types cannot be matched"),
    })
}
