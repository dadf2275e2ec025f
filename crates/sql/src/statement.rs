//! A parsed statement, sorted by who handles it, and the two steps every statement goes through: analyse, execute.
//! Parsed once; never rewritten as text.

use crate::admin::{self, AdminCommand};
use crate::bind::{Binder, BoundQuery, KeptPlan, PlanCounts, conform, conform_stream, is_told};
use crate::dml::{self, BoundChange, BoundInsert, BoundWith, Together};
use crate::explain::{self, ExplainOptions};
use crate::outcome::{Notice, Outcome, Tag};
pub(crate) use crate::parser::parse;
use crate::parser::{AlterSequence, CopyStatement, MaintenanceCommand};
use crate::session::{SessionCommand, SessionInfo};
use crate::settings::{Settings, StyleMark};
use crate::{copy, ddl, maintenance};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{Catalog, Cluster, Table, Txn};
use quiver_exec::{Engine, Rows};
use std::ops::ControlFlow;
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

impl Parsed {
    /// Whether it is a query whose WITH writes.
    pub(crate) fn writes_in_with(&self) -> bool {
        let Statement::Plannable(statement) = &self.statement else { return false };
        matches!(statement.as_ref(), ast::Statement::Query(query) if dml::writes(query))
    }
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
    Copy(Box<CopyStatement>),
    /// ALTER SEQUENCE.
    AlterSequence(Box<AlterSequence>),
    /// BEGIN, COMMIT, SET, SHOW, PREPARE, DECLARE, DISCARD …: of the session itself. The parser gives each statement's
    /// text to [`crate::session::parse_command`] first, which takes those it knows by their first words.
    Session(Box<SessionCommand>),
    /// CREATE ROLE, CREATE DATABASE, GRANT role …
    Admin(Box<AdminCommand>),
    /// VACUUM, ANALYZE, CHECKPOINT, REINDEX.
    Maintenance(MaintenanceCommand),
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
    /// While several parts of one statement write: what they have in common.
    pub together: Option<Together>,
    /// Sent before the statement's result.
    pub notices: &'a mut Vec<Notice>,
}

impl StatementContext<'_> {
    /// The oid of the role that the session acts as: the owner of what it makes.
    pub(crate) fn current_role(&self) -> u32 {
        crate::session::current_role(&self.txn.catalog(), self.settings)
    }
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
    /// Whether the client may have been told the columns: they stay then.
    is_told: bool,
    /// The plan, and what it was made from: used again while that has not changed, and made again once it has.
    plan: Arc<Mutex<Option<Arc<Plan>>>>,
}

impl Analyzed {
    /// A statement that nobody plans: of the session, or empty.
    pub(crate) fn without_plan(parsed: Arc<Parsed>, columns: Option<SchemaRef>) -> Analyzed {
        Analyzed { parsed, params: Vec::new(), columns, is_told: true, plan: Arc::default() }
    }

    /// The same for a client that will hear of the columns once there are rows. A plan with others is not shared with those who were told.
    pub(crate) fn untold(self) -> Analyzed {
        let plan = Arc::new(Mutex::new(self.plan.lock().clone()));
        Analyzed { is_told: false, plan, ..self }
    }

    /// Whether it is a query that means the same whenever it is read, as long as catalog and settings stay.
    pub(crate) fn is_settled(&self) -> bool {
        let Statement::Plannable(statement) = &self.parsed.statement else { return false };
        let plan = self.plan.lock();
        let bound = plan.as_ref().map(|plan| &plan.bound);
        matches!(bound, Some(Bound::Query(query)) if !locks_rows(statement) && query.is_settled())
            && !reads_clock(statement)
    }

    /// Whether catalog and settings are those that it was analysed by.
    pub(crate) fn is_current(&self, ctx: &StatementContext<'_>) -> bool {
        self.plan.lock().as_ref().is_some_and(|plan| plan.is_current(ctx))
    }

    /// Whether both keep one plan.
    pub(crate) fn is_same(&self, other: &Analyzed) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }

    /// How often a query ran with which kind of plan.
    pub(crate) fn plans(&self) -> PlanCounts {
        self.plan.lock().as_ref().map(|plan| plan.kept.counts()).unwrap_or_default()
    }

    /// The plan that goes with the catalog and settings of now; 0A000 if it has other columns.
    fn current_plan(&self, ctx: &StatementContext<'_>, statement: &ast::Statement) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plan.lock().as_ref()
            && plan.is_current(ctx)
        {
            return Ok(plan.clone());
        }
        let declared: Vec<_> = self.params.iter().cloned().map(Some).collect();
        let (bound, _) = bind(ctx, statement, &declared)?;
        if self.is_told && !same_columns(columns(&bound).as_deref(), self.columns.as_deref()) {
            return Err(changed_result());
        }
        let plan = Arc::new(Plan::new(ctx, bound));
        *self.plan.lock() = Some(plan.clone());
        Ok(plan)
    }
}

