//! Statements of the session itself: transactions, settings, prepared statements, cursors.

use super::command::{Direction, Discard, SessionCommand};
use super::extended::{already_open, already_prepared};
use super::identity::{set_authorization, set_role};
use super::portal::{Keep, Portal, PortalState, ScrollRows};
use super::rows::RowSource;
use super::run::{Executed, Step, tag_of};
use super::transaction::Block;
use super::{Session, isolation_named};
use crate::decode::value_from_text;
use crate::encode::ColumnEncoder;
use crate::outcome::{Outcome, Tag};
use crate::settings::SetScope;
use crate::statement::{self, Analyzed, ParamValue, Parsed};
use crate::wire::backend;
use crate::wire::connection::Connection;
use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// What a command gave.
enum Reply {
    /// A tag.
    Tag(String),
    /// Rows that are all there, and the tag.
    Rows(SchemaRef, Vec<RecordBatch>, Tag),
    /// FETCH and MOVE forward: rows go from the cursor to the client as they come.
    Stream { name: String, count: u64, moves: bool },
    /// EXECUTE: what the prepared statement gave.
    Executed(Executed),
}

/// Rows of a cursor that are read and sent at once.
const PIECE_ROWS: u64 = 8_192;

impl Session {
    /// Runs a statement of the session and sends its result.
    pub(super) async fn run_command(
        &mut self,
        conn: &mut Connection,
        command: SessionCommand,
        formats: &[i16],
        describe: bool,
        step: Step,
    ) -> Result<()> {
        if self.transaction.failed
            && !matches!(
                command,
                SessionCommand::Commit { .. }
                    | SessionCommand::Rollback { .. }
                    | SessionCommand::RollbackTo(_)
            )
        {
            return Err(super::transaction::aborted());
        }
        match self.reply(conn, command, &step).await? {
            Reply::Tag(tag) => self.complete(conn, &tag, step.last).await,
            Reply::Rows(schema, batches, tag) => {
                let mut source = RowSource::of_batches(schema, batches);
                let format = self.row_format(&source.schema, formats)?;
                if describe {
                    self.tell(conn);
                    self.described.write(&mut conn.output.buffer, &source.schema, formats)?;
                }
                let (sent, _) = self.send_rows(conn, &mut source, &format, u64::MAX).await?;
                self.complete(conn, &tag_of(&tag, sent), step.last).await
            }
            Reply::Stream { name, count, moves } => {
                let mut portal = self.take_portal(&name)?;
                let sent =
                    self.stream_cursor(conn, &mut portal, formats, describe && !moves, count, moves).await?;
                self.portals.insert(name, portal);
                let word = if moves { "MOVE" } else { "FETCH" };
                self.complete(conn, &format!("{word} {sent}"), step.last).await
            }
            Reply::Executed(executed) => self.deliver(conn, executed, formats, describe, step.last).await,
        }
    }

    /// FETCH and MOVE forward: in pieces, so that neither side holds all of it.
    async fn stream_cursor(
        &mut self,
        conn: &mut Connection,
        portal: &mut Portal,
        formats: &[i16],
        describe: bool,
        count: u64,
        moves: bool,
    ) -> Result<u64> {
        let PortalState::Scroll(rows) = &mut portal.state else {
            return Err(Error::internal("a portal that is no cursor was streamed"));
        };
        // A binary cursor is binary whatever Bind said.
        let formats = if portal.formats.is_empty() { formats } else { &portal.formats };
        let schema = rows.schema();
        let format = self.row_format(&schema, formats)?;
        if describe {
            self.tell(conn);
            self.described.write(&mut conn.output.buffer, &schema, formats)?;
        }
        let mut left = count;
        while left > 0 {
            let wanted = left.min(PIECE_ROWS);
            let batches = self.scroll(conn, rows, Direction::Forward(wanted)).await?;
            let found: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
            if !moves {
                for batch in &batches {
                    format.send(conn, batch).await?;
                }
            }
            left -= found;
            if found < wanted {
                break;
            }
        }
        Ok(count - left)
    }

