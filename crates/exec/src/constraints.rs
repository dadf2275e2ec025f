//! What a predicate confines columns to, as indexes want to know it: read off its conjuncts; what is not understood is left out.

use crate::functions::Distance;
use crate::vector::Vectors;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{IntervalMonthDayNano, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, InListExpr, LikeExpr, Literal};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use quiver_base::{ColumnId, SqlType};
use quiver_storage::{Allowed, Constraint, Near, Share};
use std::ops::Bound;
use std::sync::Arc;

/// More values than this are cheaper to find by a scan.
const VALUES_MAX: usize = 1000;

/// Of a predicate over rows that `schema` describes, whose column `i` is `columns[i]`.
pub(crate) fn of(
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    columns: &[ColumnId],
) -> Result<Vec<Constraint>> {
    let mut ranges: Vec<(usize, Range)> = Vec::new();
    let mut found = Vec::new();
    for conjunct in split_conjunction(predicate) {
        if let Some((column, range)) = range(conjunct, schema) {
            match ranges.iter_mut().find(|(other, _)| *other == column) {
                Some((_, all)) => all.narrow(range),
                None => ranges.push((column, range)),
            }
        } else if let Some((column, values)) = values(conjunct, schema) {
            let Some(id) = columns.get(column) else { continue };
            // Values of several types are no array.
            let Ok(values) = ScalarValue::iter_to_array(values) else { continue };
            found.push(Constraint { column: *id, allowed: Allowed::Values(values) });
        } else if let Some((column, allowed)) = items(conjunct).or_else(|| near(conjunct)) {
            let Some(id) = columns.get(column) else { continue };
            found.push(Constraint { column: *id, allowed });
        }
    }
    for (column, range) in ranges {
        let Some(id) = columns.get(column) else { continue };
        let bound = |bound: Option<ScalarValue>| bound.map(|value| value.to_array()).transpose();
        let allowed = Allowed::Between(bound(range.low)?, bound(range.high)?);
        found.push(Constraint { column: *id, allowed });
    }
    Ok(found)
}

/// Bounds of a column; both are taken to be included, since candidates are looked at again.
struct Range {
    low: Option<ScalarValue>,
    high: Option<ScalarValue>,
}

impl Range {
    /// To what both allow.
    fn narrow(&mut self, other: Range) {
        let nearer = |own: &mut Option<ScalarValue>, new: Option<ScalarValue>, above: bool| {
            let Some(new) = new else { return };
            let keep = own.as_ref().is_some_and(|own| match own.partial_cmp(&new) {
                Some(order) => (order.is_gt() && above) || (order.is_lt() && !above) || order.is_eq(),
                None => true,
            });
            if !keep {
                *own = Some(new);
            }
        };
        nearer(&mut self.low, other.low, true);
        nearer(&mut self.high, other.high, false);
    }
}

