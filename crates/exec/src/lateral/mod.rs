//! Lateral joins that DataFusion cannot turn into ordinary joins, above all a top-k per outer row:
//! `FROM q, LATERAL (SELECT … ORDER BY d.embedding <-> q.embedding LIMIT 5)`. The inner query becomes a template with a
//! placeholder for each outer column; it is optimised once and run for each outer row, so it may be any query. Correlated scalar
//! subqueries that DataFusion leaves, such as those with a LIMIT, go the same way.

mod exec;
mod planner;
mod scalar;
mod scope;
mod split;

pub(crate) use planner::EngineQueryPlanner;
pub(crate) use split::OneSubqueryEach;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Expr, Extension, Filter, Join, JoinType, LogicalPlan, Subquery, SubqueryAlias, UserDefinedLogicalNodeCore,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use quiver_base::Error;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as AtomicOrdering};

/// Runs `inner` for each row of `outer`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LateralApply {
    outer: LogicalPlan,
    /// With placeholder `names[i]` for the outer row's value of `bindings[i]`. Not an input: rules that look through inputs
    /// would take its columns for the outer's.
    inner: Arc<LogicalPlan>,
    /// Names of the placeholders, one a binding.
    names: Vec<String>,
    bindings: Vec<Expr>,
    /// Outer rows without an inner one come out with NULLs.
    keep_outer: bool,
    /// A second inner row is an error: the inner query stands for a value.
    single: bool,
    /// What a pair of rows must satisfy, over `schema`.
    on: Option<Expr>,
    /// Outer rows for which it does not hold have no inner ones, and the inner query does not run for them. Over `outer`.
    when: Option<Expr>,
    schema: DFSchemaRef,
}

impl LateralApply {
    /// The inner query.
    fn inner(&self) -> &LogicalPlan {
        &self.inner
    }

    fn with_inner(&self, inner: LogicalPlan) -> LateralApply {
        LateralApply { inner: Arc::new(inner), ..self.clone() }
    }
}

impl PartialOrd for LateralApply {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for LateralApply {
    fn name(&self) -> &str {
        "LateralApply"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.outer]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The condition is not among them: it reads inner columns, which no input has.
    fn expressions(&self) -> Vec<Expr> {
        self.bindings.iter().chain(&self.when).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bindings: Vec<String> = self.bindings.iter().map(ToString::to_string).collect();
        write!(f, "LateralApply: bindings=[{}]", bindings.join(", "))?;
        write!(f, "{}", if self.keep_outer { ", left" } else { "" })
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let one_input = || crate::to_datafusion(Error::internal("LateralApply has one input"));
        let [outer] = inputs.try_into().map_err(|_| one_input())?;
        let when = exprs.split_off(self.bindings.len()).pop();
        Ok(LateralApply { outer, bindings: exprs, when, ..self.clone() })
    }
}

/// Finds lateral joins that are left after DataFusion's own rule and makes them [`LateralApply`].
#[derive(Debug)]
pub(crate) struct LateralToApply;

impl OptimizerRule for LateralToApply {
    fn name(&self) -> &str {
        "lateral_to_apply"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join) => match lateral_side(&join.right) {
                Some(subquery) if reads_only(&subquery, join.left.schema()) => {
                    Ok(Transformed::yes(apply(join, &subquery.subquery)?))
                }
                _ => Ok(Transformed::no(plan)),
            },
            LogicalPlan::Filter(filter) if scalar::has_correlated(&filter.predicate, &filter.input) => {
                Ok(Transformed::yes(scalar::in_filter(filter)?))
            }
            LogicalPlan::Filter(filter) => match filter_outer(filter)? {
                Some(better) => Ok(Transformed::yes(better)),
                None => Ok(Transformed::no(plan)),
            },
            LogicalPlan::Projection(projection) if scalar::any_correlated(projection) => {
                Ok(Transformed::yes(scalar::in_projection(projection)?))
            }
            LogicalPlan::Aggregate(aggregate) if scalar::in_arguments(aggregate) => {
                Ok(Transformed::yes(scalar::in_aggregate(aggregate)?))
            }
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// Moves what a filter asks of the outer row alone below the join: a row left out there costs no inner query.
fn filter_outer(filter: &Filter) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Extension(Extension { node }) = filter.input.as_ref() else { return Ok(None) };
    let Some(apply) = node.as_any().downcast_ref::<LateralApply>() else { return Ok(None) };
    let of_outer = |expr: &&Expr| {
        !expr.is_volatile() && expr.column_refs().iter().all(|column| apply.outer.schema().has_column(column))
    };
    let (below, above): (Vec<&Expr>, Vec<&Expr>) =
        split_conjunction(&filter.predicate).into_iter().partition(of_outer);
    let Some(below) = conjunction(below.into_iter().cloned()) else { return Ok(None) };
    let outer = LogicalPlan::Filter(Filter::try_new(below, Arc::new(apply.outer.clone()))?);
    let node = Arc::new(LateralApply { outer, ..apply.clone() });
    let joined = LogicalPlan::Extension(Extension { node });
    Ok(Some(match conjunction(above.into_iter().cloned()) {
        Some(above) => LogicalPlan::Filter(Filter::try_new(above, Arc::new(joined))?),
        None => joined,
    }))
}

/// The correlated subquery on a join's right side; an alias or a projection may lie over it.
fn lateral_side(plan: &LogicalPlan) -> Option<Subquery> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some(subquery.clone()),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => lateral_side(input),
        _ => None,
    }
}

