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
        ArrowError::CastError(text) | ArrowError::ParseError(text) => cast(text),
        ArrowError::InvalidArgumentError(text) if text.contains("too large to store") => cast(text),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => translate(inner),
            None => Error::internal(inner.to_string()),
        },
        other => Error::from_arrow_text(other),
    }
}

trait FromArrowText {
    fn from_arrow_text(error: &ArrowError) -> Error;
}

impl FromArrowText for Error {
    fn from_arrow_text(error: &ArrowError) -> Error {
        let state = match error {
            ArrowError::InvalidArgumentError(_) => SqlState::DATA_EXCEPTION,
            _ => SqlState::INTERNAL_ERROR,
        };
        Error::new(state, error.to_string())
    }
}

fn division_by_zero() -> Error {
    Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

fn overflow(_text: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range")
}

fn cast(text: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, text.to_owned())
}

fn plan(text: &str) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, text.to_owned())
}

fn execution(text: &str) -> Error {
    Error::new(SqlState::INTERNAL_ERROR, text.to_owned())
}
