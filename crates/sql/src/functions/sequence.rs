//! nextval, currval, lastval and setval.

use super::session::{FunctionContext, off_the_runtime};
use super::{Args, Function};
use arrow::array::{Array, ArrayRef, Int64Array, Int64Builder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType, TableId};
use quiver_cluster::Sequence;
use std::sync::Arc;

impl FunctionContext {
    /// A sequence named by text, as regclass reads it, or by oid.
    pub(crate) fn sequence(&self, text: &str) -> Result<Arc<Sequence>> {
        if let Ok(oid) = text.parse::<u32>() {
            return self.sequence_by_id(TableId(oid));
        }
        let (schema, name) = match split(text).as_slice() {
            [name] => (None, name.clone()),
            [schema, name] => (Some(schema.clone()), name.clone()),
            _ => return Err(no_relation(text)),
        };
        let find = |schema: &str| {
            let id = self.database.schemas.values().find(|found| found.name == schema)?.id;
            self.database.sequences.values().find(|sequence| sequence.schema == id && sequence.name == name)
        };
        let found = match &schema {
            Some(schema) => find(schema),
            None => self.search_path.iter().find_map(|schema| find(schema)),
        };
        match found {
            Some(sequence) => Ok(sequence.clone()),
            None if self.database.tables.values().any(|table| table.name == name) => {
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence")))
            }
            None => Err(no_relation(text)),
        }
    }

    fn sequence_by_id(&self, id: TableId) -> Result<Arc<Sequence>> {
        self.database.sequences.get(&id).cloned().ok_or_else(|| no_relation(&id.to_string()))
    }

    /// The next value, remembered for currval. Waits for the log when the cached range is used up.
    pub(crate) fn next_value(&self, sequence: TableId) -> Result<i64> {
        let database = self.session.database_id;
        let value = wait(self.cluster.next_value(database, sequence))?;
        self.session.set_current_value(sequence, value);
        Ok(value)
    }
}

fn no_relation(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// A possibly quoted and qualified name.
fn split(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut characters = text.trim().chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    parts
}

/// Waits for a future from code that is not async.
fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(handle) => off_the_runtime(|| handle.block_on(future)),
        Err(_) => Err(Error::internal("sequences need a runtime")),
    }
}

fn each(args: &Args<'_>, value: impl Fn(&str) -> Result<i64>) -> Result<ArrayRef> {
    let names = args.text(0)?;
    let mut out = Int64Builder::with_capacity(args.rows());
    for row in 0..args.rows() {
        match names.is_null(row) {
            true => out.append_null(),
            false => out.append_value(value(names.value(row))?),
        }
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let (next, current, last, set) = (context.clone(), context.clone(), context.clone(), context.clone());
    vec![
        Function::new("nextval", Volatility::Volatile, SqlType::Int8, move |args| {
            each(args, |name| next.next_value(next.sequence(name)?.id))
        }),
        Function::new("currval", Volatility::Volatile, SqlType::Int8, move |args| {
            each(args, |name| {
                let sequence = current.sequence(name)?;
                current.session.current_value(sequence.id).ok_or_else(|| {
                    Error::new(
                        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                        format!(
                            "currval of sequence \"{}\" is not yet defined in this session",
                            sequence.name
                        ),
                    )
                })
            })
        }),
        Function::new("lastval", Volatility::Volatile, SqlType::Int8, move |args| {
            let value = last.session.last_value().ok_or_else(|| {
                Error::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "lastval is not yet defined in this session",
                )
            })?;
            Ok(Arc::new(Int64Array::from(vec![value; args.rows()])))
        }),
        Function::new("setval", Volatility::Volatile, SqlType::Int8, move |args| set_value(args, &set)),
    ]
}

fn set_value(args: &Args<'_>, context: &FunctionContext) -> Result<ArrayRef> {
    let (names, values) = (args.text(0)?, args.int8(1)?);
    let called = if args.count() > 2 { Some(args.bool(2)?) } else { None };
    for row in 0..args.rows() {
        if names.is_null(row) || values.is_null(row) {
            continue;
        }
        let sequence = context.sequence(names.value(row))?;
        let value = values.value(row);
        if value < sequence.min || value > sequence.max {
            return Err(Error::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    sequence.name, sequence.min, sequence.max
                ),
            ));
        }
        let called = called.as_ref().is_none_or(|called| called.value(row));
        let database = context.session.database_id;
        wait(context.cluster.set_value(database, sequence.id, value, called))?;
        if called {
            context.session.set_current_value(sequence.id, value);
        }
    }
    Ok(Arc::new(values))
}