/// A bound statement with the names it was bound by.
#[derive(Debug)]
struct Plan {
    catalog: Arc<Catalog>,
    search_path: Vec<String>,
    /// Casts print and read by it.
    style: StyleMark,
    bound: Bound,
    /// The physical plan of a query.
    kept: Arc<KeptPlan>,
}

impl Plan {
    fn new(ctx: &StatementContext<'_>, bound: Bound) -> Plan {
        Plan {
            catalog: ctx.txn.catalog(),
            search_path: ctx.settings.search_path(),
            style: ctx.settings.style_mark(),
            bound,
            kept: Arc::default(),
        }
    }

    /// Whether it is what binding would give now.
    fn is_current(&self, ctx: &StatementContext<'_>) -> bool {
        Arc::ptr_eq(&self.catalog, &ctx.txn.catalog())
            && ctx.settings.has_style(&self.style)
            && ctx.settings.has_search_path(&self.search_path)
    }
}

/// A bound statement.
#[derive(Debug)]
pub(crate) enum Bound {
    /// SELECT and its kin.
    Query(BoundQuery),
    /// INSERT.
    Insert(BoundInsert),
    /// UPDATE and DELETE.
    Change(BoundChange),
    /// One of these, with others in its WITH that write.
    With(BoundWith),
    /// EXPLAIN of one of these.
    Explain(ExplainOptions, Box<Bound>),
}

impl Bound {
    /// The tables that INSERT, UPDATE and DELETE write to.
    fn targets(&self) -> Vec<Arc<Table>> {
        match self {
            Bound::Query(_) | Bound::Explain(..) => Vec::new(),
            Bound::Insert(insert) => vec![insert.table.clone()],
            Bound::Change(change) => vec![change.table.clone()],
            Bound::With(with) => {
                let parts = with.parts.iter().map(|part| &part.bound);
                parts.chain([&*with.main]).flat_map(Bound::targets).collect()
            }
        }
    }
}

/// Resolves names and types. `declared[i]` is the type a client or PREPARE gave `$i+1`; parameters without one are inferred,
/// and fail with 42P18 if they cannot be. Error positions count characters of `parsed.sql`, from 1: the session adds the offset.
pub(crate) async fn analyze(
    ctx: &mut StatementContext<'_>,
    parsed: Arc<Parsed>,
    declared: &[Option<SqlType>],
) -> Result<Analyzed> {
    match &parsed.statement {
        Statement::Plannable(statement) => {
            let (bound, params) = bind(ctx, statement, declared)?;
            let columns = columns(&bound);
            let plan = Plan::new(ctx, bound);
            let plan = Arc::new(Mutex::new(Some(Arc::new(plan))));
            Ok(Analyzed { parsed, params, columns, is_told: true, plan })
        }
        _ => {
            let params = declared.iter().map(|ty| ty.clone().unwrap_or(SqlType::Text)).collect();
            Ok(Analyzed { parsed, params, columns: None, is_told: true, plan: Arc::default() })
        }
    }
}

/// Binds a statement that is planned; parameter types come with it.
pub(crate) fn bind(
    ctx: &StatementContext<'_>,
    statement: &ast::Statement,
    declared: &[Option<SqlType>],
) -> Result<(Bound, Vec<SqlType>)> {
    if let ast::Statement::Explain { .. } = statement {
        let (options, inner) = explain::options(statement)?;
        let (bound, params) = bind(ctx, inner, declared)?;
        return Ok((Bound::Explain(options, Box::new(bound)), params));
    }
    let binder = Binder::new(ctx, declared);
    let bound = match statement {
        ast::Statement::Query(query) if dml::writes(query) => dml::bind_with(&binder, query)?,
        ast::Statement::Query(query) => Bound::Query(binder.bind(query)?),
        ast::Statement::Insert(insert) => Bound::Insert(dml::bind_insert(&binder, insert)?),
        ast::Statement::Update(update) => Bound::Change(dml::bind_update(&binder, update, None)?),
        ast::Statement::Delete(delete) => Bound::Change(dml::bind_delete(&binder, delete, None)?),
        other => return Err(Error::unsupported(other)),
    };
    Ok((bound, binder.param_types()?))
}

