//! Puts what is known once a plan runs into its expressions: parameters, results of scalar subqueries, and what follows from them. What
//! planning would have made of constants is made of them then. Knows no storage.

use crate::ready::Param;
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, InListExpr, Literal, lit};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use std::sync::Arc;

/// What there is to do for a predicate once values are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unknowns {
    /// There are parameters or subqueries.
    any: bool,
    /// A cast that may fall away, or what needs no row to be worked out.
    folds: bool,
    /// Lists with such items.
    lists: bool,
}

impl Unknowns {
    /// What is in a predicate.
    pub(crate) fn of(predicate: &Arc<dyn PhysicalExpr>) -> Result<Unknowns> {
        let any = has_unknowns(predicate)?;
        let folds = any && predicate.exists(may_fold)?;
        let lists = any && predicate.exists(has_unknown_items)?;
        Ok(Unknowns { any, folds, lists })
    }

    /// Whether there are any.
    pub(crate) fn any(self) -> bool {
        self.any
    }

    /// The predicate with values, over columns of `schema`. Scalar subqueries must have run.
    pub(crate) fn resolve(
        self,
        predicate: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let mut predicate = with_values(predicate.clone())?;
        if self.folds || self.lists {
            predicate = folded(predicate, schema)?;
        }
        if self.lists { with_sets(predicate, schema) } else { Ok(predicate) }
    }
}

fn is_unknown(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is::<ScalarSubqueryExpr>() || Param::of(expr).is_some()
}

fn has_unknowns(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    expr.exists(|expr| Ok(is_unknown(expr)))
}

/// Casts, expressions over unknowns alone, and AND and OR with one at a side.
fn may_fold(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    let children = expr.children();
    let decides = |binary: &BinaryExpr| matches!(binary.op(), Operator::And | Operator::Or);
    let is_decided = expr.downcast_ref::<BinaryExpr>().is_some_and(decides)
        && children.iter().any(|child| is_unknown(child));
    let reads_row = || expr.exists(|expr| Ok(expr.is::<Column>()));
    let needs_no_row = !children.is_empty() && !reads_row()? && has_unknowns(expr)?;
    Ok(expr.is::<CastExpr>() || is_decided || needs_no_row)
}

fn has_unknown_items(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    let Some(list) = expr.downcast_ref::<InListExpr>() else { return Ok(false) };
    list.list().iter().try_fold(false, |found, item| Ok(found || has_unknowns(item)?))
}

/// The expression with what is known once the plan runs as literals: parameters, and the results of uncorrelated scalar
/// subqueries, which have run by now.
pub(crate) fn with_values(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let resolved = expr.transform(|expr| {
        if let Some(param) = Param::of(&expr) {
            return Ok(Transformed::yes(param.literal()?));
        }
        if !expr.is::<ScalarSubqueryExpr>() {
            return Ok(Transformed::no(expr));
        }
        match expr.evaluate(&nothing)? {
            ColumnarValue::Scalar(value) => Ok(Transformed::yes(lit(value))),
            ColumnarValue::Array(_) => Ok(Transformed::no(expr)),
        }
    })?;
    Ok(resolved.data)
}

/// What an expression without columns is in this run.
pub(crate) fn without_rows(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    match with_values(expr.clone())?.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}

/// Casts are taken off columns that are compared with literals, what has no columns is worked out, and branches that decide nothing fall away.
fn folded(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let simplified = PhysicalExprSimplifier::new(schema).simplify(expr)?;
    Ok(simplified
        .transform(|expr| Ok(decided(&expr).map_or_else(|| Transformed::no(expr), Transformed::yes)))?
        .data)
}

/// What is left of AND and OR with a side that is known.
fn decided(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    // What decides alone, whatever the other side is.
    let decides = match binary.op() {
        Operator::And => false,
        Operator::Or => true,
        _ => return None,
    };
    let side = |side: &Arc<dyn PhysicalExpr>| match side.downcast_ref::<Literal>()?.value() {
        ScalarValue::Boolean(value) => *value,
        _ => None,
    };
    match (side(binary.left()), side(binary.right())) {
        (Some(known), _) if known == decides => Some(binary.left().clone()),
        (_, Some(known)) if known == decides => Some(binary.right().clone()),
        (Some(_), _) => Some(binary.right().clone()),
        (_, Some(_)) => Some(binary.left().clone()),
        (None, None) => None,
    }
}

