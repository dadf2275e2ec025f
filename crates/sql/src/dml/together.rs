//! Runs a statement whose WITH has statements that write. All parts read what was there before any of them wrote, and each sees of
//! the others only the rows that they return. What nothing reads runs last.

use super::change::{ATTEMPTS_MAX, outrun};
use crate::outcome::Outcome;
use crate::statement::{Bound, ParamValue, StatementContext, run_bound};
use arrow::array::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::sql::sqlparser::ast::Statement;
use futures::TryStreamExt;
use quiver_base::{Result, SqlType};
use quiver_cluster::{ReadView, RowRef};
use quiver_exec::{Rows, from_datafusion};
use std::collections::HashSet;
use std::sync::Arc;

/// A bound statement and the parts of its WITH that write, in their order.
#[derive(Debug)]
pub(crate) struct BoundWith {
    /// What the client asked for: its rows and its tag.
    pub main: Box<Bound>,
    /// The others.
    pub parts: Vec<Part>,
}

/// One statement that writes in a WITH.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name in the WITH.
    pub name: String,
    /// The statement.
    pub bound: Bound,
    /// Where the rows of RETURNING go. They are there while the statement is running.
    pub rows: Option<Arc<MemTable>>,
    /// Whether the main statement reads them, itself or by way of others.
    pub is_read: bool,
}

/// What the parts of one statement have in common.
pub(crate) struct Together {
    /// What all of them see.
    pub view: ReadView,
    /// Rows that a part has ended: the others leave them alone.
    pub ended: HashSet<RowRef>,
    /// Rows that a part has written.
    pub made: HashSet<RowRef>,
    /// A row in the view has been changed by another transaction meanwhile: everything has to start over.
    pub is_outdated: bool,
}

/// Runs one.
pub(crate) async fn run_with(
    ctx: &mut StatementContext<'_>,
    statement: &Statement,
    with: &BoundWith,
    params: &[ParamValue],
    types: &[SqlType],
) -> Result<Outcome> {
    let savepoint = ctx.txn.savepoint();
    for _ in 0..ATTEMPTS_MAX {
        ctx.together = Some(Together {
            view: ctx.txn.read_view(),
            ended: HashSet::new(),
            made: HashSet::new(),
            is_outdated: false,
        });
        let outcome = run_parts(ctx, statement, with, params, types).await;
        with.forget().await;
        let together = ctx.together.take();
        if !together.is_some_and(|together| together.is_outdated) {
            let outcome = outcome?;
            ctx.txn.release(savepoint);
            return Ok(outcome);
        }
        ctx.txn.rollback_to(savepoint);
        ctx.txn.begin_statement().await?;
    }
    Err(outrun())
}

async fn run_parts(
    ctx: &mut StatementContext<'_>,
    statement: &Statement,
    with: &BoundWith,
    params: &[ParamValue],
    types: &[SqlType],
) -> Result<Outcome> {
    for part in with.parts.iter().filter(|part| part.is_read) {
        part.run(ctx, statement, params, types).await?;
    }
    let outcome = Box::pin(run_bound(ctx, statement, &with.main, params, types)).await?;
    for part in with.parts.iter().filter(|part| !part.is_read) {
        part.run(ctx, statement, params, types).await?;
    }
    Ok(outcome)
}

impl Part {
    async fn run(
        &self,
        ctx: &mut StatementContext<'_>,
        statement: &Statement,
        params: &[ParamValue],
        types: &[SqlType],
    ) -> Result<()> {
        let outcome = Box::pin(run_bound(ctx, statement, &self.bound, params, types)).await?;
        if let (Outcome::Rows { rows, .. }, Some(kept)) = (outcome, &self.rows) {
            let batches = match rows {
                Rows::Batches(batches) => batches,
                Rows::Stream(stream) => stream.try_collect().await.map_err(from_datafusion)?,
            };
            kept.fill(batches).await;
        }
        Ok(())
    }
}

impl BoundWith {
    /// Plans that run have the rows by now.
    async fn forget(&self) {
        for rows in self.parts.iter().filter_map(|part| part.rows.as_ref()) {
            rows.fill(Vec::new()).await;
        }
    }
}

/// Rows that are kept for the parts that read them.
trait Kept {
    async fn fill(&self, batches: Vec<RecordBatch>);
}

impl Kept for MemTable {
    async fn fill(&self, batches: Vec<RecordBatch>) {
        if let Some(partition) = self.batches.first() {
            *partition.write().await = batches;
        }
    }
}
