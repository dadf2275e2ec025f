//! Which index serves a search: one over what is measured, for the same distance, that has every row the filters let through.

use super::pattern::NearestOrder;
use crate::indexed::{IndexedType, computed, partial};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, LikeExpr, Literal, lit,
};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use quiver_base::{ColumnId, IndexId};
use quiver_cluster::{IndexMethod, Table};
use quiver_index::VectorIndexKind;
use quiver_storage::{Indexed, TableLayout};
use std::cmp::Ordering;
use std::sync::Arc;

/// The index that a search goes through.
#[derive(Clone, Debug)]
pub(crate) struct ChosenIndex {
    pub(crate) id: IndexId,
    pub(crate) name: String,
    pub(crate) kind: VectorIndexKind,
    /// What it holds, if that is computed.
    pub(crate) computed: Option<IndexedType>,
}

/// The best index for an order; `column` is what is measured, if that is a column. Of several that would do, a partial one is the
/// smallest, and a graph finds more than lists.
pub(super) fn choose(
    table: &Table,
    layout: &TableLayout,
    order: &NearestOrder,
    column: Option<ColumnId>,
    filters: &[Arc<dyn PhysicalExpr>],
) -> Option<ChosenIndex> {
    let filters: Vec<_> = filters.iter().map(folded).collect();
    let filters = filters.as_slice();
    let mut best: Option<((bool, bool), ChosenIndex)> = None;
    for index in &table.indexes {
        let IndexMethod::Vector { metric, kind } = index.method else { continue };
        let Some(def) = layout.vector_index(index.id).filter(|_| metric == order.metric) else { continue };
        let (fits, is_partial, holds) = match &def.of {
            Indexed::Column { column: own, rows } => {
                let conjuncts = rows.as_ref().map(|rows| partial(rows.as_ref()));
                let implied = match conjuncts {
                    None => true,
                    Some(rows) => rows.is_some_and(|rows| implies(filters, &rows.conjuncts)),
                };
                (column == Some(*own) && implied, rows.is_some(), None)
            }
            Indexed::Computed(_) => match computed(def) {
                Some(own) => (
                    same(&own.expr, &order.measured) && implies(filters, &own.conjuncts),
                    !own.conjuncts.is_empty(),
                    Some(own.of),
                ),
                None => continue,
            },
            Indexed::Unknown => continue,
        };
        let rank = (is_partial, matches!(kind, VectorIndexKind::Hnsw(_)));
        if fits && best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best =
                Some((rank, ChosenIndex { id: index.id, name: index.name.clone(), kind, computed: holds }));
        }
    }
    best.map(|(_, index)| index)
}

/// The expression with what reads no column as a constant, as after a parameter's value was put in.
fn folded(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let fold = |expr: Arc<dyn PhysicalExpr>| {
        let waits =
            expr.is::<ScalarSubqueryExpr>() || is_volatile(&expr) || !collect_columns(&expr).is_empty();
        if waits || expr.children().is_empty() || !expr.children().iter().all(|child| child.is::<Literal>()) {
            return Ok(Transformed::no(expr));
        }
        Ok(match expr.evaluate(&nothing) {
            Ok(ColumnarValue::Scalar(value)) => Transformed::yes(lit(value)),
            // What fails does so when the query runs, if it comes to that.
            _ => Transformed::no(expr),
        })
    };
    expr.clone().transform_up(fold).map_or_else(|_| expr.clone(), |folded| folded.data)
}

/// Whether two expressions over the table are the same. Names of columns do not matter, places do.
pub(super) fn same(a: &Arc<dyn PhysicalExpr>, b: &Arc<dyn PhysicalExpr>) -> bool {
    if let (Some(a), Some(b)) = (a.downcast_ref::<Column>(), b.downcast_ref::<Column>()) {
        return a.index() == b.index();
    }
    if let (Some(a), Some(b)) = (a.downcast_ref::<Literal>(), b.downcast_ref::<Literal>()) {
        return a.value() == b.value();
    }
    if let (Some(a), Some(b)) =
        (a.downcast_ref::<ScalarFunctionExpr>(), b.downcast_ref::<ScalarFunctionExpr>())
    {
        return a.fun() == b.fun() && all_same(a.args(), b.args());
    }
    if let (Some(a), Some(b)) = (a.downcast_ref::<CastExpr>(), b.downcast_ref::<CastExpr>()) {
        return a.cast_type() == b.cast_type() && same(a.expr(), b.expr());
    }
    if let (Some(a), Some(b)) = (a.downcast_ref::<BinaryExpr>(), b.downcast_ref::<BinaryExpr>()) {
        let straight = a.op() == b.op() && same(a.left(), b.left()) && same(a.right(), b.right());
        let swapped =
            || a.op().swap() == Some(*b.op()) && same(a.left(), b.right()) && same(a.right(), b.left());
        return straight || swapped();
    }
    a.eq(b)
}