    async fn reply(&mut self, conn: &mut Connection, command: SessionCommand, step: &Step) -> Result<Reply> {
        let tag = match command {
            SessionCommand::Begin { modes, start } => {
                self.begin(modes)?;
                if start { "START TRANSACTION" } else { "BEGIN" }
            }
            SessionCommand::Commit { chain } => {
                let modes = self.chained_modes(chain, "COMMIT AND CHAIN")?;
                self.warn_without_block();
                let tag = self.commit().await?;
                self.begin_chained(modes)?;
                tag
            }
            SessionCommand::Rollback { chain } => {
                let modes = self.chained_modes(chain, "ROLLBACK AND CHAIN")?;
                self.warn_without_block();
                self.rollback().await;
                self.begin_chained(modes)?;
                "ROLLBACK"
            }
            SessionCommand::Savepoint(name) => {
                self.savepoint(name).await?;
                "SAVEPOINT"
            }
            SessionCommand::Release(name) => {
                self.release(&name)?;
                "RELEASE"
            }
            SessionCommand::RollbackTo(name) => {
                self.rollback_to(&name).await?;
                "ROLLBACK"
            }
            SessionCommand::SetTransaction(modes) => {
                self.warn_outside("SET TRANSACTION");
                self.ensure_transaction()?;
                self.set_modes(modes)?;
                "SET"
            }
            SessionCommand::SetCharacteristics(modes) => {
                self.ensure_transaction()?;
                if let Some((_, name)) = modes.isolation {
                    self.settings.set("default_transaction_isolation", name, SetScope::Session)?;
                }
                if let Some(read_only) = modes.read_only {
                    let value = if read_only { "on" } else { "off" };
                    self.settings.set("default_transaction_read_only", value, SetScope::Session)?;
                }
                "SET"
            }
            SessionCommand::Set { name, value, scope } => {
                self.set(&name, value, scope)?;
                "SET"
            }
            SessionCommand::SetRole { name, scope } => {
                self.warn_local_outside(scope);
                self.ensure_transaction()?;
                set_role(&self.visible_catalog(), &self.settings, name.as_deref(), scope)?;
                "SET"
            }
            SessionCommand::SetAuthorization { name, scope } => {
                self.warn_local_outside(scope);
                self.ensure_transaction()?;
                self.authorize(name.as_deref(), scope)?;
                "SET"
            }
            SessionCommand::SetConstraints => {
                self.warn_outside("SET CONSTRAINTS");
                "SET CONSTRAINTS"
            }
            SessionCommand::Reset(name) => {
                self.ensure_transaction()?;
                match name.to_ascii_lowercase().as_str() {
                    "session_authorization" => self.authorize(None, SetScope::Session)?,
                    _ => self.settings.reset(&name, SetScope::Session)?,
                }
                "RESET"
            }
            SessionCommand::ResetAll => {
                self.ensure_transaction()?;
                self.settings.reset_all();
                "RESET"
            }
            SessionCommand::Show(name) => return self.show(&name),
            SessionCommand::ShowAll => return self.show_all(),
            SessionCommand::Discard(what) => {
                let tag = self.discard(what, step)?;
                if what == Discard::All {
                    self.info.advisory.lock().await.unlock_all();
                }
                tag
            }
            SessionCommand::Prepare { name, types, statement } => {
                self.prepare_named(conn, name, &types, *statement, step).await?;
                "PREPARE"
            }
            SessionCommand::Execute { name, arguments } => {
                return self.execute_named(conn, &name, &arguments, step).await.map(Reply::Executed);
            }
            SessionCommand::Deallocate(None) => {
                self.info.prepared.lock().clear();
                "DEALLOCATE ALL"
            }
            SessionCommand::Deallocate(Some(name)) => {
                self.find_prepared(&name)?;
                self.info.prepared.lock().remove(&name);
                "DEALLOCATE"
            }
            SessionCommand::Declare { name, scroll, hold, binary, query, values } => {
                let cursor = Cursor { name, scroll, hold, binary };
                self.declare(conn, cursor, *query, values, step).await?;
                "DECLARE CURSOR"
            }
            SessionCommand::Fetch { name, direction, moves } => {
                return self.fetch_or_move(conn, name, direction, moves).await;
            }
            SessionCommand::Close(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            SessionCommand::Close(Some(name)) => {
                self.portals.remove(&name).ok_or_else(|| no_cursor(&name))?;
                "CLOSE CURSOR"
            }
            SessionCommand::Unlisten => "UNLISTEN",
            SessionCommand::Listen => return Err(Error::unsupported("LISTEN")),
            SessionCommand::Notify => return Err(Error::unsupported("NOTIFY")),
        };
        Ok(Reply::Tag(tag.to_owned()))
    }

    /// AND CHAIN: the next transaction is like the last.
    fn chained_modes(&self, chain: bool, what: &str) -> Result<Option<super::command::TransactionModes>> {
        if !chain {
            return Ok(None);
        }
        self.require_block(what)?;
        Ok(Some(super::command::TransactionModes {
            isolation: Some(self.settings.with("transaction_isolation", isolation_named)?),
            read_only: Some(self.settings.is_on("transaction_read_only")),
            deferrable: None,
        }))
    }

    fn begin_chained(&mut self, modes: Option<super::command::TransactionModes>) -> Result<()> {
        modes.map_or(Ok(()), |modes| self.begin(modes))
    }

    /// SET LOCAL outside of a block does nothing and says so.
    fn warn_local_outside(&mut self, scope: SetScope) {
        if scope == SetScope::Local {
            self.warn_outside("SET LOCAL");
        }
    }

    fn warn_outside(&mut self, what: &str) {
        if self.transaction.block == Block::None {
            self.notices.push(crate::outcome::Notice::warning(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{what} can only be used in transaction blocks"),
            ));
        }
    }

    fn authorize(&self, name: Option<&str>, scope: SetScope) -> Result<()> {
        set_authorization(&self.visible_catalog(), &self.info, &self.settings, name, scope)
    }

    fn set(&mut self, name: &str, value: Option<String>, scope: SetScope) -> Result<()> {
        self.warn_local_outside(scope);
        self.ensure_transaction()?;
        let mut modes = super::command::TransactionModes::default();
        match (name.to_ascii_lowercase().as_str(), value) {
            ("transaction_isolation", Some(value)) => {
                modes.isolation = Some(isolation_named(&value.to_ascii_lowercase())?);
                self.set_modes(modes)
            }
            ("role", Some(value)) => set_role(&self.visible_catalog(), &self.settings, Some(&value), scope),
            ("session_authorization", value) => self.authorize(value.as_deref(), scope),
            ("transaction_read_only", Some(value)) => {
                modes.read_only = crate::decode::bool_word(&value);
                self.set_modes(modes)
            }
            (_, Some(value)) => self.settings.set(name, &value, scope).map(drop),
            (_, None) => self.settings.reset(name, scope),
        }
    }

    fn show(&mut self, name: &str) -> Result<Reply> {
        self.ensure_transaction()?;
        let value = self.settings.show(name)?;
        let schema = show_schema(name);
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(vec![value]))])?;
        Ok(Reply::Rows(schema, vec![batch], Tag::Fixed("SHOW".to_owned())))
    }

    fn show_all(&mut self) -> Result<Reply> {
        self.ensure_transaction()?;
        let all = self.settings.all();
        let column = |pick: fn(&(String, String, String)) -> &str| {
            Arc::new(StringArray::from_iter_values(all.iter().map(pick)))
        };
        let schema = show_all_schema();
        let columns = vec![column(|row| &row.0) as _, column(|row| &row.1) as _, column(|row| &row.2) as _];
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(Reply::Rows(schema, vec![batch], Tag::Fixed("SHOW".to_owned())))
    }

    fn discard(&mut self, what: Discard, step: &Step) -> Result<&'static str> {
        match what {
            Discard::All => {
                if self.transaction.block == Block::Explicit || !step.alone {
                    return Err(Error::new(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.portals.clear();
                self.info.prepared.lock().clear();
                self.authorize(None, SetScope::Session)?;
                self.settings.reset_all();
                self.info.forget_sequences();
                Ok("DISCARD ALL")
            }
            Discard::Sequences => {
                self.info.forget_sequences();
                Ok("DISCARD SEQUENCES")
            }
            Discard::Plans => Ok("DISCARD PLANS"),
            Discard::Temp => Ok("DISCARD TEMP"),
        }
    }

    async fn prepare_named(
        &mut self,
        conn: &mut Connection,
        name: String,
        types: &[String],
        statement: Parsed,
        step: &Step,
    ) -> Result<()> {
        if self.info.prepared.lock().contains_key(&name) {
            return Err(already_prepared(&name));
        }
        let mut declared = Vec::new();
        for ty in types {
            declared.push(self.type_named(conn, ty).await?);
        }
        let query = step.query.to_string();
        let prepared = self.prepare(conn, Arc::new(statement), &declared, query, true).await?;
        self.info.prepared.lock().insert(name, Arc::new(prepared));
        Ok(())
    }

    /// The type that a type's text means: that of a NULL cast to it.
    async fn type_named(&mut self, conn: &mut Connection, text: &str) -> Result<Option<SqlType>> {
        if text.eq_ignore_ascii_case("unknown") {
            return Ok(None);
        }
        let analyzed = self.analyze_text(conn, &format!("SELECT CAST(NULL AS {text})")).await?;
        let field = analyzed.columns.as_ref().and_then(|columns| columns.fields().first().cloned());
        Ok(field.and_then(|field| SqlType::of_field(&field)))
    }

    async fn analyze_text(&mut self, conn: &mut Connection, sql: &str) -> Result<Analyzed> {
        let parsed = statement::parse(sql)?.pop().ok_or_else(|| Error::internal("nothing to analyse"))?;
        self.ensure_transaction()?;
        self.analyze_given(conn, Arc::new(parsed), &[]).await
    }

    async fn execute_named(
        &mut self,
        conn: &mut Connection,
        name: &str,
        arguments: &[String],
        step: &Step,
    ) -> Result<Executed> {
        let prepared = self.find_prepared(name)?;
        let types = &prepared.analyzed.params;
        if arguments.len() != types.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let detail = format!("Expected {} parameters but got {}.", types.len(), arguments.len());
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).with_detail(detail));
        }
        let params = self.evaluate(conn, arguments, types, step).await?;
        if !matches!(prepared.analyzed.parsed.statement, statement::Statement::Plannable(_)) {
            return Err(Error::unsupported("EXECUTE of a statement of the session"));
        }
        self.ensure_transaction()?;
        self.execute(conn, &prepared.analyzed, &params, step).await
    }

    /// Values of expressions, as parameters of these types.
    async fn evaluate(
        &mut self,
        conn: &mut Connection,
        arguments: &[String],
        types: &[SqlType],
        step: &Step,
    ) -> Result<Vec<ParamValue>> {
        if arguments.is_empty() {
            return Ok(Vec::new());
        }
        let mut analyzed = self.analyze_text(conn, &format!("SELECT {}", arguments.join(", "))).await?;
        if let Some(converted) = converted_numbers(&analyzed, arguments, types) {
            analyzed = self.analyze_text(conn, &format!("SELECT {}", converted.join(", "))).await?;
        }
        let executed = self.execute(conn, &analyzed, &[], step).await?;
        let Executed { outcome: Outcome::Rows { schema, rows, .. }, watch } = executed else {
            return Err(Error::internal("arguments gave no row"));
        };
        let mut source = RowSource::new(schema, rows, watch);
        let row = source.next_guarded(&mut conn.input, &self.info, 1).await?;
        let row = row.ok_or_else(|| Error::internal("arguments gave no row"))?;
        let found = backend::column_types(&source.schema)?;
        let (output, input) =
            (self.settings.output_style(), self.settings.input_style(self.info.transaction_start_us()));
        let mut params = Vec::with_capacity(types.len());
        for ((array, found), ty) in row.columns().iter().zip(&found).zip(types) {
            let encoder = ColumnEncoder::new(found, array, &output)?;
            if encoder.is_null(0) {
                params.push(ScalarValue::try_from(&ty.arrow_type()).map_err(quiver_exec::from_datafusion)?);
                continue;
            }
            // Through the text form, as an assignment cast does.
            let mut text = Vec::new();
            encoder.text(0, &mut text)?;
            params.push(value_from_text(ty, crate::decode::utf8(&text)?, &input)?);
        }
        Ok(params)
    }

    async fn declare(
        &mut self,
        conn: &mut Connection,
        cursor: Cursor,
        query: Parsed,
        values: Vec<(SqlType, ParamValue)>,
        step: &Step,
    ) -> Result<()> {
        if !cursor.hold && step.alone {
            self.require_block("DECLARE CURSOR")?;
        }
        if self.portals.contains_key(&cursor.name) {
            return Err(already_open(&cursor.name));
        }
        if query.writes_in_with() {
            let message = "DECLARE CURSOR must not contain data-modifying statements in WITH";
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        self.ensure_transaction()?;
        let (types, params): (Vec<_>, Vec<_>) =
            values.into_iter().map(|(ty, value)| (Some(ty), value)).unzip();
        let analyzed = self.analyze_given(conn, Arc::new(query), &types).await?.untold();
        let Executed { outcome, watch } = self.execute(conn, &analyzed, &params, step).await?;
        let Outcome::Rows { schema, rows, .. } = outcome else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a cursor needs a query that returns rows"));
        };
        let source = RowSource::new(schema.clone(), rows, watch);
        let keep = match cursor.scroll {
            Some(true) => Keep::All,
            None => Keep::Window,
            Some(false) => Keep::Nothing,
        };
        let memory = self.shared.cluster.memory().empty();
        let state = PortalState::Scroll(ScrollRows::new(source, keep, memory));
        let portal = Portal {
            state,
            columns: Some(schema),
            formats: if cursor.binary { vec![1] } else { Vec::new() },
            depth: self.transaction.depth(),
            hold: cursor.hold,
            created_us: super::info::now_us(),
            query: step.query.clone(),
        };
        self.portals.insert(cursor.name, portal);
        Ok(())
    }

    async fn fetch_or_move(
        &mut self,
        conn: &mut Connection,
        name: String,
        direction: Direction,
        moves: bool,
    ) -> Result<Reply> {
        let portal = self.portals.get(&name).ok_or_else(|| no_cursor(&name))?;
        if let (Direction::Forward(count @ 1..), PortalState::Scroll(_)) = (direction, &portal.state) {
            return Ok(Reply::Stream { name, count, moves });
        }
        let (schema, batches) = self.fetch(conn, &name, direction).await?;
        if moves {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            return Ok(Reply::Tag(format!("MOVE {rows}")));
        }
        Ok(Reply::Rows(schema, batches, Tag::Counted("FETCH")))
    }

    /// The columns that a statement of the session will give, for Describe.
    pub(super) fn command_columns(&self, command: &SessionCommand) -> Option<SchemaRef> {
        match command {
            SessionCommand::Show(name) => Some(show_schema(name)),
            SessionCommand::ShowAll => Some(show_all_schema()),
            SessionCommand::Fetch { name, moves: false, .. } => {
                self.portals.get(name).and_then(|portal| portal.columns.clone())
            }
            SessionCommand::Execute { name, .. } => {
                self.info.prepared.lock().get(name).and_then(|prepared| prepared.analyzed.columns.clone())
            }
            _ => None,
        }
    }
}

