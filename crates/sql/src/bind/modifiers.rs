//! Which columns of a result say their modifier to the client (`numeric(10,2)`, `varchar(5)`): those that come from a column or a
//! cast unchanged. What is computed has none, whatever the type that carries it here.

use super::casts::LABEL;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan};
use quiver_base::SQL_TYPE_KEY;
use std::sync::Arc;

/// Marks a field whose modifier is not told.
const COMPUTED: &str = "quiver.computed";

/// Whether a client is told the field's modifier.
pub(crate) fn is_told(field: &Field) -> bool {
    !field.metadata().contains_key(COMPUTED)
}

/// The schema of a plan's result with marks on what is computed.
pub(super) fn marked(schema: SchemaRef, plan: &LogicalPlan) -> SchemaRef {
    let mark = |(index, field): (usize, &Arc<Field>)| match keeps(plan, index) {
        true => field.clone(),
        false => {
            let mut metadata = field.metadata().clone();
            metadata.insert(COMPUTED.to_owned(), String::new());
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        }
    };
    let fields: Vec<_> = schema.fields().iter().enumerate().map(mark).collect();
    Arc::new(Schema::new(fields))
}

/// Whether a column of a plan is one of a table, or a cast.
fn keeps(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Projection(node) => node.expr.get(index).is_some_and(|it| told(it, &node.input)),
        LogicalPlan::Aggregate(node) => node.group_expr.get(index).is_some_and(|it| told(it, &node.input)),
        LogicalPlan::Union(node) => node.inputs.iter().all(|input| keeps(input, index)),
        LogicalPlan::Join(node) => match index.checked_sub(node.left.schema().fields().len()) {
            Some(index) => keeps(&node.right, index),
            None => keeps(&node.left, index),
        },
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Window(_) => match plan.inputs().as_slice() {
            [input] if index < input.schema().fields().len() => keeps(input, index),
            _ => false,
        },
        _ => false,
    }
}

fn told(expr: &Expr, input: &LogicalPlan) -> bool {
    match expr {
        Expr::Alias(alias) => told(&alias.expr, input),
        Expr::Column(column) => input.schema().index_of_column(column).is_ok_and(|at| keeps(input, at)),
        Expr::Cast(_) => true,
        // Digits alone are no numeric(p, s), though they are carried as one.
        Expr::Literal(ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..), metadata) => {
            metadata.as_ref().is_some_and(|metadata| metadata.inner().contains_key(SQL_TYPE_KEY))
        }
        Expr::Literal(..) => true,
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, result)| result).chain(&case.else_expr);
            results.into_iter().all(|result| told(result, input))
        }
        Expr::ScalarFunction(call) => match call.func.name() {
            "cast" => true,
            name if name == LABEL || name.starts_with("as ") => call.args.iter().all(|it| told(it, input)),
            "coalesce" | "greatest" | "least" => call.args.iter().all(|it| told(it, input)),
            _ => false,
        },
        Expr::ScalarSubquery(inner) => keeps(&inner.subquery, 0),
        _ => false,
    }
}
