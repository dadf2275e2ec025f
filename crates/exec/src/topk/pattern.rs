//! Recognises what may lie between a sort and a scan, and sort keys that order rows as a distance does.

use super::choice::same;
use super::members::Members;
use super::output::Output;
use crate::functions::{Distance, Measure};
use crate::ready::Param;
use crate::scan::CollectionScanExec;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal, NegativeExpr};
use datafusion::physical_expr::utils::{collect_columns, split_conjunction};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use quiver_index::Metric;
use std::sync::Arc;

/// A scan under projections and filters, with everything in terms of the table's columns.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) scan: CollectionScanExec,
    /// What comes out at the top.
    pub(crate) outputs: Vec<Output>,
    /// What a row must pass, the scan's own predicate included.
    pub(crate) filters: Vec<Arc<dyn PhysicalExpr>>,
    /// A semi-join that it must pass as well.
    pub(crate) members: Option<Members>,
}

impl Pipeline {
    /// `None` if there is anything else than a scan, filters, projections and one semi-join.
    pub(crate) fn below(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Pipeline>> {
        if let Some(scan) = plan.downcast_ref::<CollectionScanExec>() {
            return Ok(Self::of_scan(scan));
        }
        if let Some(partitions) = plan.downcast_ref::<CoalescePartitionsExec>() {
            return if partitions.fetch().is_none() { Self::below(partitions.input()) } else { Ok(None) };
        }
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let Some(mut below) = Self::below(projection.input())? else { return Ok(None) };
            let outputs = projection.expr().iter();
            below.outputs = outputs
                .map(|output| Ok((below.over_table(output.expr.clone())?, output.alias.clone())))
                .collect::<Result<_>>()?;
            return Ok(Some(below));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            return Self::of_join(join);
        }
        let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(None) };
        if is_volatile(filter.predicate()) || filter.fetch().is_some() {
            return Ok(None);
        }
        let Some(mut below) = Self::below(filter.input())? else { return Ok(None) };
        let predicate = below.over_table(filter.predicate().clone())?;
        below.filters.extend(split_conjunction(&predicate).into_iter().cloned());
        if let Some(kept) = filter.projection() {
            below.outputs = kept.iter().map(|index| below.outputs[*index].clone()).collect();
        }
        Ok(Some(below))
    }

    fn of_join(join: &HashJoinExec) -> Result<Option<Pipeline>> {
        let Some(members) = Members::of(join) else { return Ok(None) };
        let Some(mut below) = Self::below(join.left())?.filter(|below| below.members.is_none()) else {
            return Ok(None);
        };
        below.members = Some(Members { key: below.over_table(members.key.clone())?, ..members });
        if let Some(kept) = &join.projection {
            below.outputs = kept.iter().map(|index| below.outputs[*index].clone()).collect();
        }
        Ok(Some(below))
    }

    fn of_scan(scan: &CollectionScanExec) -> Option<Pipeline> {
        // Rows found by key are few: sorting them is exact and quicker than any search.
        if scan.lookup.is_some() || scan.limit().is_some() {
            return None;
        }
        let outputs = scan.projection.iter().map(|index| {
            let name = scan.table_schema.field(*index).name();
            (Arc::new(Column::new(name, *index)) as Arc<dyn PhysicalExpr>, name.clone())
        });
        let filters = scan.predicate.iter().flat_map(|predicate| split_conjunction(predicate.expr()));
        Some(Pipeline {
            scan: scan.clone(),
            outputs: outputs.collect(),
            filters: filters.into_iter().cloned().collect(),
            members: None,
        })
    }

    /// An expression over the top's columns as one over the table's.
    pub(super) fn over_table(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        substitute(expr, &self.outputs)
    }
}

/// The expression with column `i` replaced by `outputs[i]`.
pub(crate) fn substitute(expr: Arc<dyn PhysicalExpr>, outputs: &[Output]) -> Result<Arc<dyn PhysicalExpr>> {
    let substituted = expr.transform_down(|expr| match expr.downcast_ref::<Column>() {
        // What is put in has columns of its own, which mean something else: do not go into it.
        Some(column) => {
            Ok(Transformed::new(outputs[column.index()].0.clone(), true, TreeNodeRecursion::Jump))
        }
        None => Ok(Transformed::no(expr)),
    })?;
    Ok(substituted.data)
}

/// A sort key that puts nearest rows first.
#[derive(Debug)]
pub(super) struct NearestOrder {
    /// What is compared with the query: the vector column, or an expression over the table.
    pub(super) measured: Arc<dyn PhysicalExpr>,
    pub(super) metric: Metric,
    /// What it is compared with; reads no column.
    pub(super) query: Arc<dyn PhysicalExpr>,
}