/// `c < 1`, `1 <= c`, `c LIKE 'a%'`; and `c = 'a'` of a `char(n)`, which is stored with blanks that the comparison leaves out.
fn range(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<(usize, Range)> {
    if let Some(like) = expr.downcast_ref::<LikeExpr>() {
        return prefix(like);
    }
    let (operand, op, value) = comparison(expr, schema)?;
    match (operand, op, &value) {
        (Operand::Padded(column), Operator::Eq, ScalarValue::Utf8(Some(text))) => {
            let high = ScalarValue::Utf8(Some(format!("{text}{}", " ".repeat(CODE_BYTES))));
            Some((column, Range { low: Some(value), high: Some(high) }))
        }
        (Operand::Plain(column), Operator::Lt | Operator::LtEq, _) => {
            Some((column, Range { low: None, high: Some(value) }))
        }
        (Operand::Plain(column), Operator::Gt | Operator::GtEq, _) => {
            Some((column, Range { low: Some(value), high: None }))
        }
        _ => None,
    }
}

/// What an index tells texts apart by in their order.
const CODE_BYTES: usize = 8;

/// Text that begins with what stands before the first wildcard of a pattern.
fn prefix(like: &LikeExpr) -> Option<(usize, Range)> {
    let column = like.expr().downcast_ref::<Column>()?.index();
    let Some(ScalarValue::Utf8(Some(pattern))) = literal(like.pattern()) else { return None };
    let start = pattern.split(['%', '_', '\\']).next().filter(|start| !start.is_empty())?;
    if like.negated() || like.case_insensitive() {
        return None;
    }
    // Every text that begins so is at most this, as far as its first bytes tell.
    let last = format!("{start}{}", "\u{10ffff}".repeat(CODE_BYTES / 4));
    let bound = |text: String| Some(ScalarValue::Utf8(Some(text)));
    Some((column, Range { low: bound(start.to_owned()), high: bound(last) }))
}

/// `c = 1`, `c IN (1, 2)`, `c = 1 OR c = 2`.
fn values(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<(usize, Vec<ScalarValue>)> {
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        let column = list.expr().downcast_ref::<Column>()?.index();
        let fits = !list.negated() && list.list().len() <= VALUES_MAX;
        let values = list.list().iter().map(literal).collect::<Option<Vec<_>>>()?;
        return fits.then_some((column, values)).filter(|(_, values)| !values.is_empty());
    }
    if let Some(either) = expr.downcast_ref::<BinaryExpr>().filter(|expr| *expr.op() == Operator::Or) {
        let (column, mut all) = values(either.left(), schema)?;
        let (other, more) = values(either.right(), schema)?;
        all.extend(more);
        return (column == other && all.len() <= VALUES_MAX).then_some((column, all));
    }
    match comparison(expr, schema)? {
        (Operand::Plain(column), Operator::Eq, value) => Some((column, vec![value])),
        _ => None,
    }
}

/// `c @> ARRAY[1, 2]`, `c && ARRAY[1, 2]`, `1 = ANY(c)`; `c @> '{"a": 1}'`, `c ? 'a'`, `c ?| ARRAY['a']`, `c ?& ARRAY['a']`.
fn items(expr: &Arc<dyn PhysicalExpr>) -> Option<(usize, Allowed)> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let [left, right] = call.args() else { return None };
    let column = |side: &Arc<dyn PhysicalExpr>| Some(side.downcast_ref::<Column>()?.index());
    let list = |side| match literal(side)? {
        ScalarValue::List(list) if list.is_valid(0) => Some(list.value(0)),
        _ => None,
    };
    let text = |side| match literal(side)? {
        ScalarValue::Utf8(text) => text,
        _ => None,
    };
    // All of some items with a NULL among them are nowhere: there is nothing to be found by.
    let known = |list: &ArrayRef| list.null_count() == 0;
    let (column, allowed) = match call.name() {
        "arraycontains" => (column(left)?, Allowed::Items(list(right).filter(known)?, Share::All)),
        "arrayoverlap" => match column(left) {
            Some(column) => (column, Allowed::Items(list(right)?, Share::Any)),
            None => (column(right)?, Allowed::Items(list(left)?, Share::Any)),
        },
        "= any" => {
            let value = literal(left).filter(|value| !value.is_null())?;
            (column(right)?, Allowed::Items(value.to_array().ok()?, Share::All))
        }
        "jsonb_contains" => (column(left)?, Allowed::Document(text(right)?)),
        "jsonb_exists" => (column(left)?, Allowed::Keys(vec![text(right)?], Share::All)),
        "jsonb_exists_all" => (column(left)?, Allowed::Keys(texts(&list(right)?)?, Share::All)),
        "jsonb_exists_any" => (column(left)?, Allowed::Keys(texts(&list(right)?)?, Share::Any)),
        _ => return None,
    };
    Some((column, allowed))
}

