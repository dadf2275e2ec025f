//! SQL types that DataFusion drops: a column's type is metadata of its field, which `unnest` and some aggregates do not hand
//! on. The columns get their types back where they are first used.

use crate::functions::{Function, typed_as};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Column;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use quiver_base::SqlType;
use std::collections::HashMap;

/// The types that the columns under a node should have.
pub(super) struct LostTypes(HashMap<Column, SqlType>);

impl LostTypes {
    /// What the inputs of a projection (or what else reads them) have lost.
    pub(super) fn under(plan: &LogicalPlan) -> LostTypes {
        let mut types = HashMap::new();
        if matches!(plan, LogicalPlan::Projection(_)) {
            for input in plan.inputs() {
                collect(input, &mut types);
            }
        }
        LostTypes(types)
    }

    /// A column with its type; anything else as it is.
    pub(super) fn restored(&self, expr: Expr) -> Expr {
        match &expr {
            Expr::Column(column) => match self.0.get(column) {
                Some(ty) => call(typed_as(ty), expr),
                None => expr,
            },
            _ => expr,
        }
    }
}

fn call(function: Function, argument: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), vec![argument]))
}

fn collect(plan: &LogicalPlan, types: &mut HashMap<Column, SqlType>) {
    match plan {
        LogicalPlan::Unnest(unnest) => {
            for (index, list) in &unnest.list_type_columns {
                if let DataType::List(item) = unnest.input.schema().field(*index).data_type() {
                    note(&list.output_column, item, types);
                }
            }
        }
        LogicalPlan::Aggregate(aggregate) => {
            for expr in &aggregate.aggr_expr {
                let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias()
                else {
                    continue;
                };
                let Some(argument) = params.args.first() else { continue };
                let Ok((_, field)) = argument.to_field(aggregate.input.schema()) else { continue };
                let Some(ty) = dropped(&field) else { continue };
                let (qualifier, name) = expr.qualified_name();
                let ty = match (func.name(), ty) {
                    ("array_agg", ty) => SqlType::Array(Box::new(ty)),
                    // There is no minimum of names, only of text.
                    ("min" | "max", SqlType::Name | SqlType::Varchar(_)) => continue,
                    ("min" | "max" | "any_value" | "first_value" | "last_value", ty) => ty,
                    _ => continue,
                };
                types.insert(Column::new(qualifier, name), ty);
            }
        }
        LogicalPlan::Window(window) => {
            for expr in &window.window_expr {
                let is_bucket = matches!(
                    expr.clone().unalias(),
                    Expr::WindowFunction(function) if function.fun.name() == "ntile"
                );
                if is_bucket {
                    let (qualifier, name) = expr.qualified_name();
                    types.insert(Column::new(qualifier, name), SqlType::Int4);
                }
            }
            collect(&window.input, types);
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().for_each(|input| collect(input, types));
        }
        _ => {}
    }
}

/// The type of a list whose items carry a SQL type: a subquery's value comes without it.
pub(super) fn of_list(field: &FieldRef) -> Option<SqlType> {
    match field.data_type() {
        DataType::List(item) if !item.metadata().is_empty() => SqlType::of_field(field),
        _ => None,
    }
}

/// The type of a field, if Arrow's type does not say it.
fn dropped(field: &FieldRef) -> Option<SqlType> {
    let ty = SqlType::of_field(field)?;
    (SqlType::from_arrow(field.data_type()).as_ref() != Some(&ty)).then_some(ty)
}

fn note(column: &Column, field: &FieldRef, types: &mut HashMap<Column, SqlType>) {
    if let Some(ty) = dropped(field) {
        types.insert(column.clone(), ty);
    }
}