impl NearestOrder {
    /// Sees through what keeps or turns round an order: `1 - (a <=> b)`, `-d`, `d * 2`, casts between floats.
    pub(super) fn of(key: &Arc<dyn PhysicalExpr>, descending: bool) -> Option<NearestOrder> {
        if let Some(call) = key.downcast_ref::<ScalarFunctionExpr>()
            && let Some(distance) = call.fun().inner().downcast_ref::<Distance>()
        {
            let falls = distance.is_negated() == descending;
            return if falls { Self::of_call(distance.metric(), call) } else { None };
        }
        if let Some(call) = key.downcast_ref::<ScalarFunctionExpr>()
            && let Some(measure) = call.fun().inner().downcast_ref::<Measure>()
        {
            let metric = measure.of_zeros_and_ones().filter(|_| !descending)?;
            return Self::of_call(metric, call);
        }
        if let Some(negative) = key.downcast_ref::<NegativeExpr>() {
            return Self::of(negative.arg(), !descending);
        }
        if let Some(cast) = key.downcast_ref::<CastExpr>() {
            let keeps_order = matches!(cast.cast_type(), DataType::Float64 | DataType::Float32);
            return if keeps_order { Self::of(cast.expr(), descending) } else { None };
        }
        let (op, left, right) = operands(key)?;
        match (op, number(left), number(right)) {
            (Operator::Plus | Operator::Minus, None, Some(_)) => Self::of(left, descending),
            (Operator::Plus, Some(_), None) => Self::of(right, descending),
            (Operator::Minus, Some(_), None) => Self::of(right, !descending),
            (Operator::Multiply | Operator::Divide, None, Some(factor)) if factor != 0.0 => {
                Self::of(left, descending ^ (factor < 0.0))
            }
            (Operator::Multiply, Some(factor), None) if factor != 0.0 => {
                Self::of(right, descending ^ (factor < 0.0))
            }
            // 1 / (1 + d): falls as d rises, where the divisor stays positive.
            (Operator::Divide, Some(numerator), None) if numerator > 0.0 && is_positive(right) => {
                Self::of(right, !descending)
            }
            _ => None,
        }
    }

    /// Whether a filter is an upper bound on the same distance: `a <-> b < 1`, `1 - (a <=> b) >= 0.8`.
    pub(super) fn is_bounded_by(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let Some(comparison) = filter.downcast_ref::<BinaryExpr>() else { return false };
        let (left, right) = (comparison.left(), comparison.right());
        let (measured, bound, falls) = match (comparison.op(), is_constant(left), is_constant(right)) {
            (Operator::Lt | Operator::LtEq, false, true) => (left, right, false),
            (Operator::Gt | Operator::GtEq, false, true) => (left, right, true),
            (Operator::Gt | Operator::GtEq, true, false) => (right, left, false),
            (Operator::Lt | Operator::LtEq, true, false) => (right, left, true),
            _ => return false,
        };
        // A bound that has to wait for a subquery is left to the filter.
        let same = |other: NearestOrder| {
            same(&other.measured, &self.measured)
                && other.metric == self.metric
                && other.query.eq(&self.query)
        };
        (bound.is::<Literal>() || Param::of(bound).is_some()) && Self::of(measured, falls).is_some_and(same)
    }

    fn of_call(metric: Metric, call: &ScalarFunctionExpr) -> Option<NearestOrder> {
        let [left, right] = call.args() else { return None };
        let (measured, query) = match (is_constant(left), is_constant(right)) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => return None,
        };
        (!is_volatile(measured)).then(|| NearestOrder {
            measured: measured.clone(),
            metric,
            query: query.clone(),
        })
    }
}

fn is_constant(expr: &Arc<dyn PhysicalExpr>) -> bool {
    collect_columns(expr).is_empty() && !is_volatile(expr)
}

type Operands<'a> = (Operator, &'a Arc<dyn PhysicalExpr>, &'a Arc<dyn PhysicalExpr>);

/// An arithmetic expression's parts. Division has a function of its own where it must fail on zero.
fn operands(expr: &Arc<dyn PhysicalExpr>) -> Option<Operands<'_>> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return Some((*binary.op(), binary.left(), binary.right()));
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    match (call.name(), call.args()) {
        ("double_precision_/", [left, right]) => Some((Operator::Divide, left, right)),
        _ => None,
    }
}

/// A constant that is a finite number.
fn number(expr: &Arc<dyn PhysicalExpr>) -> Option<f64> {
    let value = expr.downcast_ref::<Literal>()?.value().cast_to(&DataType::Float64).ok()?;
    match value {
        ScalarValue::Float64(Some(number)) if number.is_finite() => Some(number),
        _ => None,
    }
}

/// `c + d` with c positive and d a distance that is never negative.
fn is_positive(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let Some((op, left, right)) = operands(expr) else { return false };
    let is_distance = |expr: &Arc<dyn PhysicalExpr>| {
        let distance = expr.downcast_ref::<ScalarFunctionExpr>();
        let distance = distance.and_then(|call| call.fun().inner().downcast_ref::<Distance>());
        distance.is_some_and(|distance| distance.metric() != Metric::InnerProduct)
    };
    let positive = |expr| number(expr).is_some_and(|number| number > 0.0);
    op == Operator::Plus && (positive(left) && is_distance(right) || positive(right) && is_distance(left))
}
