//! DataFusion's errors as errors with a SQLSTATE, and ours as DataFusion's.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use quiver_base::{Error, SqlState};
use std::error::Error as StdError;

/// Wraps our error so that it passes through DataFusion unchanged.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Finds our own error inside, or picks the SQLSTATE that PostgreSQL would give.
pub fn from_datafusion(error: DataFusionError) -> Error {
    if let Some(error) = find_own(&error) {
        return error;
    }
    translate(&error)
}

/// Our own error anywhere in the chain of causes.
fn find_own(error: &(dyn StdError + 'static)) -> Option<Error> {
    if let Some(own) = error.downcast_ref::<Error>() {
        return Some(own.clone());
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return match error {
            DataFusionError::External(inner) => find_own(inner.as_ref()),
            DataFusionError::ArrowError(inner, _) => find_own(inner.as_ref()),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                find_own(inner.as_ref())
            }
            DataFusionError::Shared(inner) => find_own(inner.as_ref()),
            DataFusionError::Collection(all) => all.iter().find_map(|one| find_own(one)),
            _ => None,
        };
    }
    match error.downcast_ref::<ArrowError>() {
        Some(ArrowError::ExternalError(inner)) => find_own(inner.as_ref()),
        _ => None,
    }
}

fn translate(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) => translate(inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Diagnostic(_, inner) => translate(inner),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => translate(first),
            None => Error::internal("an empty list of errors"),
        },
        DataFusionError::External(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => translate(inner),
            None => match inner.downcast_ref::<ArrowError>() {
                Some(inner) => arrow(inner),
                None => Error::internal(inner.to_string()),
            },
        },
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::SchemaError(inner, _) => schema(inner),
        DataFusionError::SQL(inner, _) => Error::new(SqlState::SYNTAX_ERROR, inner.to_string()),
        DataFusionError::NotImplemented(text) => Error::new(SqlState::FEATURE_NOT_SUPPORTED, text_of(text)),
        DataFusionError::Plan(text) => plan(&text_of(text)),
        DataFusionError::Execution(text) => execution(&text_of(text)),
        DataFusionError::ResourcesExhausted(text) => {
            Error::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(text_of(text))
        }
        DataFusionError::ExecutionJoin(cause) => Error::internal(format!("a query task failed: {cause}")),
        DataFusionError::IoError(cause) => Error::new(SqlState::IO_ERROR, cause.to_string()),
        DataFusionError::Configuration(text) => Error::new(SqlState::INVALID_PARAMETER_VALUE, text_of(text)),
        other => Error::internal(text_of(&other.to_string())),
    }
}

/// A message without the backtrace that a debug build appends.
fn text_of(text: &str) -> String {
    text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(text).trim_end().to_owned()
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            let name = match &field.relation {
                Some(relation) => format!("column {}.{} does not exist", relation.table(), field.name),
                None => format!("column \"{}\" does not exist", field.name),
            };
            Error::new(SqlState::UNDEFINED_COLUMN, name)
        }
        SchemaError::AmbiguousReference { field } => Error::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
    }
}

fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(text) => overflow(text),
        ArrowError::ComputeError(text) if text.contains("verflow") => overflow(text),
        ArrowError::ComputeError(text) if text.starts_with("Regular expression did not compile") => {
            Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {text}"))
        }
        ArrowError::CastError(text) | ArrowError::ParseError(text) => cast(text),
        ArrowError::InvalidArgumentError(text) if text.contains("too large to store") => cast(text),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => translate(inner),
            None => Error::internal(inner.to_string()),
        },
        ArrowError::InvalidArgumentError(text) => Error::new(SqlState::DATA_EXCEPTION, text.clone()),
        other => Error::internal(other.to_string()),
    }
}

fn division_by_zero() -> Error {
    Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// Arrow says `Overflow happened on: 1 + 2`, and does not say of which type.
fn overflow(text: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range").with_detail(text)
}

fn cast(text: &str) -> Error {
    // "Cannot cast string 'x' to value of Int32 type"
    if let Some((value, ty)) = between(text, "Cannot cast string '", "' to value of ", " type") {
        return Error::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {}: \"{value}\"", type_name(ty)),
        );
    }
    // "Can't cast value 70000 to type Int16"
    if let Some((_, ty)) = between(text, "Can't cast value ", " to type ", "") {
        let message = format!("{} out of range", type_name(ty));
        return Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message);
    }
    if text.contains("too large to store") || text.contains("Overflowing") {
        return Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(text);
    }
    if text.starts_with("Casting from ") || text.contains("not supported") {
        return Error::new(SqlState::CANNOT_COERCE, text);
    }
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, text)
}

fn between<'a>(text: &'a str, before: &str, middle: &str, after: &str) -> Option<(&'a str, &'a str)> {
    let rest = &text[text.find(before)? + before.len()..];
    let (first, rest) = rest.rsplit_once(middle)?;
    let second = if after.is_empty() { rest.trim_end_matches('.') } else { rest.split_once(after)?.0 };
    Some((first, second))
}

fn type_name(arrow: &str) -> &str {
    match arrow.trim() {
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Boolean" => "boolean",
        "Date32" => "date",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Null" => "unknown",
        "List(Float32)" => "vector",
        other if other.starts_with("Decimal") => "numeric",
        other if other.starts_with("Timestamp") => "timestamp",
        other if other.starts_with("Time64") => "time",
        other if other.starts_with("Interval") => "interval",
        other => other,
    }
}