/// Whether a subquery is correlated, and with this outer row alone: what reads a row further out waits until that one is dealt with.
fn reads_only(subquery: &Subquery, outer: &DFSchema) -> bool {
    let refs = scope::free(&subquery.subquery);
    !refs.is_empty() && refs.iter().all(|column| outer.has_column(column))
}

fn apply(join: &Join, subquery: &LogicalPlan) -> Result<LogicalPlan> {
    let keep_outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        other => {
            return Err(crate::to_datafusion(Error::unsupported(format!("a lateral {other} join"))));
        }
    };
    let (inner, names, bindings) = template(subquery, join.left.schema())?;
    let equalities = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let on = conjunction(equalities.chain(join.filter.clone()));
    let on = on.filter(|on| !matches!(on, Expr::Literal(value, _) if *value == true.into()));
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(LateralApply {
            outer: join.left.as_ref().clone(),
            inner: Arc::new(inner),
            names,
            bindings,
            keep_outer,
            single: false,
            on,
            when: None,
            schema: join.schema.clone(),
        }),
    }))
}

/// The subquery with placeholders for the outer row's columns, and which columns those are.
fn template(subquery: &LogicalPlan, outer: &DFSchema) -> Result<(LogicalPlan, Vec<String>, Vec<Expr>)> {
    // Templates lie within templates: no two have a placeholder in common.
    static TEMPLATES: AtomicU64 = AtomicU64::new(0);
    let template = TEMPLATES.fetch_add(1, AtomicOrdering::Relaxed);
    let mut bindings: Vec<Expr> = Vec::new();
    let inner = subquery.clone().transform_up_with_subqueries(|plan| {
        // What an aggregate gives is known to the nodes above by its text.
        let names = NamePreserver::new(&plan);
        let plan = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let bound = expr.transform(|expr| match expr {
                // One of a subquery further in, which means the inner query's own row, stays.
                Expr::OuterReferenceColumn(field, column) if outer.has_column(&column) => {
                    let index = bind(&mut bindings, column);
                    let value = Placeholder::new_with_field(placeholder(template, index), Some(field));
                    Ok(Transformed::yes(Expr::Placeholder(value)))
                }
                other => Ok(scope::refreshed(other)),
            })?;
            Ok(bound.update_data(|expr| name.restore(expr)))
        })?;
        Ok(match plan.data {
            LogicalPlan::Subquery(subquery) => Transformed::yes(scope::unwrapped(subquery)),
            _ => plan,
        })
    })?;
    let names = (0..bindings.len()).map(|index| placeholder(template, index)).collect();
    Ok((inner.data, names, bindings))
}

fn bind(bindings: &mut Vec<Expr>, column: Column) -> usize {
    let column = Expr::Column(column);
    bindings.iter().position(|bound| *bound == column).unwrap_or_else(|| {
        bindings.push(column);
        bindings.len() - 1
    })
}

/// The placeholder that stands for a binding. Not a number, so that it is none of the statement's parameters.
fn placeholder(template: u64, index: usize) -> String {
    format!("$outer_{template}_{index}")
}

#[cfg(test)]
mod tests;
