//! Plans that a prepared query keeps from one run to the next. The first run has a plan of its own, made for its parameters'
//! values; from the second on there is one with slots for them, if a query of its kind can have one.

use super::context::cast_style;
use super::query::BoundQuery;
use super::types::without_modifier;
use super::typing::fixed_size;
use super::{Binder, CastContext, cast_scalar, params};
use crate::statement::StatementContext;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, Volatility};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use quiver_base::{Result, SqlType};
use quiver_exec::{CollectionTable, ReadyPlan, Rows, from_datafusion, to_datafusion};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Statements with more parameters have a plan for each run: lists of constants are searched faster than lists of parameters.
const PARAMS_MAX: usize = 64;

/// The plan that a query keeps.
#[derive(Debug, Default)]
pub(crate) struct KeptPlan {
    state: Mutex<State>,
    kept: AtomicU64,
    made: AtomicU64,
}

/// Runs with the kept plan, and with one made for the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlanCounts {
    pub(crate) kept: u64,
    pub(crate) made: u64,
}

#[derive(Debug, Default)]
enum State {
    /// It has not run.
    #[default]
    New,
    /// It is worth a plan to keep.
    Wanted,
    /// A run has the plan, or makes it. Another that begins meanwhile has one of its own.
    Away,
    Here(Box<Kept>),
    /// No plan can be kept.
    Never,
}

/// A plan and what it was made for.
#[derive(Debug)]
struct Kept {
    ready: ReadyPlan,
    slots: Vec<SlotType>,
    /// Parameters of LIMIT and OFFSET: their values are part of the plan.
    limits: Vec<(usize, ScalarValue)>,
}

/// Where a slot's value comes from.
#[derive(Debug)]
struct SlotType {
    param: usize,
    wanted: Option<SqlType>,
}

