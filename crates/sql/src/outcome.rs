//! What a statement gives back.

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

/// What executing a statement gave.
pub(crate) enum Outcome {
    /// Rows, then a tag `{tag} {n}` with the number of rows (`SELECT 5`), or the fixed tag.
    Rows { schema: SchemaRef, stream: SendableRecordBatchStream, tag: Tag },
    /// No rows: a command tag.
    Done(String),
}

/// The command tag of a statement that returns rows.
pub(crate) enum Tag {
    /// `SELECT n`, n counted as rows are sent.
    Counted(&'static str),
    /// As it is: `INSERT 0 3` with RETURNING.
    Fixed(String),
}
