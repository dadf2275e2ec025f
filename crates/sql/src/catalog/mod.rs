//! The system catalogs: pg_catalog and information_schema as tables that any query may join, and the functions that read
//! them. Fixed rows (types, functions, operators) are PostgreSQL 16's and pgvector's own; the rest is made from the
//! catalog that the statement sees. Knows no plans and no protocol.

mod context;
mod deparse;
mod fixed;
mod functions;
mod index_text;
mod information_schema;
mod names;
mod objects;
mod overloads;
mod relations;
mod rows;
mod sessions;
mod shared;
mod statistics;
mod table;

pub(crate) use context::CatalogContext;
pub(crate) use functions::function;
pub(crate) use names::{regclass, regclass_name, regproc, regproc_name, regtype, regtype_name};
pub(crate) use overloads::{is_vector_like, overloads, takes_any_type};
pub(crate) use shared::predefined_role;
pub(crate) use table::{is_always_empty, table};
