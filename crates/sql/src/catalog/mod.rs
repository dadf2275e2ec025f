//! The system catalogs: pg_catalog and information_schema as tables that any query may join, and the functions that read
//! them. Fixed rows (types, functions, operators) are PostgreSQL 16's and pgvector's own; the rest is made from the
//! catalog that the statement sees. Knows no plans and no protocol.

mod checks;
mod coercions;
mod context;
mod deparse;
mod describe;
mod fixed;
mod functions;
mod index_text;
mod information_schema;
mod keywords;
mod names;
mod objects;
mod overloads;
mod plans;
mod references;
mod relations;
mod routines;
mod rows;
mod sessions;
mod shared;
mod signatures;
mod statistics;
mod table;
mod views;

pub(crate) use coercions::{ANY, Reach, can_coerce, common};
pub(crate) use context::CatalogContext;
pub(crate) use functions::function;
pub(crate) use keywords::{is_table_function, table_function};
pub(crate) use overloads::{is_vector_like, overloads};
pub(crate) use references::{object_name, object_oid};
pub(crate) use shared::predefined_role;
pub(crate) use signatures::{
    Choice, Signature, function as chosen_function, is_function, is_open, is_strict,
    operator as chosen_operator,
};
pub(crate) use table::{is_always_empty, table};
