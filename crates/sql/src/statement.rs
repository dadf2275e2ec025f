//! A parsed statement, sorted by who handles it. Parsed once; never rewritten as text.

use datafusion::sql::sqlparser::ast;

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
    /// BEGIN, COMMIT, SET, SHOW, PREPARE, DECLARE, DISCARD …: of the session itself.
    Session(Box<ast::Statement>),
    /// VACUUM, ANALYZE, CHECKPOINT, REINDEX.
    Maintenance(Box<ast::Statement>),
}
