//! Where the simple and the extended protocol meet: analyse, execute, send what came of it.

use super::guard::{Watch, guarded};
use super::names::SessionNames;
use super::rows::{RowFormat, RowSource};
use super::transaction::{Block, aborted};
use super::{Session, SessionCommand};
use crate::outcome::{CopyChunk, CopyFormat, Outcome, Tag};
use crate::parser::{first_parameter, placed};
use crate::statement::{self, Analyzed, ParamValue, Parsed, Statement, StatementContext};
use crate::wire::backend;
use crate::wire::connection::Connection;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::BoxStream;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// Where a statement stands in its query string.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The implicit transaction ends with it.
    pub last: bool,
    /// Nothing else is in the string: it may be what cannot run inside a transaction block.
    pub alone: bool,
    /// The whole string.
    pub query: Arc<str>,
}

impl Session {
    /// Runs one statement of a query string and sends its result.
    pub(super) async fn run_parsed(
        &mut self,
        conn: &mut Connection,
        parsed: Arc<Parsed>,
        step: Step,
    ) -> Result<()> {
        match &parsed.statement {
            Statement::Empty => {
                backend::bare(&mut conn.output.buffer, b'I');
                Ok(())
            }
            Statement::Session(command) => {
                let command = (**command).clone();
                self.run_command(conn, command, &[], true, step).await
            }
            _ => {
                self.ensure_transaction()?;
                let analyzed = self.analyze_given(conn, parsed, &[]).await?;
                if step.alone {
                    self.remember(&step.query, &[], &analyzed);
                }
                self.run_analyzed(conn, &analyzed.untold(), &step).await
            }
        }
    }

    /// The same once it is analysed.
    pub(super) async fn run_analyzed(
        &mut self,
        conn: &mut Connection,
        analyzed: &Analyzed,
        step: &Step,
    ) -> Result<()> {
        if let Some(error) = not_given(analyzed, 0) {
            return Err(error);
        }
        let outcome = self.execute(conn, analyzed, &[], step).await?;
        self.deliver(conn, outcome, &[], true, step.last).await
    }

    /// Resolves a statement in the session's transaction.
    pub(super) async fn analyze(
        &mut self,
        conn: &mut Connection,
        parsed: Arc<Parsed>,
        declared: &[Option<SqlType>],
    ) -> Result<Analyzed> {
        let watch = self.watch();
        let info = self.info.clone();
        let mut ctx = self.context(&watch, true)?;
        let statement = parsed.clone();
        let analyze = async {
            ctx.txn.begin_statement().await?;
            statement::analyze(&mut ctx, parsed, declared).await
        };
        let analyzed = guarded(&mut conn.input, &info, &watch, Box::pin(analyze)).await;
        analyzed.map_err(|error| placed(error, &statement.sql))
    }

    /// The same for a statement that is given parameters of these types and no others: 42P02 for one that is not given.
    pub(super) async fn analyze_given(
        &mut self,
        conn: &mut Connection,
        parsed: Arc<Parsed>,
        given: &[Option<SqlType>],
    ) -> Result<Analyzed> {
        let analyzed =
            self.analyze(conn, parsed.clone(), given).await.map_err(|error| match error.state() {
                SqlState::INDETERMINATE_DATATYPE => no_parameter(&parsed.sql, given.len()).unwrap_or(error),
                _ => error,
            })?;
        match not_given(&analyzed, given.len()) {
            Some(error) => Err(error),
            None => Ok(analyzed),
        }
    }