fn columns(bound: &Bound) -> Option<SchemaRef> {
    match bound {
        Bound::Query(query) => Some(query.schema.clone()),
        Bound::Insert(insert) => insert.returning.as_ref().map(|returning| returning.schema.clone()),
        Bound::Change(change) => change.returning.as_ref().map(|returning| returning.schema.clone()),
        Bound::With(with) => columns(&with.main),
        Bound::Explain(options, _) => Some(options.schema()),
    }
}

/// Whether results have the same names and types, of whichever tables.
fn same_columns(one: Option<&Schema>, other: Option<&Schema>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let same = |(a, b): (&FieldRef, &FieldRef)| {
        a.name() == b.name() && SqlType::of_field(a) == SqlType::of_field(b) && is_told(a) == is_told(b)
    };
    one.fields().len() == other.fields().len() && one.fields().iter().zip(other.fields()).all(same)
}

/// Runs a query by the plan that it keeps, if it has one that is still right. `None`: see [`execute`].
pub(crate) fn execute_kept(
    ctx: &StatementContext<'_>,
    analyzed: &Analyzed,
    params: &[ParamValue],
) -> Result<Option<Outcome>> {
    let Statement::Plannable(statement) = &analyzed.parsed.statement else { return Ok(None) };
    let plan = analyzed.plan.lock().as_ref().filter(|plan| plan.is_current(ctx)).cloned();
    let Some(plan) = plan else { return Ok(None) };
    let Bound::Query(query) = &plan.bound else { return Ok(None) };
    if locks_rows(statement) {
        return Ok(None);
    }
    let rows = plan.kept.run_at_hand(ctx, params, &analyzed.params)?;
    rows.map(|rows| rows_of(query, rows)).transpose()
}

/// Runs an analysed statement, binding and planning again if the catalog has changed. Never called for
/// [`Statement::Session`] and [`Statement::Empty`].
pub(crate) async fn execute(
    ctx: &mut StatementContext<'_>,
    analyzed: &Analyzed,
    params: &[ParamValue],
) -> Result<Outcome> {
    if ctx.settings.is_on("transaction_read_only")
        && let Some(command) = writing_command(&analyzed.parsed)
    {
        let message = format!("cannot execute {command} in a read-only transaction");
        return Err(Error::new(SqlState::READ_ONLY_SQL_TRANSACTION, message));
    }
    match &analyzed.parsed.statement {
        Statement::Plannable(statement) => {
            let mut plan = analyzed.current_plan(ctx, statement)?;
            while lock_targets(ctx, statement, &plan.bound).await? {
                plan = analyzed.current_plan(ctx, statement)?;
            }
            if let Bound::Query(query) = &plan.bound
                && !locks_rows(statement)
                && let Some(rows) = plan.kept.run(ctx, query, params, &analyzed.params).await?
            {
                return rows_of(query, rows);
            }
            run_bound(ctx, statement, &plan.bound, params, &analyzed.params).await
        }
        Statement::Ddl(statement) => ddl::execute(ctx, statement).await,
        Statement::AlterSequence(alter) => ddl::alter_sequence(ctx, alter).await,
        Statement::Copy(copy) => copy::execute(ctx, copy).await,
        Statement::Admin(command) => admin::execute(ctx, command).await,
        Statement::Maintenance(command) => maintenance::execute(ctx, command).await,
        Statement::Session(_) | Statement::Empty => Err(Error::internal("a statement of the session")),
    }
}