fn all_same(a: &[Arc<dyn PhysicalExpr>], b: &[Arc<dyn PhysicalExpr>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// Whether every row that passes `filters` passes `wanted`. Only what is plain to see counts: in doubt it is not implied.
fn implies(filters: &[Arc<dyn PhysicalExpr>], wanted: &[Arc<dyn PhysicalExpr>]) -> bool {
    wanted.iter().all(|wanted| filters.iter().any(|filter| follows(filter, wanted)))
}

fn follows(filter: &Arc<dyn PhysicalExpr>, wanted: &Arc<dyn PhysicalExpr>) -> bool {
    if same(filter, wanted) {
        return true;
    }
    if let Some(either) = filter.downcast_ref::<BinaryExpr>()
        && *either.op() == Operator::Or
    {
        return follows(either.left(), wanted) && follows(either.right(), wanted);
    }
    if let Some(both) = wanted.downcast_ref::<BinaryExpr>() {
        match both.op() {
            Operator::Or if follows(filter, both.left()) || follows(filter, both.right()) => return true,
            Operator::And if follows(filter, both.left()) && follows(filter, both.right()) => return true,
            _ => {}
        }
    }
    if let Some(not_null) = wanted.downcast_ref::<IsNotNullExpr>() {
        return rejects_null(filter, not_null.arg());
    }
    let (Some(has), Some(needs)) = (Range::of(filter), Range::of(wanted)) else { return false };
    same(has.of, needs.of) && has.is_within(&needs)
}

/// Whether a filter is not true where an expression is NULL.
fn rejects_null(filter: &Arc<dyn PhysicalExpr>, arg: &Arc<dyn PhysicalExpr>) -> bool {
    if let Some(comparison) = filter.downcast_ref::<BinaryExpr>() {
        let strict = matches!(
            comparison.op(),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        );
        return strict && (same(comparison.left(), arg) || same(comparison.right(), arg));
    }
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        return same(list.expr(), arg);
    }
    filter.downcast_ref::<LikeExpr>().is_some_and(|like| same(like.expr(), arg))
}

/// The values that a comparison with constants lets through: a few, or all on one side of a bound.
struct Range<'a> {
    of: &'a Arc<dyn PhysicalExpr>,
    values: Values<'a>,
}

enum Values<'a> {
    /// Any of these.
    Of(Vec<&'a ScalarValue>),
    /// On one side of a bound.
    Beyond(Operator, &'a ScalarValue),
}

impl<'a> Range<'a> {
    fn of(expr: &'a Arc<dyn PhysicalExpr>) -> Option<Range<'a>> {
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            let values = list.list().iter().map(constant).collect::<Option<Vec<_>>>()?;
            return (!list.negated()).then_some(Range { of: list.expr(), values: Values::Of(values) });
        }
        let comparison = expr.downcast_ref::<BinaryExpr>()?;
        let (of, op, value) = match (constant(comparison.left()), constant(comparison.right())) {
            (None, Some(value)) => (comparison.left(), *comparison.op(), value),
            (Some(value), None) => (comparison.right(), comparison.op().swap()?, value),
            _ => return None,
        };
        match op {
            Operator::Eq => Some(Range { of, values: Values::Of(vec![value]) }),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq | Operator::NotEq => {
                Some(Range { of, values: Values::Beyond(op, value) })
            }
            _ => None,
        }
    }

    fn is_within(&self, other: &Range<'_>) -> bool {
        match (&self.values, &other.values) {
            (Values::Of(own), Values::Of(others)) => own.iter().all(|value| others.contains(value)),
            (Values::Of(own), Values::Beyond(op, bound)) => own.iter().all(|value| holds(value, *op, bound)),
            (Values::Beyond(own, value), Values::Beyond(op, bound)) => beyond(*own, value, *op, bound),
            (Values::Beyond(..), Values::Of(_)) => false,
        }
    }
}

fn constant(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value).filter(|value| !value.is_null())
}

/// `value op bound`; not, if they cannot be compared. Floats are not: NaN is greater than all numbers in SQL.
fn holds(value: &ScalarValue, op: Operator, bound: &ScalarValue) -> bool {
    let floats = matches!(value.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64);
    let Some(order) = value.partial_cmp(bound).filter(|_| !floats) else { return false };
    match op {
        Operator::Lt => order == Ordering::Less,
        Operator::LtEq => order != Ordering::Greater,
        Operator::Gt => order == Ordering::Greater,
        Operator::GtEq => order != Ordering::Less,
        Operator::NotEq => order != Ordering::Equal,
        _ => false,
    }
}

/// Whether `x own value` means `x op bound`.
fn beyond(own: Operator, value: &ScalarValue, op: Operator, bound: &ScalarValue) -> bool {
    match (own, op) {
        (Operator::Lt, Operator::Lt | Operator::LtEq) | (Operator::LtEq, Operator::LtEq) => {
            holds(value, Operator::LtEq, bound)
        }
        (Operator::LtEq, Operator::Lt) => holds(value, Operator::Lt, bound),
        (Operator::Gt, Operator::Gt | Operator::GtEq) | (Operator::GtEq, Operator::GtEq) => {
            holds(value, Operator::GtEq, bound)
        }
        (Operator::GtEq, Operator::Gt) => holds(value, Operator::Gt, bound),
        (Operator::Lt, Operator::NotEq) => holds(bound, Operator::GtEq, value),
        (Operator::Gt, Operator::NotEq) => holds(bound, Operator::LtEq, value),
        _ => false,
    }
}
