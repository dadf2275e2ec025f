//! What clients are told of a result's columns beside their types. The modifier (`numeric(10,2)`, `varchar(5)`) of those that come
//! from a column or a cast unchanged: what is computed has none, whatever the type that carries it here. And the table's column
//! that each is, if it is one: drivers update rows through it.

use super::casts::LABEL;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan};
use quiver_base::{FIELD_ID_KEY, SQL_TYPE_KEY};
use quiver_exec::CollectionTable;
use std::sync::Arc;

/// Marks a field whose modifier is not told.
const COMPUTED: &str = "quiver.computed";

/// Says the table's oid and the column's number.
const ORIGIN: &str = "quiver.origin";

/// Whether a client is told the field's modifier.
pub(crate) fn is_told(field: &Field) -> bool {
    !field.metadata().contains_key(COMPUTED)
}

/// The table's oid and the column's number that a field is.
pub(crate) fn origin(field: &Field) -> Option<(u32, u16)> {
    let (table, column) = field.metadata().get(ORIGIN)?.split_once(' ')?;
    Some((table.parse().ok()?, column.parse().ok()?))
}

/// A field of what is computed by an expression, marked unless it is a column or a cast.
pub(crate) fn of_expression(field: Field, expr: &Expr) -> Field {
    let told = match expr.clone().unalias() {
        Expr::Column(_) | Expr::Cast(_) | Expr::Literal(..) => true,
        Expr::ScalarFunction(call) => call.func.name() == "cast",
        _ => false,
    };
    if told {
        return field;
    }
    let mut metadata = field.metadata().clone();
    metadata.insert(COMPUTED.to_owned(), String::new());
    field.with_metadata(metadata)
}

/// The schema of a plan's result with marks on what is computed and on what is a column.
pub(super) fn marked(schema: SchemaRef, plan: &LogicalPlan) -> SchemaRef {
    let mark = |(index, field): (usize, &Arc<Field>)| {
        let mut metadata = field.metadata().clone();
        if !keeps(plan, index) {
            metadata.insert(COMPUTED.to_owned(), String::new());
        }
        if let Some((table, column)) = column_of(plan, index) {
            metadata.insert(ORIGIN.to_owned(), format!("{table} {column}"));
        }
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    };
    let fields: Vec<_> = schema.fields().iter().enumerate().map(mark).collect();
    Arc::new(Schema::new(fields))
}

/// The table and the column of it that a column of a plan is.
fn column_of(plan: &LogicalPlan, index: usize) -> Option<(u32, u16)> {
    match plan {
        LogicalPlan::Projection(node) => origin_of(node.expr.get(index)?, &node.input),
        LogicalPlan::Aggregate(node) => origin_of(node.group_expr.get(index)?, &node.input),
        LogicalPlan::TableScan(scan) => {
            let index =
                scan.projection.as_ref().map_or(Some(index), |columns| columns.get(index).copied())?;
            let provider = source_as_provider(&scan.source).ok()?;
            let collection = provider.downcast_ref::<CollectionTable>()?;
            let id = collection.schema().field(index).metadata().get(FIELD_ID_KEY)?.parse().ok()?;
            Some((collection.table.id.0, id))
        }
        _ => passed(plan, index).and_then(|(input, index)| column_of(input, index)),
    }
}

fn origin_of(expr: &Expr, input: &LogicalPlan) -> Option<(u32, u16)> {
    match expr {
        Expr::Alias(alias) => origin_of(&alias.expr, input),
        Expr::Column(column) => column_of(input, input.schema().index_of_column(column).ok()?),
        _ => None,
    }
}

/// Whether a column of a plan is one of a table, or a cast.
fn keeps(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Projection(node) => node.expr.get(index).is_some_and(|it| told(it, &node.input)),
        LogicalPlan::Aggregate(node) => node.group_expr.get(index).is_some_and(|it| told(it, &node.input)),
        LogicalPlan::Union(node) => node.inputs.iter().all(|input| keeps(input, index)),
        LogicalPlan::TableScan(_) => true,
        _ => passed(plan, index).is_some_and(|(input, index)| keeps(input, index)),
    }
}

/// The input, and the column of it, that a column of a plan is passed on from.
fn passed(plan: &LogicalPlan, index: usize) -> Option<(&LogicalPlan, usize)> {
    match plan {
        LogicalPlan::Join(node) => Some(match index.checked_sub(node.left.schema().fields().len()) {
            Some(index) => (&node.right, index),
            None => (&node.left, index),
        }),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Window(_) => match plan.inputs().as_slice() {
            [input] if index < input.schema().fields().len() => Some((input, index)),
            _ => None,
        },
        _ => None,
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
