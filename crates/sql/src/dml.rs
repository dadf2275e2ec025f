//! INSERT, UPDATE, DELETE and SELECT … FOR UPDATE: what they change is planned as a query, then written through the
//! session's transaction.

mod change;
mod checks;
mod conflict;
mod defaults;
mod insert;
mod lock;
mod returning;
mod target;
mod together;
mod values;
mod with;

pub(crate) use change::{BoundChange, bind_delete, bind_update, run_change};
pub(crate) use checks::RowChecks;
pub(crate) use defaults::{DefaultValues, Defaults};
pub(crate) use insert::{BoundInsert, bind_insert, run_insert};
pub(crate) use lock::{lock_selected, locked_tables, without_row_columns};
pub(crate) use target::{live_columns, row_schema, target_columns};
pub(crate) use together::{BoundWith, Together, run_with};
pub(crate) use with::{bind_with, is_write, refuse_writes, writes};
