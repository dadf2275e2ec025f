//! What a statement gives back.

use crate::statement::StatementContext;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use quiver_base::{IndexId, Result, SqlState, TableId};
use quiver_exec::Rows;

/// What executing a statement gave.
pub(crate) enum Outcome {
    /// Rows, then a tag `{tag} {n}` with the number of rows (`SELECT 5`), or the fixed tag.
    Rows { schema: SchemaRef, rows: Rows, tag: Tag },
    /// No rows: a command tag.
    Done(String),
    /// CREATE INDEX whose index is built in the background. Outside a block: commit, then wait with `Cluster::wait_indexed`
    /// before the tag `CREATE INDEX` is sent; in a block the tag is sent at once.
    IndexCreated { table: TableId, index: IndexId },
    /// COPY … FROM STDIN: the client sends data.
    CopyIn(Box<dyn CopySink>),
    /// COPY … TO STDOUT: one item a CopyData message (a line, or a binary tuple; the header and trailer too).
    CopyOut { format: CopyFormat, stream: BoxStream<'static, Result<CopyChunk>> },
}

/// The command tag of a statement that returns rows.
#[derive(Clone, Debug)]
pub(crate) enum Tag {
    /// `SELECT n`, n counted as rows are sent.
    Counted(&'static str),
    /// As it is: `INSERT 0 3` with RETURNING.
    Fixed(String),
}

/// What the client is told about COPY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyFormat {
    /// Binary, else text or csv.
    pub binary: bool,
    /// How many columns.
    pub columns: usize,
}

/// A piece of COPY output: CopyData messages one after the other, with how many rows they complete.
#[derive(Clone, Debug)]
pub(crate) struct CopyChunk {
    /// Payloads, each sent as one CopyData message.
    pub messages: Vec<Bytes>,
    /// Rows among them, for the tag.
    pub rows: u64,
}

/// Takes COPY data. Dropped without `finish` when the client fails or leaves: the transaction is rolled back then.
#[async_trait]
pub(crate) trait CopySink: Send {
    /// What to tell the client.
    fn format(&self) -> CopyFormat;
    /// More bytes; their borders mean nothing. Writes full batches as it goes, so that what it holds stays bounded.
    async fn data(&mut self, ctx: &mut StatementContext<'_>, bytes: Bytes) -> Result<()>;
    /// The end: writes what is left and returns how many rows came in.
    async fn finish(self: Box<Self>, ctx: &mut StatementContext<'_>) -> Result<u64>;
}

/// How loud a notice is. In the order of `client_min_messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // PostgreSQL's words
pub(crate) enum Severity {
    Debug,
    Log,
    Notice,
    Warning,
    /// Always sent.
    Info,
}

/// A message that is no error: `relation "x" already exists, skipping`.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// How loud.
    pub severity: Severity,
    /// SQLSTATE; 00000 for most notices.
    pub state: SqlState,
    /// The text.
    pub message: String,
    /// The DETAIL line.
    pub detail: Option<String>,
    /// The HINT line.
    pub hint: Option<String>,
}

impl Notice {
    /// A NOTICE.
    pub(crate) fn new(state: SqlState, message: impl Into<String>) -> Notice {
        Notice { severity: Severity::Notice, state, message: message.into(), detail: None, hint: None }
    }

    /// A WARNING.
    pub(crate) fn warning(state: SqlState, message: impl Into<String>) -> Notice {
        Notice { severity: Severity::Warning, state, message: message.into(), detail: None, hint: None }
    }
}