/// DataFusion's planner speaks plain text: what it says decides.
fn plan(text: &str) -> Error {
    let first_line = text.lines().next().unwrap_or(text);
    let quoted = |prefix: &str| first_line.split_once(prefix).and_then(|(_, rest)| rest.split('\'').next());
    if let Some(name) = quoted("Invalid function '") {
        return Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist"));
    }
    if let Some(call) = quoted("argument types '") {
        return no_function(call);
    }
    if let Some(name) = quoted("table '").filter(|_| text.contains("not found")) {
        let name = name.rsplit('.').next().unwrap_or(name);
        return Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    }
    let state = if text.contains("No function matches") || text.contains("Failed to coerce") {
        SqlState::UNDEFINED_FUNCTION
    } else if text.contains("GROUP BY") {
        SqlState::GROUPING_ERROR
    } else if text.contains("coerce") || text.contains("common argument type") || text.contains("Cannot cast")
    {
        SqlState::DATATYPE_MISMATCH
    } else if text.contains("o field named") {
        SqlState::UNDEFINED_COLUMN
    } else if text.contains("unique expression names") {
        SqlState::DUPLICATE_COLUMN
    } else if text.contains("not implemented")
        || text.contains("not supported")
        || text.contains("unsupported")
    {
        SqlState::FEATURE_NOT_SUPPORTED
    } else {
        SqlState::SYNTAX_ERROR
    };
    Error::new(state, first_line)
}

/// `call` is `name(Int64, Utf8)`.
fn no_function(call: &str) -> Error {
    let (name, types) = call.split_once('(').unwrap_or((call, ")"));
    let types = types.strip_suffix(')').unwrap_or(types);
    // A comma inside a nested type's parentheses makes odd names, not wrong ones.
    let types: Vec<&str> = types.split(", ").map(type_name).collect();
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({}) does not exist", types.join(", ")))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

fn execution(text: &str) -> Error {
    let state = if text.contains("more than one row") {
        return Error::new(
            SqlState::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        );
    } else if text.contains("Divide by zero") || text.contains("division by zero") {
        return division_by_zero();
    } else if text.contains("negative count not allowed") {
        return Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed");
    } else if text.contains("field position must not be zero") {
        SqlState::INVALID_PARAMETER_VALUE
    } else if text.contains("verflow") || text.contains("out of range") {
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE
    } else if text.contains("parsing") || text.contains("Cannot cast") || text.contains("invalid") {
        SqlState::INVALID_TEXT_REPRESENTATION
    } else {
        SqlState::INTERNAL_ERROR
    };
    Error::new(state, text)
}

/// Where in the statement DataFusion's planner found fault: line and column, both from 1.
pub fn location(error: &DataFusionError) -> Option<(u64, u64)> {
    let span = error.diagnostic()?.span?;
    Some((span.start.line, span.start.column))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests

    use super::*;
    use datafusion::prelude::SessionContext;
    use std::sync::Arc;

    #[test]
    fn our_own_error_comes_through_any_wrapping() {
        let own = Error::new(SqlState::UNIQUE_VIOLATION, "taken").with_detail("Key (id)=(1).");
        let wrapped = to_datafusion(own).context("while planning");
        let wrapped = DataFusionError::Shared(Arc::new(wrapped));
        let wrapped = ArrowError::ExternalError(Box::new(wrapped));
        let wrapped = DataFusionError::Collection(vec![DataFusionError::ArrowError(Box::new(wrapped), None)]);
        let found = from_datafusion(wrapped);
        assert_eq!(found.state(), SqlState::UNIQUE_VIOLATION);
        assert_eq!(found.detail(), Some("Key (id)=(1)."));
    }

    #[tokio::test]
    async fn datafusions_errors_get_postgresqls_state() {
        let context = SessionContext::new();
        context.sql("CREATE TABLE t AS VALUES (1, 'a'), (2, 'b')").await.unwrap().collect().await.unwrap();
        for (sql, state, message) in [
            ("SELECT x FROM t", "42703", "column \"x\" does not exist"),
            ("SELECT t.x FROM t", "42703", "column t.x does not exist"),
            ("SELECT 1 FROM u", "42P01", "relation \"u\" does not exist"),
            ("SELECT frobnicate(1)", "42883", "function frobnicate does not exist"),
            ("SELECT column1 FROM t a, t b", "42702", "column reference \"column1\" is ambiguous"),
            ("SELECT 1 / 0", "22012", "division by zero"),
            ("SELECT CAST('x' AS int)", "22P02", "invalid input syntax for type integer: \"x\""),
            ("SELECT CAST(70000 AS smallint)", "22003", "smallint out of range"),
            ("SELECT 1 +", "42601", ""),
            (
                "SELECT (SELECT column1 FROM t)",
                "21000",
                "more than one row returned by a subquery used as an expression",
            ),
        ] {
            let error = match context.sql(sql).await {
                Ok(frame) => frame.collect().await.expect_err(sql),
                Err(error) => error,
            };
            let text = error.to_string();
            let error = from_datafusion(error);
            assert_eq!(error.state().code(), state, "{sql}: {text}");
            assert!(error.message().contains(message), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn the_planner_says_where() {
        let mut config = datafusion::prelude::SessionConfig::new();
        config.options_mut().sql_parser.collect_spans = true;
        let context = SessionContext::new_with_config(config);
        let error = context.sql("SELECT\n  x FROM (SELECT 1 AS y) t").await.unwrap_err();
        assert_eq!(location(&error), Some((2, 3)));
    }
}
