//! The extended protocol: Parse, Bind, Describe, Execute, Close.

use super::command::SessionCommand;
use super::portal::{Portal, PortalState, Prepared, no_portal};
use super::rows::{RowSource, spread_formats};
use super::run::{Executed, Step, shows_name, tag_of};
use super::transaction::{Block, aborted};
use super::{Session, in_query};
use crate::bind::{CastContext, CastStyle, cast_scalar};
use crate::decode::{InputStyle, utf8, value_from_binary, value_from_text};
use crate::encode::OutputStyle;
use crate::oids;
use crate::outcome::Outcome;
use crate::statement::{self, Analyzed, ParamValue, Parsed, Statement};
use crate::wire::backend;
use crate::wire::connection::Connection;
use crate::wire::frontend::{Bind, Target, violation};
use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

impl Session {
    /// P.
    pub(super) async fn parse(
        &mut self,
        conn: &mut Connection,
        name: String,
        query: String,
        types: &[u32],
    ) -> Result<()> {
        self.info.begin_statement();
        self.info.set_query(&query);
        if name.is_empty() {
            self.info.prepared.lock().remove("");
        } else if self.info.prepared.lock().contains_key(&name) {
            return Err(already_prepared(&name));
        }
        if let Some(analyzed) = self.recall(conn, &query, types).await? {
            let prepared = Prepared {
                analyzed,
                query: query.into(),
                from_sql: false,
                prepared_us: super::info::now_us(),
            };
            self.info.prepared.lock().insert(name, Arc::new(prepared));
            backend::bare(&mut conn.output.buffer, b'1');
            return Ok(());
        }
        let mut statements = statement::parse(&query)?;
        let parsed = match (statements.pop(), statements.is_empty()) {
            (Some(parsed), true) => Arc::new(parsed),
            (Some(_), false) => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Error::new(SqlState::SYNTAX_ERROR, message));
            }
            (None, _) => Arc::new(Parsed { statement: Statement::Empty, sql: String::new(), offset: 0 }),
        };
        self.check_not_failed(&parsed.statement)?;
        let declared = types.iter().map(|oid| declared_type(*oid)).collect::<Result<Vec<_>>>()?;
        let offset = parsed.offset;
        let prepared = self.prepare(conn, parsed, &declared, query.clone(), false).await;
        let prepared = prepared.map_err(|error| in_query(error, &query, offset))?;
        self.remember(&query, types, &prepared.analyzed);
        self.info.prepared.lock().insert(name, Arc::new(prepared));
        backend::bare(&mut conn.output.buffer, b'1');
        Ok(())
    }

    /// Analyses a statement to keep it.
    pub(super) async fn prepare(
        &mut self,
        conn: &mut Connection,
        parsed: Arc<Parsed>,
        declared: &[Option<SqlType>],
        query: String,
        from_sql: bool,
    ) -> Result<Prepared> {
        let analyzed = match &parsed.statement {
            Statement::Empty => Analyzed::without_plan(parsed.clone(), None),
            Statement::Session(command) => {
                let columns = self.command_columns(command);
                let params = match command.as_ref() {
                    SessionCommand::Declare { query, .. } => {
                        self.ensure_transaction()?;
                        self.analyze(conn, Arc::new((**query).clone()), declared).await?.params
                    }
                    _ => Vec::new(),
                };
                let mut analyzed = Analyzed::without_plan(parsed.clone(), columns);
                analyzed.params = params;
                analyzed
            }
            _ => {
                self.ensure_transaction()?;
                self.analyze(conn, parsed.clone(), declared).await?
            }
        };
        Ok(Prepared { analyzed, query: query.into(), from_sql, prepared_us: super::info::now_us() })
    }

    /// B.
    pub(super) fn bind(&mut self, conn: &mut Connection, bind: Bind) -> Result<()> {
        let prepared = self.find_prepared(&bind.statement)?;
        self.check_not_failed(&prepared.analyzed.parsed.statement)?;
        let types = &prepared.analyzed.params;
        if bind.values.len() != types.len() {
            return Err(violation(format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.values.len(),
                bind.statement,
                types.len()
            )));
        }
        let formats = spread_formats(&bind.formats, types.len(), "parameter formats but", "parameters")?;
        let style = self.settings.input_style(self.info.transaction_start_us());
        let decode = |((value, format), ty): ((&Option<bytes::Bytes>, i16), &SqlType)| match (value, format) {
            (None, _) => ScalarValue::try_from(&ty.arrow_type()).map_err(quiver_exec::from_datafusion),
            (Some(bytes), 0) if shows_name(ty) => self.named_value(ty, utf8(bytes)?, &style),
            (Some(bytes), 0) => value_from_text(ty, utf8(bytes)?, &style),
            (Some(bytes), _) => value_from_binary(ty, bytes),
        };
        let params: Vec<ParamValue> =
            bind.values.iter().zip(formats).zip(types).map(decode).collect::<Result<_>>()?;
        let columns = prepared.analyzed.columns.clone();
        if let Some(columns) = &columns {
            self.described.shape(columns, &bind.result_formats)?;
        }
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            return Err(already_open(&bind.portal));
        }
        let portal = Portal {
            columns,
            formats: bind.result_formats,
            depth: self.transaction.depth(),
            hold: false,
            created_us: super::info::now_us(),
            query: prepared.query.clone(),
            state: PortalState::Ready { prepared, params },
        };
        self.portals.insert(bind.portal, portal);
        backend::bare(&mut conn.output.buffer, b'2');
        Ok(())
    }

    /// A regclass or one of its kin from a name, or from digits.
    fn named_value(&self, ty: &SqlType, text: &str, input: &InputStyle) -> Result<ParamValue> {
        let style = CastStyle {
            input: *input,
            output: OutputStyle::default(),
            oids: Some(self.names()?),
            session: None,
        };
        let text = ScalarValue::Utf8(Some(text.to_owned()));
        cast_scalar(&text, &SqlType::Unknown, ty, CastContext::Explicit, &style)
    }

    /// D.
    pub(super) fn describe(&mut self, conn: &mut Connection, target: &Target) -> Result<()> {
        let (columns, formats) = match target {
            Target::Statement(name) => {
                let prepared = self.find_prepared(name)?;
                backend::parameter_description(&mut conn.output.buffer, &prepared.analyzed.params);
                (prepared.analyzed.columns.clone(), &[][..])
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.columns.clone(), portal.formats.as_slice())
            }
        };
        match columns {
            Some(schema) => self.described.write(&mut conn.output.buffer, &schema, formats),
            None => {
                backend::bare(&mut conn.output.buffer, b'n');
                Ok(())
            }
        }
    }

    /// E.
    pub(super) async fn execute_portal(
        &mut self,
        conn: &mut Connection,
        name: &str,
        rows_max: u32,
    ) -> Result<()> {
        self.info.begin_statement();
        let mut portal = self.take_portal(name)?;
        self.info.set_query(&portal.query);
        let limit = if rows_max == 0 { u64::MAX } else { u64::from(rows_max) };
        let done = self.run_portal(conn, &mut portal, limit).await;
        // After COMMIT and ROLLBACK the portals of the transaction are gone, this one too.
        if done.is_ok() && (self.transaction.block != Block::None || portal.is_held()) {
            self.portals.entry(name.to_owned()).or_insert(portal);
        }
        done
    }

    async fn run_portal(&mut self, conn: &mut Connection, portal: &mut Portal, limit: u64) -> Result<()> {
        match std::mem::replace(&mut portal.state, PortalState::Done(None)) {
            PortalState::Ready { prepared, params } => {
                self.begin_portal(conn, portal, &prepared, &params, limit).await
            }
            PortalState::Rows { source, tag } => self.go_on(conn, portal, source, tag, limit).await,
            PortalState::Done(Some(word)) => {
                portal.state = PortalState::Done(Some(word));
                self.complete(conn, &format!("{word} 0"), false).await
            }
            PortalState::Done(None) | PortalState::Scroll(_) => {
                Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run anymore"))
            }
        }
    }

    async fn begin_portal(
        &mut self,
        conn: &mut Connection,
        portal: &mut Portal,
        prepared: &Prepared,
        params: &[ParamValue],
        limit: u64,
    ) -> Result<()> {
        let analyzed = &prepared.analyzed;
        self.check_not_failed(&analyzed.parsed.statement)?;
        let alone = self.transaction.block != Block::Explicit;
        let step = Step { last: false, alone, query: portal.query.clone() };
        match &analyzed.parsed.statement {
            Statement::Empty => {
                backend::bare(&mut conn.output.buffer, b'I');
                Ok(())
            }
            Statement::Session(command) => {
                let mut command = (**command).clone();
                if let SessionCommand::Declare { values, .. } = &mut command {
                    *values = analyzed.params.iter().cloned().zip(params.iter().cloned()).collect();
                }
                let formats = portal.formats.clone();
                Box::pin(self.run_command(conn, command, &formats, false, step)).await
            }
            _ => {
                self.ensure_transaction()?;
                let executed = self.execute(conn, analyzed, params, &step).await;
                let executed =
                    executed.map_err(|error| in_query(error, &prepared.query, analyzed.parsed.offset))?;
                match executed {
                    Executed { outcome: Outcome::Rows { schema, rows, tag }, watch } => {
                        check_columns(&portal.columns, &schema)?;
                        let source = RowSource::new(schema, rows, watch);
                        self.go_on(conn, portal, source, tag, limit).await
                    }
                    executed => {
                        let formats = portal.formats.clone();
                        Box::pin(self.deliver(conn, executed, &formats, false, false)).await
                    }
                }
            }
        }
    }

    async fn go_on(
        &mut self,
        conn: &mut Connection,
        portal: &mut Portal,
        mut source: RowSource,
        tag: crate::outcome::Tag,
        limit: u64,
    ) -> Result<()> {
        if self.transaction.failed {
            return Err(aborted());
        }
        source.watch.deadline = self.deadline();
        let format = self.row_format(&source.schema, &portal.formats)?;
        self.tell(conn);
        let (sent, more) = self.send_rows(conn, &mut source, &format, limit).await?;
        if more {
            portal.state = PortalState::Rows { source, tag };
            backend::bare(&mut conn.output.buffer, b's');
            return Ok(());
        }
        portal.state = PortalState::Done(match tag {
            crate::outcome::Tag::Counted(word) => Some(word),
            crate::outcome::Tag::Fixed(_) => None,
        });
        self.complete(conn, &tag_of(&tag, sent), false).await
    }

    /// C: closing what is not there is no error.
    pub(super) fn close(&mut self, conn: &mut Connection, target: &Target) {
        match target {
            Target::Statement(name) => {
                self.info.prepared.lock().remove(name);
            }
            Target::Portal(name) => {
                self.portals.remove(name);
            }
        }
        backend::bare(&mut conn.output.buffer, b'3');
    }

    /// A prepared statement by name; 26000.
    pub(super) fn find_prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.info.prepared.lock().get(name).cloned().ok_or_else(|| {
            let what = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                _ => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, what)
        })
    }
}

/// What a client said about a parameter: nothing, or the oid of a type. `unknown` says nothing either.
fn declared_type(oid: u32) -> Result<Option<SqlType>> {
    match oids::type_of_oid(oid) {
        Some(SqlType::Unknown) => Ok(None),
        Some(ty) => Ok(Some(ty)),
        None if oid == 0 => Ok(None),
        None => Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist"))),
    }
}

/// The client was told these columns when it prepared the statement.
fn check_columns(told: &Option<SchemaRef>, found: &SchemaRef) -> Result<()> {
    let same = told.as_ref().is_none_or(|told| {
        Arc::ptr_eq(told, found)
            || told.fields().len() == found.fields().len()
                && told
                    .fields()
                    .iter()
                    .zip(found.fields())
                    .all(|(told, found)| SqlType::of_field(told) == SqlType::of_field(found))
    });
    if same {
        return Ok(());
    }
    Err(statement::changed_result())
}

/// 42P05.
pub(super) fn already_prepared(name: &str) -> Error {
    Error::new(
        SqlState::DUPLICATE_PREPARED_STATEMENT,
        format!("prepared statement \"{name}\" already exists"),
    )
}

/// 42P03.
pub(super) fn already_open(name: &str) -> Error {
    Error::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists"))
}
