//! COPY FROM STDIN: bytes become columns, columns batches, batches rows of the table, as they come.

use super::binary::{self, Tuple};
use super::options::{Format, Header, Options};
use super::{csv, text};
use crate::bind::{Binder, CastStyle, coerce_expr};
use crate::decode::ColumnBuilder;
use crate::dml::{DefaultValues, Defaults, RowChecks, live_columns, row_schema};
use crate::outcome::{CopyFormat, CopySink};
use crate::statement::StatementContext;
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use datafusion::common::{DFSchema, TableReference};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::sql::sqlparser::ast;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{ConflictMode, Table};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// A batch is written when its input is this large.
const BATCH_BYTES: usize = 4 << 20;
/// Or when it has this many rows.
const BATCH_ROWS: usize = 16_384;
/// The longest row.
const ROW_BYTES_MAX: usize = 1 << 30;

/// A COPY FROM in progress.
pub(super) struct CopyIn {
    table: Arc<Table>,
    /// Which live column each input column fills.
    positions: Vec<usize>,
    names: Vec<String>,
    builders: Vec<ColumnBuilder>,
    options: Options,
    style: Arc<CastStyle>,
    defaults: Defaults,
    checks: RowChecks,
    filter: Option<Arc<dyn PhysicalExpr>>,
    buffer: BytesMut,
    /// Input lines so far, the header too.
    line: u64,
    header: Header,
    started: bool,
    ended: bool,
    batch_bytes: usize,
    rows: u64,
    fields: Vec<Option<Vec<u8>>>,
}

impl CopyIn {
    pub(super) fn new(
        binder: &Binder,
        table: Arc<Table>,
        positions: Vec<usize>,
        options: Options,
        selection: Option<&ast::Expr>,
    ) -> Result<CopyIn> {
        let live = live_columns(&table);
        let types: Vec<SqlType> = positions.iter().map(|position| live[*position].ty.clone()).collect();
        let names: Vec<String> = positions.iter().map(|position| live[*position].name.clone()).collect();
        let filter = match selection {
            Some(selection) => Some(filter(binder, &table, selection)?),
            None => None,
        };
        Ok(CopyIn {
            builders: types.iter().map(|ty| ColumnBuilder::new(ty, 1024)).collect(),
            defaults: Defaults::new(binder, &table)?,
            checks: RowChecks::new(binder, &table)?,
            style: binder.style.clone(),
            header: options.header,
            filter,
            positions,
            names,
            options,
            table,
            buffer: BytesMut::new(),
            line: 0,
            started: false,
            ended: false,
            batch_bytes: 0,
            rows: 0,
            fields: Vec::new(),
        })
    }

