//! Rows on their way out: a stream of batches that can stop after any row and go on later.

use super::described::Shape;
use super::guard::{Watch, guarded};
use super::info::SessionInfo;
use crate::encode::{ColumnEncoder, OutputStyle, put_sized};
use crate::wire::connection::{Connection, FLUSH_BYTES, Input};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use quiver_base::{Error, Result, SqlState};
use quiver_exec::Rows;
use std::collections::VecDeque;
use std::sync::Arc;

/// A result that is read piece by piece.
pub(crate) struct RowSource {
    /// The columns.
    pub schema: SchemaRef,
    stream: Option<SendableRecordBatchStream>,
    pending: VecDeque<RecordBatch>,
    /// The flag that the plan looks at.
    pub watch: Watch,
}

impl RowSource {
    /// The rows of a statement that `watch` watches over.
    pub(super) fn new(schema: SchemaRef, rows: Rows, watch: Watch) -> RowSource {
        let (stream, pending) = match rows {
            Rows::Batches(batches) => (None, batches.into()),
            Rows::Stream(stream) => (Some(stream), VecDeque::new()),
        };
        RowSource { schema, stream, pending, watch }
    }

    /// Rows that are all there.
    pub(super) fn of_batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> RowSource {
        RowSource { schema, stream: None, pending: batches.into(), watch: Watch::new(None) }
    }

    /// At least one row and at most `limit`; `None` at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.at_hand(limit) {
                return Ok(Some(batch));
            }
            let Some(stream) = &mut self.stream else { return Ok(None) };
            match stream.next().await {
                Some(batch) => self.pending.push_back(batch.map_err(quiver_exec::from_datafusion)?),
                None => self.stream = None,
            }
        }
    }

    /// [`Self::next`] of what has been read.
    fn at_hand(&mut self, limit: usize) -> Option<RecordBatch> {
        while let Some(batch) = self.pending.pop_front() {
            match batch.num_rows() {
                0 => {}
                rows if rows > limit => {
                    self.pending.push_front(batch.slice(limit, rows - limit));
                    return Some(batch.slice(0, limit));
                }
                _ => return Some(batch),
            }
        }
        None
    }

    /// [`Self::next`] that cancel, timeout and disconnect can stop.
    pub(super) async fn next_guarded(
        &mut self,
        input: &mut Input,
        info: &SessionInfo,
        limit: usize,
    ) -> Result<Option<RecordBatch>> {
        let at_hand = self.at_hand(limit);
        if at_hand.is_some() || self.stream.is_none() {
            return Ok(at_hand);
        }
        let watch = self.watch.clone();
        guarded(input, info, &watch, self.next(limit)).await
    }

    /// Reads all of it into memory: for a cursor that outlives its transaction.
    pub(super) async fn collect(&mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next(usize::MAX).await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl std::fmt::Debug for RowSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowSource").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// How rows are sent: types and formats of the columns, and how values print.
#[derive(Clone, Debug)]
pub(super) struct RowFormat {
    shape: Arc<Shape>,
    style: OutputStyle,
}

impl RowFormat {
    pub(super) fn new(shape: Arc<Shape>, style: OutputStyle) -> RowFormat {
        RowFormat { shape, style }
    }

    /// Sends a batch as DataRow messages, waiting for the client whenever the buffer is full.
    pub(super) async fn send(&self, conn: &mut Connection, batch: &RecordBatch) -> Result<()> {
        let encoders = self
            .shape
            .types
            .iter()
            .zip(batch.columns())
            .map(|(ty, array)| ColumnEncoder::new(ty, array, &self.style))
            .collect::<Result<Vec<_>>>()?;
        let mut row = 0;
        while row < batch.num_rows() {
            while row < batch.num_rows() && conn.output.buffer.len() < FLUSH_BYTES {
                self.put_row(&encoders, row, &mut conn.output.buffer)?;
                row += 1;
            }
            conn.output.flush_if_full().await?;
        }
        Ok(())
    }

    fn put_row(&self, encoders: &[ColumnEncoder], row: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let written = put_values(encoders, &self.shape.formats, row, out);
        let length = u32::try_from(out.len() - start - 1).ok().filter(|length| *length < i32::MAX as u32);
        match (written, length) {
            (Ok(()), Some(length)) => {
                out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            (written, _) => {
                // Half a message must not stay in the buffer: an error message follows.
                out.truncate(start);
                written?;
                Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row is too large to send"))
            }
        }
    }
}

fn put_values(encoders: &[ColumnEncoder], formats: &[i16], row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'D');
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(encoders.len() as u16).to_be_bytes());
    for (encoder, format) in encoders.iter().zip(formats) {
        if encoder.is_null(row) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
        } else if *format == 0 {
            put_sized(out, |out| encoder.text(row, out))?;
        } else {
            put_sized(out, |out| encoder.binary(row, out))?;
        }
    }
    Ok(())
}

/// Format codes as Bind has them, one an item.
pub(super) fn spread_formats(formats: &[i16], count: usize, has: &str, what: &str) -> Result<Vec<i16>> {
    match formats {
        [] => Ok(vec![0; count]),
        [one] => Ok(vec![*one; count]),
        many if many.len() == count => Ok(many.to_vec()),
        many => Err(crate::wire::frontend::violation(format!(
            "bind message has {} {has} {count} {what}",
            many.len()
        ))),
    }
}