/// Those of a list that are not NULL.
fn texts(list: &ArrayRef) -> Option<Vec<String>> {
    Some(list.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
}

/// `c <-> '[1,2]' < 3`.
fn near(expr: &Arc<dyn PhysicalExpr>) -> Option<(usize, Allowed)> {
    let comparison = expr.downcast_ref::<BinaryExpr>()?;
    let (measured, op, radius) = match (literal(comparison.left()), literal(comparison.right())) {
        (None, Some(radius)) => (comparison.left(), *comparison.op(), radius),
        (Some(radius), None) => (comparison.right(), comparison.op().swap()?, radius),
        _ => return None,
    };
    let ScalarValue::Float64(Some(radius)) = radius else { return None };
    let radius = match op {
        Operator::Lt => Bound::Excluded(radius),
        Operator::LtEq => Bound::Included(radius),
        _ => return None,
    };
    let call = measured.downcast_ref::<ScalarFunctionExpr>()?;
    let distance = call.fun().inner().downcast_ref::<Distance>().filter(|distance| !distance.is_negated())?;
    let [left, right] = call.args() else { return None };
    let (column, query) = match (literal(left), literal(right)) {
        (None, Some(query)) => (left, query),
        (Some(query), None) => (right, query),
        _ => return None,
    };
    let column = column.downcast_ref::<Column>()?.index();
    let query = query.to_array().ok()?;
    let query = Vectors::from_array(&query).ok()?.row(0)?.to_vec();
    Some((column, Allowed::Near(Near { metric: distance.metric(), query, radius })))
}

/// A column in a comparison.
enum Operand {
    /// Its value, whose order the comparison is in.
    Plain(usize),
    /// Its text without blanks at the end.
    Padded(usize),
}

/// A column compared with a value of its type, the column at the left.
fn comparison(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<(Operand, Operator, ScalarValue)> {
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let (operand, op, value) = match (literal(binary.left()), literal(binary.right())) {
        (None, Some(value)) => (binary.left(), *binary.op(), value),
        (Some(value), None) => (binary.right(), binary.op().swap()?, value),
        _ => return None,
    };
    if value.is_null() {
        return None;
    }
    if let Some(column) = operand.downcast_ref::<Column>() {
        return Some((Operand::Plain(column.index()), op, value));
    }
    let call = operand.downcast_ref::<ScalarFunctionExpr>()?;
    let [argument] = call.args() else { return None };
    let column = argument.downcast_ref::<Column>()?.index();
    let (from, to) = (SqlType::of_field(schema.field(column)), call.return_field(schema).ok()?);
    match (from?, SqlType::of_field(&to)?) {
        (SqlType::Bpchar(_), SqlType::Text) if call.name() == "cast" => {
            Some((Operand::Padded(column), op, value))
        }
        (SqlType::Interval(_), _) if call.name() == "interval_key" => {
            Some((Operand::Plain(column), op, interval(&value)?))
        }
        _ => None,
    }
}

/// An interval of so many nanoseconds; none if there is none.
fn interval(nanos: &ScalarValue) -> Option<ScalarValue> {
    const DAY: i128 = 86_400_000_000_000;
    let ScalarValue::Decimal128(Some(nanos), _, 0) = nanos else { return None };
    let days = i32::try_from(nanos / DAY).ok()?;
    let rest = i64::try_from(nanos % DAY).ok()?;
    Some(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, days, rest))))
}

/// A constant's value, a cast that the planner left on it included.
fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return literal(cast.expr())?.cast_to(cast.cast_type()).ok();
    }
    expr.downcast_ref::<Literal>().map(|literal| literal.value().clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use datafusion::common::DFSchema;
    use datafusion::execution::context::SessionContext;
    use datafusion::logical_expr::{Expr, col, lit};

    fn constraints(expr: Expr) -> Vec<String> {
        let fields = vec![Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8, true)];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let physical = SessionContext::new().state().create_physical_expr(expr, &schema).unwrap();
        let shown = |array: &ArrayRef| {
            let value = |row| ScalarValue::try_from_array(array, row).unwrap().to_string();
            (0..array.len()).map(value).collect::<Vec<_>>().join(" ")
        };
        let end = |end: &Option<ArrayRef>| end.as_ref().map_or_else(String::new, shown);
        let text = |constraint: &Constraint| match &constraint.allowed {
            Allowed::Values(values) => format!("{}: {}", constraint.column, shown(values)),
            Allowed::Between(low, high) => format!("{}: {}..{}", constraint.column, end(low), end(high)),
            other => format!("{}: {other:?}", constraint.column),
        };
        of(&physical, schema.as_arrow(), &[ColumnId(1), ColumnId(2)]).unwrap().iter().map(text).collect()
    }

    #[test]
    fn conjuncts_confine_columns() {
        assert_eq!(constraints(col("n").eq(lit(3)).and(col("t").not_eq(lit("x")))), ["1: 3"]);
        assert_eq!(constraints(col("n").in_list(vec![lit(1), lit(2)], false)), ["1: 1 2"]);
        assert_eq!(constraints(lit(5).gt(col("n")).and(col("n").gt_eq(lit(2)))), ["1: 2..5"]);
        assert_eq!(constraints(col("n").gt(lit(2)).and(col("n").gt(lit(4)))), ["1: 4.."]);
        assert_eq!(constraints(col("n").lt(lit(2)).and(col("n").lt(lit(4)))), ["1: ..2"]);
        assert_eq!(constraints(col("t").like(lit("ab%c"))), ["2: ab..ab\u{10ffff}\u{10ffff}"]);
    }

    #[test]
    fn what_is_not_understood_confines_nothing() {
        assert!(constraints(col("n").eq(lit(3)).or(col("t").eq(lit("x")))).is_empty());
        assert!(constraints(col("n").in_list(vec![lit(1), lit(2)], true)).is_empty());
        assert!(constraints(col("t").not_like(lit("ab%"))).is_empty());
        assert!(constraints(col("t").like(lit("%ab"))).is_empty());
        assert!(constraints(col("n").eq(lit(ScalarValue::Int32(None)))).is_empty());
    }
}