/// Locks the tables that a statement writes to, before it reads. Whether one of them was changed first: the statement is bound anew
/// then, as in PostgreSQL, which knows tables only once it has locked them.
async fn lock_targets(
    ctx: &mut StatementContext<'_>,
    statement: &ast::Statement,
    bound: &Bound,
) -> Result<bool> {
    let targets = match (bound, statement) {
        (Bound::Query(_), ast::Statement::Query(query)) => dml::locked_tables(ctx, query)?,
        _ => bound.targets(),
    };
    for table in targets {
        if ctx.txn.lock_for_write(&table).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a statement that writes is called in the refusal of a read-only transaction.
fn writing_command(parsed: &Parsed) -> Option<String> {
    let of_query = |query: &ast::Query| match query.locks.first().map(|lock| lock.lock_type) {
        Some(ast::LockType::Update) => Some("SELECT FOR UPDATE"),
        Some(ast::LockType::Share) => Some("SELECT FOR SHARE"),
        None => match query.body.as_ref() {
            ast::SetExpr::Insert(_) => Some("INSERT"),
            ast::SetExpr::Update(_) => Some("UPDATE"),
            ast::SetExpr::Delete(_) => Some("DELETE"),
            _ => dml::writes(query).then_some("SELECT"),
        },
    };
    let fixed = match &parsed.statement {
        Statement::Plannable(statement) => match statement.as_ref() {
            ast::Statement::Insert(_) => Some("INSERT"),
            ast::Statement::Update(_) => Some("UPDATE"),
            ast::Statement::Delete(_) => Some("DELETE"),
            ast::Statement::Query(query) => of_query(query),
            _ => None,
        },
        Statement::Copy(copy) => (!copy.to).then_some("COPY FROM"),
        Statement::Ddl(_) | Statement::AlterSequence(_) | Statement::Admin(_) => {
            let words = parsed.sql.split_ascii_whitespace().map(str::to_ascii_uppercase);
            let mut words = words.filter(|word| word != "UNIQUE" && word != "COLLECTION");
            let (verb, kind) = (words.next()?, words.next()?);
            return Some(if verb == "TRUNCATE" {
                "TRUNCATE TABLE".to_owned()
            } else {
                format!("{verb} {kind}")
            });
        }
        Statement::Empty | Statement::Session(_) | Statement::Maintenance(_) => None,
    };
    fixed.map(str::to_owned)
}

/// Runs a bound statement.
pub(crate) async fn run_bound(
    ctx: &mut StatementContext<'_>,
    statement: &ast::Statement,
    bound: &Bound,
    params: &[ParamValue],
    types: &[SqlType],
) -> Result<Outcome> {
    match bound {
        Bound::Query(query) => {
            let restricted = match statement {
                ast::Statement::Query(tree) => dml::lock_selected(ctx, tree, params, types).await?,
                _ => None,
            };
            let (binder, plan) = match restricted {
                None => (Binder::new(ctx, &[]), query.plan.clone()),
                Some(restricted) => {
                    let declared: Vec<_> = types.iter().cloned().map(Some).collect();
                    let binder = Binder::new(ctx, &declared).with_target(restricted.table.id);
                    let plan = binder.bind(&restricted.query)?.plan;
                    (binder, dml::without_row_columns(plan)?)
                }
            };
            let plan = binder.fill(plan, params, types)?;
            rows_of(query, Rows::Stream(binder.start(&plan).await?))
        }
        Bound::Insert(insert) => dml::run_insert(ctx, insert, params, types).await,
        Bound::Change(change) => dml::run_change(ctx, change, params, types).await,
        Bound::With(with) => dml::run_with(ctx, statement, with, params, types).await,
        Bound::Explain(options, bound) => explain::execute(ctx, options, bound, params, types).await,
    }
}

fn rows_of(query: &BoundQuery, rows: Rows) -> Result<Outcome> {
    let schema = query.schema.clone();
    let rows = match rows {
        Rows::Stream(stream) => Rows::Stream(conform_stream(stream, &schema)),
        Rows::Batches(batches) => {
            Rows::Batches(batches.iter().map(|batch| conform(batch, &schema)).collect::<Result<_>>()?)
        }
    };
    Ok(Outcome::Rows { schema, rows, tag: Tag::Counted("SELECT") })
}

/// SELECT … FOR UPDATE and its kin.
fn locks_rows(statement: &ast::Statement) -> bool {
    matches!(statement, ast::Statement::Query(query) if !query.locks.is_empty())
}

/// 0A000: a client was told other columns. pgjdbc prepares such a statement again, and knows it by the routine.
pub(crate) fn changed_result() -> Error {
    let message = "cached plan must not change result type";
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_routine("RevalidateCachedQuery")
}

/// Words of literals that mean the time at which they are read.
const TIME_WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// Whether a statement may hold such a literal. Whatever looks like one counts, as the type may be said elsewhere.
fn reads_clock(statement: &ast::Statement) -> bool {
    struct Clock;
    impl ast::Visitor for Clock {
        type Break = ();

        fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> ControlFlow<()> {
            let text = value.value.to_string().to_ascii_lowercase();
            match TIME_WORDS.iter().any(|word| text.contains(word)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    ast::Visit::visit(statement, &mut Clock).is_break()
}