/// Arguments of EXECUTE with casts around numbers of another type than the parameter's; `None` if there are none.
fn converted_numbers(analyzed: &Analyzed, arguments: &[String], types: &[SqlType]) -> Option<Vec<String>> {
    let is_number = |ty: &SqlType| {
        use SqlType::{Float4, Float8, Int2, Int4, Int8, Numeric};
        matches!(ty, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(..))
    };
    let columns = analyzed.columns.as_ref()?;
    let found = columns.fields().iter().map(|field| SqlType::of_field(field));
    let differs = |(found, ty): (Option<SqlType>, &SqlType)| {
        found.is_some_and(|found| found != *ty && is_number(&found) && is_number(ty))
    };
    let differs: Vec<bool> = found.zip(types).map(differs).collect();
    if !differs.contains(&true) {
        return None;
    }
    let converted = arguments.iter().zip(types).zip(differs).map(|((argument, ty), differs)| match differs {
        true => format!("CAST(({argument}) AS {ty})"),
        false => argument.clone(),
    });
    Some(converted.collect())
}

/// A cursor as DECLARE describes it.
struct Cursor {
    name: String,
    scroll: Option<bool>,
    hold: bool,
    binary: bool,
}

fn show_schema(name: &str) -> SchemaRef {
    let name = crate::settings::definition(name).map_or(name, |definition| definition.name);
    Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]))
}

fn show_all_schema() -> SchemaRef {
    let fields = ["name", "setting", "description"].map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.to_vec()))
}

fn no_cursor(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