/// Lists whose items have become literals are looked up in sets, as those of constants are, and not compared item by item.
fn with_sets(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let looked_up = expr.transform(|expr| {
        let list = expr.downcast_ref::<InListExpr>();
        let Some(list) = list.filter(|list| list.list().iter().all(|item| item.is::<Literal>())) else {
            return Ok(Transformed::no(expr));
        };
        let (of, items) = match without_cast(list, schema)? {
            Some(both) => both,
            None => (list.expr().clone(), list.list().to_vec()),
        };
        let set = InListExpr::try_new(of, items, list.negated(), schema)?;
        Ok(Transformed::yes(Arc::new(set) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(looked_up.data)
}

type Listed = (Arc<dyn PhysicalExpr>, Vec<Arc<dyn PhysicalExpr>>);

/// A list of literals over a column that was widened for it, over the column itself, so that an index of it serves. Items that no value of the
/// column can equal are left out; `None` if that are all, or it is another list.
fn without_cast(list: &InListExpr, schema: &Schema) -> Result<Option<Listed>> {
    let Some(cast) = list.expr().downcast_ref::<CastExpr>() else { return Ok(None) };
    let ty = cast.expr().data_type(schema)?;
    if !widens(&ty, cast.cast_type()) {
        return Ok(None);
    }
    let mut items: Vec<Arc<dyn PhysicalExpr>> = Vec::with_capacity(list.list().len());
    for item in list.list().iter().filter_map(|item| item.downcast_ref::<Literal>()) {
        let narrow = narrowed(item.value(), &ty)?;
        if !narrow.is_null() || item.value().is_null() {
            items.push(lit(narrow));
        }
    }
    Ok((!items.is_empty()).then(|| (cast.expr().clone(), items)))
}

/// A value as one of another type; NULL if that is a narrower one of whole numbers and has no such value.
pub(crate) fn narrowed(value: &ScalarValue, ty: &DataType) -> Result<ScalarValue> {
    let from = value.data_type();
    if from == *ty {
        return Ok(value.clone());
    }
    if widens(ty, &from) {
        return value.cast_to_with_options(ty, &CastOptions { safe: true, ..CastOptions::default() });
    }
    value.cast_to(ty)
}

/// Whether every value of one type of whole numbers is one of the other, too.
pub(crate) fn widens(narrow: &DataType, wide: &DataType) -> bool {
    let bytes = |ty: &DataType| ty.is_signed_integer().then(|| ty.primitive_width()).flatten();
    bytes(narrow).zip(bytes(wide)).is_some_and(|(narrow, wide)| narrow < wide)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{IsNullExpr, cast, col};

    fn schema() -> Schema {
        Schema::new(vec![Field::new("i", DataType::Int32, true), Field::new("b", DataType::Boolean, true)])
    }

    fn binary(
        left: Arc<dyn PhysicalExpr>,
        op: Operator,
        right: Arc<dyn PhysicalExpr>,
    ) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(left, op, right))
    }

    #[test]
    fn what_is_known_falls_away() {
        let schema = schema();
        let (i, b) = (col("i", &schema).unwrap(), col("b", &schema).unwrap());
        let wide = cast(i, &schema, DataType::Int64).unwrap();
        let equal = binary(wide, Operator::Eq, lit(5_i64));
        assert_eq!(folded(equal.clone(), &schema).unwrap().to_string(), "i@0 = 5");
        // `$1 IS NULL OR i = $1`.
        let given = |value: Option<i64>| -> Arc<dyn PhysicalExpr> {
            Arc::new(IsNullExpr::new(lit(ScalarValue::Int64(value))))
        };
        let either = |value| binary(given(value), Operator::Or, equal.clone());
        assert_eq!(folded(either(Some(5)), &schema).unwrap().to_string(), "i@0 = 5");
        assert_eq!(folded(either(None), &schema).unwrap().to_string(), "true");
        let both = binary(b.clone(), Operator::And, lit(true));
        assert_eq!(folded(both, &schema).unwrap().to_string(), "b@1");
        // NULL decides nothing.
        for op in [Operator::And, Operator::Or] {
            let unknown = binary(b.clone(), op, lit(ScalarValue::Boolean(None)));
            assert_eq!(folded(unknown.clone(), &schema).unwrap().to_string(), unknown.to_string());
        }
    }

    #[test]
    fn lists_of_literals_become_sets() {
        let schema = schema();
        let i = col("i", &schema).unwrap();
        let list = |items: Vec<Arc<dyn PhysicalExpr>>| -> Arc<dyn PhysicalExpr> {
            Arc::new(InListExpr::try_new(i.clone(), items, false, &schema).unwrap())
        };
        let (set, plain) = (list(vec![lit(1), lit(2)]), list(vec![lit(1), i.clone()]));
        // A list that has lost its set, as one whose items were parameters.
        let without = plain.clone().with_new_children(vec![i.clone(), lit(1), lit(2)]).unwrap();
        assert_ne!(without.to_string(), set.to_string());
        assert_eq!(with_sets(without, &schema).unwrap().to_string(), set.to_string());
        assert_eq!(with_sets(plain.clone(), &schema).unwrap().to_string(), plain.to_string());
        let wide = cast(i.clone(), &schema, DataType::Int64).unwrap();
        let widened = |items: Vec<Arc<dyn PhysicalExpr>>| -> String {
            let list = InListExpr::try_new(wide.clone(), items, true, &schema).unwrap();
            with_sets(Arc::new(list), &schema).unwrap().to_string()
        };
        let null = || lit(ScalarValue::Int64(None));
        assert_eq!(widened(vec![lit(1_i64), lit(1_i64 << 40)]), "i@0 NOT IN (SET) ([1])");
        assert_eq!(widened(vec![lit(1_i64 << 40), null()]), "i@0 NOT IN (SET) ([NULL])");
        assert!(widened(vec![lit(1_i64 << 40)]).starts_with("CAST(i@0 AS Int64) NOT IN"));
    }

    #[test]
    fn whole_numbers_widen() {
        use DataType::{Float64, Int16, Int32, Int64, UInt64};
        for (narrow, wide, fits) in [
            (Int16, Int32, true),
            (Int16, Int64, true),
            (Int32, Int64, true),
            (Int64, Int64, false),
            (Int64, Int32, false),
            (Int32, Float64, false),
            (Int32, UInt64, false),
        ] {
            assert_eq!(widens(&narrow, &wide), fits, "{narrow} to {wide}");
        }
    }
}