impl KeptPlan {
    /// Runs a query with the plan that is here. `None`: there is none, or none that is right for this run.
    pub(crate) fn run_at_hand(
        self: &Arc<Self>,
        ctx: &StatementContext<'_>,
        values: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<Option<Rows>> {
        let Some(kept) = self.take_here() else { return Ok(None) };
        // Puts the plan back however the run ends.
        let lent = Lent { home: self.clone(), kept: Some(kept), refused: false };
        let Some(kept) = lent.kept.as_ref().filter(|kept| kept.has_limits(values)) else { return Ok(None) };
        let rows = if kept.ready.reads_nothing() {
            let values = kept.values(ctx, values, types)?;
            Rows::Batches(vec![kept.ready.row(values)?])
        } else {
            let context = Arc::new(Binder::query_context(ctx, ctx.txn.read_view()));
            if !kept.ready.fits(&context)? {
                return Ok(None);
            }
            let values = kept.values(ctx, values, types)?;
            match ctx.engine.run_ready(&kept.ready, context, values)? {
                Rows::Stream(stream) => Rows::Stream(lent.until_end_of(stream)),
                all => all,
            }
        };
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(Some(rows))
    }

    /// The same, but it may make the plan first. `None`: the query is to be planned for this run.
    pub(crate) async fn run(
        self: &Arc<Self>,
        ctx: &StatementContext<'_>,
        query: &BoundQuery,
        values: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<Option<Rows>> {
        let mut rows = self.run_at_hand(ctx, values, types)?;
        if rows.is_none() {
            self.prepare(ctx, query, values, types).await;
            rows = self.run_at_hand(ctx, values, types)?;
        }
        if rows.is_none() {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(rows)
    }

    pub(crate) fn counts(&self) -> PlanCounts {
        PlanCounts { kept: self.kept.load(Ordering::Relaxed), made: self.made.load(Ordering::Relaxed) }
    }

    /// Makes a plan if there is none that is right, and one may be worth it.
    async fn prepare(
        self: &Arc<Self>,
        ctx: &StatementContext<'_>,
        query: &BoundQuery,
        values: &[ScalarValue],
        types: &[SqlType],
    ) {
        let (State::Here(_) | State::Wanted) = self.take() else { return };
        let mut lent = Lent { home: self.clone(), kept: None, refused: false };
        lent.kept = make(ctx, query, values, types).await.map(Box::new);
        lent.refused = lent.kept.is_none();
    }

    /// What is here; what is left says that it is gone.
    fn take(&self) -> State {
        let mut state = self.state.lock();
        let left = match &*state {
            State::New => State::Wanted,
            State::Wanted | State::Here(_) | State::Away => State::Away,
            State::Never => State::Never,
        };
        std::mem::replace(&mut *state, left)
    }

    fn take_here(&self) -> Option<Box<Kept>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Away) {
            State::Here(kept) => Some(kept),
            other => {
                *state = other;
                None
            }
        }
    }
}

/// A plan while a run has it.
struct Lent {
    home: Arc<KeptPlan>,
    kept: Option<Box<Kept>>,
    /// It was found that there can be none.
    refused: bool,
}

impl Lent {
    fn until_end_of(self, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = stream.schema();
        // The stream first: what it has begun must be over before another run fills the slots.
        let both = futures::stream::unfold((stream, self), |(mut stream, lent)| async move {
            let batch = stream.next().await?;
            Some((batch, (stream, lent)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, both))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.state.lock() = match self.kept.take() {
            Some(kept) => State::Here(kept),
            None if self.refused => State::Never,
            // Cancelled while it was made.
            None => State::Wanted,
        };
    }
}

impl Kept {
    fn has_limits(&self, values: &[ScalarValue]) -> bool {
        self.limits.iter().all(|(param, value)| values.get(*param) == Some(value))
    }

    /// A value a slot.
    fn values(
        &self,
        ctx: &StatementContext<'_>,
        values: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<Vec<ScalarValue>> {
        let mut style = None;
        let value = |slot: &SlotType| {
            let (value, ty) = (&values[slot.param], &types[slot.param]);
            match (ty, &slot.wanted) {
                (SqlType::Vector(_), Some(SqlType::Vector(Some(dim)))) => fixed_size(value.clone(), *dim),
                (ty, Some(wanted)) if without_modifier(ty) != without_modifier(wanted) => {
                    let style = style.get_or_insert_with(|| cast_style(ctx));
                    cast_scalar(value, ty, wanted, CastContext::Explicit, style)
                }
                _ => Ok(value.clone()),
            }
        };
        self.slots.iter().map(value).collect()
    }
}

/// Makes a plan to keep. What fails here fails again, and is told, when the query is planned for its run.
async fn make(
    ctx: &StatementContext<'_>,
    query: &BoundQuery,
    values: &[ScalarValue],
    types: &[SqlType],
) -> Option<Kept> {
    if values.len() > PARAMS_MAX || !is_settled(&query.plan) {
        return None;
    }
    let binder = Binder::new(ctx, &[]);
    let (plan, limits) = with_limits(&binder, query.plan.clone(), values, types).ok()?;
    let (ready, slots) = ctx.engine.ready(&binder.state, &plan).await.ok()??;
    let slots = slots
        .into_iter()
        .map(|slot| {
            let param = params::index(&slot.id).filter(|param| *param < types.len())?;
            let wanted = SqlType::of_field(&slot.field);
            let ty = match &wanted {
                Some(wanted) if without_modifier(wanted) != without_modifier(&types[param]) => wanted,
                Some(wanted @ SqlType::Vector(Some(_))) => wanted,
                _ => &types[param],
            };
            (ty.arrow_type() == *slot.field.data_type()).then_some(SlotType { param, wanted })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Kept { ready, slots, limits })
}

impl BoundQuery {
    /// Whether it means the same in every statement: it reads tables only, and calls what depends on its arguments alone.
    pub(crate) fn is_settled(&self) -> bool {
        is_settled(&self.plan)
    }
}

/// Whether a plan means the same in every statement: it reads tables only, and calls what depends on its arguments alone.
fn is_settled(plan: &LogicalPlan) -> bool {
    let mut settled = true;
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            settled &= provider.is::<CollectionTable>();
        }
        node.apply_expressions(|expr| {
            settled &= !expr.exists(|expr| Ok(!is_immutable(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if settled { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    settled && visited.is_ok()
}

fn is_immutable(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
        Expr::Placeholder(placeholder) => placeholder.field.is_some(),
        _ => true,
    }
}

type Limits = Vec<(usize, ScalarValue)>;

/// The plan with numbers in LIMIT and OFFSET.
fn with_limits(
    binder: &Binder,
    plan: LogicalPlan,
    values: &[ScalarValue],
    types: &[SqlType],
) -> Result<(LogicalPlan, Limits)> {
    let mut limits = Vec::new();
    let mut filled = |expr: Option<Box<Expr>>| -> DfResult<Option<Box<Expr>>> {
        let Some(expr) = expr else { return Ok(None) };
        let found = expr.transform_up(|expr| {
            if let Expr::Placeholder(placeholder) = &expr
                && let Some(param) = params::index(&placeholder.id)
                && let Some(value) = values.get(param)
            {
                limits.push((param, value.clone()));
            }
            let (expr, _) = binder.fill_expr(expr, values, types).map_err(to_datafusion)?;
            Ok(Transformed::yes(expr))
        })?;
        Ok(Some(Box::new(found.data)))
    };
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => {
            let (skip, fetch) = (filled(limit.skip)?, filled(limit.fetch)?);
            Ok(Transformed::yes(LogicalPlan::Limit(Limit { skip, fetch, input: limit.input })))
        }
        other => Ok(Transformed::no(other)),
    });
    let plan = plan.map_err(from_datafusion)?.data;
    Ok((plan, limits))
}
