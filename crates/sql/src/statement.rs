//! A parsed statement, sorted by who handles it, and the two steps every statement goes through: analyse, execute.
//! Parsed once; never rewritten as text.

use crate::outcome::{Notice, Outcome};
use crate::session::{SessionCommand, SessionInfo};
use crate::settings::Settings;
use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use quiver_base::{Error, Result, SqlType};
use quiver_cluster::{Cluster, Txn};
use quiver_exec::Engine;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One statement of a query string.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    /// What it is.
    pub statement: Statement,
    /// Its own text, for pg_prepared_statements, logs and error positions.
    pub sql: String,
    /// The byte offset of `sql` in the query string it came from.
    pub offset: usize,
}

/// Sorted by who handles it.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    /// Nothing between two semicolons.
    Empty,
    /// SELECT, VALUES, TABLE, WITH … SELECT, INSERT, UPDATE, DELETE, EXPLAIN: planned, may take parameters.
    Plannable(Box<ast::Statement>),
    /// CREATE, ALTER, DROP, TRUNCATE, COMMENT.
    Ddl(Box<ast::Statement>),
    /// COPY.
    Copy(Box<ast::Statement>),
    /// BEGIN, COMMIT, SET, SHOW, PREPARE, DECLARE, DISCARD …: of the session itself. The parser gives each statement's
    /// text to [`crate::session::parse_command`] first, which takes those it knows by their first words.
    Session(Box<SessionCommand>),
    /// VACUUM, ANALYZE, CHECKPOINT, REINDEX.
    Maintenance(Box<ast::Statement>),
}

/// What a statement can reach while it is analysed and executed. The session has begun the statement: the snapshot is
/// taken, the clock for `statement_timeout` runs.
pub(crate) struct StatementContext<'a> {
    /// The node.
    pub cluster: &'a Arc<Cluster>,
    /// The planner and executor.
    pub engine: &'a Arc<Engine>,
    /// The session's transaction, or the statement's own.
    pub txn: &'a mut Txn,
    /// Shared with the session: set_config writes here too.
    pub settings: &'a Settings,
    /// Who is asking.
    pub session: &'a Arc<SessionInfo>,
    /// Set on cancel, timeout and disconnect.
    pub cancel: Arc<AtomicBool>,
    /// Inside BEGIN, or one of several statements of a string: VACUUM and CREATE DATABASE are refused then.
    pub in_block: bool,
    /// Sent before the statement's result.
    pub notices: &'a mut Vec<Notice>,
}

/// A parameter's value, carried by the Arrow type of its SQL type. NULL is the typed null.
pub(crate) type ParamValue = ScalarValue;

/// A statement whose names and types are known. Kept by prepared statements; holds no snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Analyzed {
    /// What was analysed.
    pub parsed: Arc<Parsed>,
    /// One type a parameter.
    pub params: Vec<SqlType>,
    /// The result's columns; `None` if it has no rows.
    pub columns: Option<SchemaRef>,
}

impl Analyzed {
    /// A statement that nobody plans: of the session, or empty.
    pub(crate) fn without_plan(parsed: Arc<Parsed>, columns: Option<SchemaRef>) -> Analyzed {
        Analyzed { parsed, params: Vec::new(), columns }
    }
}

/// Splits a query string into statements. Positions of syntax errors count characters of the whole string, from 1.
pub(crate) fn parse(_sql: &str) -> Result<Vec<Parsed>> {
    Err(Error::unsupported("SQL"))
}

/// Resolves names and types. `declared[i]` is the type a client or PREPARE gave `$i+1`; parameters without one are inferred,
/// and fail with 42P18 if they cannot be. Error positions count characters of `parsed.sql`, from 1: the session adds the offset.
pub(crate) async fn analyze(
    _ctx: &mut StatementContext<'_>,
    parsed: Arc<Parsed>,
    _declared: &[Option<SqlType>],
) -> Result<Analyzed> {
    Ok(Analyzed { parsed, params: Vec::new(), columns: None })
}

/// Runs an analysed statement, binding and planning again if the catalog has changed. Never called for
/// [`Statement::Session`] and [`Statement::Empty`].
pub(crate) async fn execute(
    _ctx: &mut StatementContext<'_>,
    _analyzed: &Analyzed,
    _params: &[ParamValue],
) -> Result<Outcome> {
    Err(Error::unsupported("this statement"))
}
