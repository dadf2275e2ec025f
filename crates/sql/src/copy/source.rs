//! COPY TO: batches of a query as lines or tuples.

use super::options::{Format, Header, Options};
use super::{binary, csv, text};
use crate::encode::{ColumnEncoder, OutputStyle};
use crate::outcome::CopyChunk;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use quiver_base::{Result, SqlType};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// The data of a query.
pub(super) fn encode(
    batches: SendableRecordBatchStream,
    schema: SchemaRef,
    options: Options,
    style: OutputStyle,
) -> Result<BoxStream<'static, Result<CopyChunk>>> {
    let format = options.format;
    // As PostgreSQL does it, and clients count on it: each message is a tuple, the first one with the header before it.
    let mut header = match format {
        Format::Binary => Some(binary::HEADER),
        _ => None,
    };
    let trailer = header.iter().map(|_| Bytes::from_static(&binary::TRAILER)).collect::<Vec<_>>();
    let names = match options.header {
        Header::None => None,
        _ if format == Format::Binary => None,
        _ => Some(Ok(CopyChunk { messages: vec![header_line(&schema, &options)], rows: 0 })),
    };
    let types: Vec<SqlType> =
        schema.fields().iter().map(|field| SqlType::of_field(field).unwrap_or(SqlType::Text)).collect();
    let encoder = Arc::new(Encoder { schema, types, options, style });
    let parts = batches.map(Some).chain(stream::iter([None]));
    let body = parts.map(move |part| {
        let mut chunk = match part {
            Some(batch) => encoder.batch(&batch.map_err(from_datafusion)?)?,
            None => CopyChunk { messages: trailer.clone(), rows: 0 },
        };
        if let Some(first) = chunk.messages.first_mut()
            && let Some(header) = header.take()
        {
            *first = [header.as_slice(), first].concat().into();
        }
        Ok(chunk)
    });
    Ok(stream::iter(names).chain(body).boxed())
}

fn header_line(schema: &SchemaRef, options: &Options) -> Bytes {
    let mut line = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        if index > 0 {
            line.push(options.delimiter);
        }
        match options.format {
            Format::Csv => {
                csv::write(field.name().as_bytes(), options, false, schema.fields().len() == 1, &mut line)
            }
            _ => text::write(field.name().as_bytes(), options.delimiter, &mut line),
        }
    }
    line.push(b'\n');
    line.into()
}

struct Encoder {
    schema: SchemaRef,
    types: Vec<SqlType>,
    options: Options,
    style: OutputStyle,
}

impl Encoder {
    fn batch(&self, batch: &RecordBatch) -> Result<CopyChunk> {
        let columns = self
            .types
            .iter()
            .zip(batch.columns())
            .map(|(ty, array)| ColumnEncoder::new(ty, array, &self.style))
            .collect::<Result<Vec<_>>>()?;
        let mut messages = Vec::with_capacity(batch.num_rows());
        let mut value = Vec::new();
        for row in 0..batch.num_rows() {
            let mut line = Vec::new();
            if self.options.format == Format::Binary {
                let count = i16::try_from(columns.len()).unwrap_or(i16::MAX);
                line.extend_from_slice(&count.to_be_bytes());
            }
            for (index, column) in columns.iter().enumerate() {
                value.clear();
                let is_null = column.is_null(row);
                match self.options.format {
                    Format::Binary if is_null => line.extend_from_slice(&(-1_i32).to_be_bytes()),
                    Format::Binary => {
                        column.binary(row, &mut value)?;
                        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
                        line.extend_from_slice(&length.to_be_bytes());
                        line.extend_from_slice(&value);
                    }
                    format => {
                        if index > 0 {
                            line.push(self.options.delimiter);
                        }
                        if is_null {
                            line.extend_from_slice(self.options.null.as_bytes());
                            continue;
                        }
                        column.text(row, &mut value)?;
                        if format == Format::Csv {
                            let forced = self.options.force_quote.has(self.schema.field(index).name());
                            csv::write(&value, &self.options, forced, columns.len() == 1, &mut line);
                        } else {
                            text::write(&value, self.options.delimiter, &mut line);
                        }
                    }
                }
            }
            if self.options.format != Format::Binary {
                line.push(b'\n');
            }
            messages.push(line.into());
        }
        Ok(CopyChunk { messages, rows: batch.num_rows() as u64 })
    }
}