    /// Reads whole rows off the buffer until there is none or a batch is full. Whether to go on.
    fn parse(&mut self, last: bool) -> Result<bool> {
        while self.batch_bytes < BATCH_BYTES && self.builder_rows() < BATCH_ROWS {
            if self.ended {
                self.buffer.clear();
                return Ok(false);
            }
            let before = self.buffer.len();
            let more = match self.options.format {
                Format::Text => self.text_line(last)?,
                Format::Csv => self.csv_record(last)?,
                Format::Binary => self.tuple(last)?,
            };
            self.batch_bytes += before - self.buffer.len();
            if !more {
                if self.buffer.len() > ROW_BYTES_MAX {
                    return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "COPY row is too long"));
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn builder_rows(&self) -> usize {
        self.builders.first().map_or(0, ColumnBuilder::len)
    }

    fn text_line(&mut self, last: bool) -> Result<bool> {
        let Some((end, next)) = text::line_end(&self.buffer, last) else { return Ok(false) };
        self.line += 1;
        let line = self.buffer.split_to(next);
        let line = &line[..end];
        if line == b"\\." {
            self.ended = true;
            return Ok(true);
        }
        let mut fields = std::mem::take(&mut self.fields);
        text::split(line, self.options.delimiter, self.options.null.as_bytes(), &mut fields);
        let result = self.header_or_row(&fields);
        self.fields = fields;
        result.map(|()| true)
    }

    fn csv_record(&mut self, last: bool) -> Result<bool> {
        if self.buffer.is_empty() {
            return Ok(false);
        }
        let line = self.line + 1;
        let record =
            csv::record(&self.buffer, &self.options, last).map_err(|error| self.at(error, line, None))?;
        let Some((record, length)) = record else { return Ok(false) };
        let raw = self.buffer.split_to(length);
        self.line += 1;
        if raw.as_ref() == b"\\.\n" || raw.as_ref() == b"\\.\r\n" || raw.as_ref() == b"\\." {
            self.ended = true;
            return Ok(true);
        }
        // Line ends inside quotes count too.
        let inner = raw[..raw.len().saturating_sub(1)].iter().filter(|byte| **byte == b'\n').count();
        let fields: Vec<Option<Vec<u8>>> = record
            .into_iter()
            .enumerate()
            .map(|(index, (value, quoted))| {
                let name = self.names.get(index).map(String::as_str).unwrap_or_default();
                let is_null = value == self.options.null.as_bytes();
                let null = match quoted {
                    false => is_null && !self.options.force_not_null.has(name),
                    true => is_null && self.options.force_null.has(name),
                };
                (!null).then_some(value)
            })
            .collect();
        self.header_or_row(&fields)?;
        self.line += inner as u64;
        Ok(true)
    }

    fn header_or_row(&mut self, fields: &[Option<Vec<u8>>]) -> Result<()> {
        match std::mem::replace(&mut self.header, Header::None) {
            Header::None => self.row(fields),
            Header::Skip => Ok(()),
            Header::Match => self.match_header(fields),
        }
    }

    fn match_header(&self, fields: &[Option<Vec<u8>>]) -> Result<()> {
        let bad =
            |message: String| self.at(Error::new(SqlState::BAD_COPY_FILE_FORMAT, message), self.line, None);
        if fields.len() != self.names.len() {
            return Err(bad(format!(
                "wrong number of fields in header line: got {}, expected {}",
                fields.len(),
                self.names.len()
            )));
        }
        for (index, (field, name)) in fields.iter().zip(&self.names).enumerate() {
            let found = field.as_deref().map(String::from_utf8_lossy);
            if found.as_deref() != Some(name) {
                let found = found.as_deref().unwrap_or("null value").to_owned();
                return Err(bad(format!(
                    "column name mismatch in header line field {}: got \"{found}\", expected \"{name}\"",
                    index + 1
                )));
            }
        }
        Ok(())
    }

    fn row(&mut self, fields: &[Option<Vec<u8>>]) -> Result<()> {
        let bad = |message: String| Error::new(SqlState::BAD_COPY_FILE_FORMAT, message);
        if fields.len() > self.names.len() {
            return Err(self.at(bad("extra data after last expected column".to_owned()), self.line, None));
        }
        if let Some(missing) = self.names.get(fields.len()) {
            return Err(self.at(bad(format!("missing data for column \"{missing}\"")), self.line, None));
        }
        for (index, field) in fields.iter().enumerate() {
            let appended = match field {
                None => {
                    self.builders[index].append_null();
                    Ok(())
                }
                Some(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) if !text.contains('\0') => {
                        self.builders[index].append_text(text, &self.style.input)
                    }
                    Ok(_) => Err(bad_encoding(&[0])),
                    Err(error) => Err(bad_encoding(&bytes[error.valid_up_to()..])),
                },
            };
            appended.map_err(|error| self.at(error, self.line, Some((index, field))))?;
        }
        Ok(())
    }

    fn tuple(&mut self, last: bool) -> Result<bool> {
        if !self.started {
            let Some(length) = binary::header(&self.buffer)? else {
                if last {
                    return Err(Error::new(
                        SqlState::BAD_COPY_FILE_FORMAT,
                        "COPY file signature not recognized",
                    ));
                }
                return Ok(false);
            };
            self.buffer.advance(length);
            self.started = true;
        }
        match binary::tuple(&self.buffer, self.builders.len())
            .map_err(|error| self.at(error, self.line + 1, None))?
        {
            Tuple::Partial if last && !self.buffer.is_empty() => {
                Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unexpected EOF in COPY data"))
            }
            Tuple::Partial => Ok(false),
            Tuple::End(length) => {
                self.buffer.advance(length);
                self.ended = true;
                Ok(true)
            }
            Tuple::Fields(fields, length) => {
                self.line += 1;
                for (index, range) in fields.into_iter().enumerate() {
                    match range {
                        None => self.builders[index].append_null(),
                        Some(range) => {
                            let result = self.builders[index].append_binary(&self.buffer[range]);
                            result.map_err(|error| self.at(error, self.line, Some((index, &None))))?;
                        }
                    }
                }
                self.buffer.advance(length);
                Ok(true)
            }
        }
    }

    /// Says where in the data an error is, as PostgreSQL's CONTEXT does.
    fn at(&self, error: Error, line: u64, field: Option<(usize, &Option<Vec<u8>>)>) -> Error {
        let mut place = format!("COPY {}, line {line}", self.table.name);
        if let Some((column, value)) = field {
            place.push_str(&format!(", column {}", self.names[column]));
            if let Some(value) = value {
                let text: String = String::from_utf8_lossy(value).chars().take(100).collect();
                place.push_str(&format!(": \"{text}\""));
            }
        }
        match error.detail() {
            Some(detail) => {
                let detail = format!("{detail}\n{place}");
                error.with_detail(detail)
            }
            None => error.with_detail(place),
        }
    }

    async fn write(&mut self, ctx: &mut StatementContext<'_>) -> Result<()> {
        let rows = self.builder_rows();
        self.batch_bytes = 0;
        if rows == 0 {
            return Ok(());
        }
        let given: Vec<ArrayRef> = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        let (cluster, session) = (ctx.cluster.clone(), ctx.session.clone());
        let default_values = DefaultValues { cluster: &cluster, session: &session };
        let live = live_columns(&self.table).len();
        let mut columns = Vec::with_capacity(live);
        for position in 0..live {
            columns.push(match self.positions.iter().position(|target| *target == position) {
                Some(index) => given[index].clone(),
                None => default_values.column(&self.defaults, position, rows).await?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch = RecordBatch::try_new_with_options(row_schema(&self.table), columns, &options)?;
        if let Some(filter) = &self.filter {
            let keep =
                filter.evaluate(&batch).and_then(|value| value.into_array(rows)).map_err(from_datafusion)?;
            batch = arrow::compute::filter_record_batch(&batch, keep.as_boolean())?;
        }
        self.checks.check(&batch)?;
        let outcome = ctx.txn.insert(&self.table, &batch, ConflictMode::Error).await?;
        self.rows += outcome.inserted.len() as u64;
        Ok(())
    }
}

fn bad_encoding(bytes: &[u8]) -> Error {
    let shown: Vec<String> = bytes.iter().take(3).map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}

fn filter(binder: &Binder, table: &Arc<Table>, selection: &ast::Expr) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = DFSchema::try_from_qualified_schema(
        TableReference::bare(table.name.as_str()),
        row_schema(table).as_ref(),
    )
    .map_err(from_datafusion)?;
    let expr = binder.expression(selection.clone(), &schema)?;
    let expr = coerce_expr(expr, &schema, &binder.params, &binder.style)?;
    let expr = binder.boolean(expr, &schema, "COPY FROM WHERE")?;
    binder.engine.bind_expr(&binder.state, expr, &schema)
}

#[async_trait]
impl CopySink for CopyIn {
    fn format(&self) -> CopyFormat {
        CopyFormat { binary: self.options.format == Format::Binary, columns: self.names.len() }
    }

    async fn data(&mut self, ctx: &mut StatementContext<'_>, bytes: Bytes) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.buffer.extend_from_slice(&bytes);
        while self.parse(false)? {
            self.write(ctx).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, ctx: &mut StatementContext<'_>) -> Result<u64> {
        while self.parse(true)? {
            self.write(ctx).await?;
        }
        if self.options.format == Format::Binary && !self.ended {
            return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unexpected EOF in COPY data"));
        }
        self.write(ctx).await?;
        Ok(self.rows)
    }
}