    /// What a statement can reach, with its transaction, which must be open.
    pub(super) fn context(&mut self, watch: &Watch, in_block: bool) -> Result<StatementContext<'_>> {
        self.list_cursors();
        let Session { shared, info, settings, transaction, notices, .. } = self;
        Ok(StatementContext {
            cluster: &shared.cluster,
            engine: &shared.engine,
            txn: transaction.txn.as_mut().ok_or_else(aborted)?,
            settings,
            session: info,
            cancel: watch.flag.clone(),
            in_block,
            together: None,
            notices,
        })
    }

    /// Runs an analysed statement in the session's transaction.
    pub(super) async fn execute(
        &mut self,
        conn: &mut Connection,
        analyzed: &Analyzed,
        params: &[ParamValue],
        step: &Step,
    ) -> Result<Executed> {
        let watch = self.watch();
        let in_block = !step.alone || self.transaction.block == Block::Explicit;
        self.transaction.queried = true;
        let info = self.info.clone();
        let mut ctx = self.context(&watch, in_block)?;
        let execute = async {
            ctx.txn.begin_statement().await?;
            match statement::execute_kept(&ctx, analyzed, params)? {
                Some(outcome) => Ok(outcome),
                // Apart: room for all that it holds would be made for those with a plan otherwise.
                None => Box::pin(statement::execute(&mut ctx, analyzed, params)).await,
            }
        };
        let outcome = guarded(&mut conn.input, &info, &watch, execute).await;
        let outcome = outcome.map_err(|error| placed(error, &analyzed.parsed.sql))?;
        Ok(Executed { outcome, watch })
    }

    /// Sends an outcome to its end. `describe`: RowDescription goes before rows, as the simple protocol has it.
    pub(super) async fn deliver(
        &mut self,
        conn: &mut Connection,
        executed: Executed,
        formats: &[i16],
        describe: bool,
        last: bool,
    ) -> Result<()> {
        let Executed { outcome, watch } = executed;
        let tag = match outcome {
            Outcome::Done(tag) => tag,
            Outcome::Rows { schema, rows, tag } => {
                let mut source = RowSource::new(schema, rows, watch);
                let format = self.row_format(&source.schema, formats)?;
                if describe {
                    self.tell(conn);
                    self.described.write(&mut conn.output.buffer, &source.schema, formats)?;
                }
                let (sent, _) = self.send_rows(conn, &mut source, &format, u64::MAX).await?;
                tag_of(&tag, sent)
            }
            Outcome::IndexCreated { table, index } => {
                if self.transaction.block == Block::Implicit {
                    self.transaction.unbuilt.push((table, index));
                }
                if last {
                    self.commit_and_build(conn, &watch).await?;
                }
                "CREATE INDEX".to_owned()
            }
            Outcome::CopyIn(sink) => self.copy_in(conn, sink, &watch).await?,
            Outcome::CopyOut { format, stream } => self.copy_out(conn, format, stream, &watch).await?,
        };
        self.complete(conn, &tag, last).await
    }

    /// Commits an implicit transaction and waits until the indexes that it made serve queries.
    pub(super) async fn commit_and_build(&mut self, conn: &mut Connection, watch: &Watch) -> Result<()> {
        if self.transaction.block != Block::Implicit {
            return Ok(());
        }
        let unbuilt = std::mem::take(&mut self.transaction.unbuilt);
        self.commit().await?;
        // Too late for one that came before: all but the wait is done.
        self.info.interrupt.finish();
        for (table, index) in unbuilt {
            let (cluster, database) = (self.shared.cluster.clone(), self.info.database_id);
            let built = async move { cluster.wait_indexed(database, table, index).await };
            guarded(&mut conn.input, &self.info, watch, built).await?;
        }
        Ok(())
    }

    /// How rows of these columns are sent. `formats`: none for all text, one for all, or one a column.
    pub(super) fn row_format(&mut self, schema: &SchemaRef, formats: &[i16]) -> Result<RowFormat> {
        let shape = self.described.shape(schema, formats)?;
        let mut style = self.settings.output_style();
        if shape.shows_names {
            style.names = Some(self.names()?);
        }
        Ok(RowFormat::new(shape, style))
    }

    /// What the reg types look up, as the session's transaction sees the catalog.
    pub(super) fn names(&self) -> Result<Arc<SessionNames>> {
        let txn = self.transaction.txn.as_ref();
        Ok(Arc::new(SessionNames::new(&self.shared, &self.info, &self.settings, txn)?))
    }

    /// Sends rows up to a limit; how many, and whether the limit ended it.
    pub(super) async fn send_rows(
        &mut self,
        conn: &mut Connection,
        source: &mut RowSource,
        format: &RowFormat,
        limit: u64,
    ) -> Result<(u64, bool)> {
        let mut sent = 0;
        while sent < limit {
            let wanted = super::portal::at_most(limit - sent);
            match source.next_guarded(&mut conn.input, &self.info, wanted).await? {
                Some(batch) => {
                    format.send(conn, &batch).await?;
                    sent += batch.num_rows() as u64;
                }
                None => return Ok((sent, false)),
            }
        }
        Ok((sent, true))
    }

    async fn copy_out(
        &mut self,
        conn: &mut Connection,
        format: CopyFormat,
        mut stream: BoxStream<'static, Result<CopyChunk>>,
        watch: &Watch,
    ) -> Result<String> {
        self.tell(conn);
        backend::copy_response(&mut conn.output.buffer, b'H', format);
        let mut rows = 0;
        loop {
            let next = async { stream.next().await.transpose() };
            let Some(chunk) = guarded(&mut conn.input, &self.info, watch, next).await? else { break };
            for message in &chunk.messages {
                backend::copy_data(&mut conn.output.buffer, message);
                conn.output.flush_if_full().await?;
            }
            rows += chunk.rows;
        }
        backend::bare(&mut conn.output.buffer, b'c');
        Ok(format!("COPY {rows}"))
    }

    /// Checks that a statement may run: in a failed block only its end may.
    pub(super) fn check_not_failed(&self, statement: &Statement) -> Result<()> {
        let leaves = match statement {
            Statement::Session(command) => matches!(
                **command,
                SessionCommand::Commit { .. }
                    | SessionCommand::Rollback { .. }
                    | SessionCommand::RollbackTo(_)
            ),
            _ => false,
        };
        if self.transaction.failed && !leaves { Err(aborted()) } else { Ok(()) }
    }
}

/// 42P02 for a statement with more parameters than it is given.
fn not_given(analyzed: &Analyzed, given: usize) -> Option<Error> {
    if analyzed.params.len() > given { no_parameter(&analyzed.parsed.sql, given) } else { None }
}

/// The same for a statement whose parameters have no types, perhaps.
fn no_parameter(sql: &str, given: usize) -> Option<Error> {
    let message = format!("there is no parameter {}", first_parameter(sql, given)?);
    Some(placed(Error::new(SqlState::UNDEFINED_PARAMETER, message), sql))
}

/// What a statement gave, and what stops it.
pub(super) struct Executed {
    /// The result.
    pub outcome: Outcome,
    /// Goes on while rows are read.
    pub watch: Watch,
}

/// Types that print the name behind an oid, and read one.
pub(super) fn shows_name(ty: &SqlType) -> bool {
    match ty {
        SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole
        | SqlType::Regprocedure
        | SqlType::Regoper
        | SqlType::Regoperator => true,
        SqlType::Array(item) => shows_name(item),
        _ => false,
    }
}

/// The tag after so many rows.
pub(super) fn tag_of(tag: &Tag, rows: u64) -> String {
    match tag {
        Tag::Counted(word) => format!("{word} {rows}"),
        Tag::Fixed(tag) => tag.clone(),
    }
}
