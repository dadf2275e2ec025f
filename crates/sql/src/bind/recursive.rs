//! WITH RECURSIVE: DataFusion plans the recursive term over a work table that looks as the static term did before it had
//! types. The static term is typed first here, and its columns, with all that they say of themselves, become the work
//! table's. What the terms say is not looked at.

use super::cast_kernel::CastStyle;
use super::coerce::coerce_plan;
use super::params::Params;
use super::unions;
use crate::functions::typed_as;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, TableScan};
use quiver_base::SqlType;
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// Types both terms of a recursive query, the static one first: it decides what the columns are.
pub(super) fn typed(query: RecursiveQuery, params: &Params, style: &Arc<CastStyle>) -> DfResult<LogicalPlan> {
    let RecursiveQuery { name, static_term, recursive_term, is_distinct, .. } = query;
    let first = coerce_plan(Arc::unwrap_or_clone(static_term), params, style).map_err(to_datafusion)?;
    let first = in_one_form(first)?;
    let columns = work_table_columns(first.schema().as_arrow());
    let next = over_work_table(Arc::unwrap_or_clone(recursive_term), &name, &columns)?;
    let next = coerce_plan(next, params, style).map_err(to_datafusion)?;
    let next = unions::like_first(&first, Arc::new(next), &name, params, style)?;
    let next = Arc::new(in_one_form(Arc::unwrap_or_clone(next))?);
    RecursiveQuery::try_new(name, Arc::new(first), next, is_distinct).map(LogicalPlan::RecursiveQuery)
}

/// The terms' columns must be alike in all that they say of themselves: some expressions say what Arrow's type says already.
fn in_one_form(term: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut changed = false;
    let schema = term.schema().clone();
    let columns = schema.iter().map(|(qualifier, field)| {
        let expr = Expr::from((qualifier, field));
        let Some(ty) = SqlType::of_field(field) else { return expr };
        let form = ty.field(field.name(), true);
        if form.data_type() == field.data_type() && form.metadata() == field.metadata() {
            return expr;
        }
        changed = true;
        let typed = ScalarFunction::new_udf(typed_as(&ty).udf(), vec![expr]);
        Expr::ScalarFunction(typed).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    if changed { LogicalPlanBuilder::from(term).project(columns)?.build() } else { Ok(term) }
}

/// Later rounds may have NULL where the first has none.
fn work_table_columns(first: &Schema) -> SchemaRef {
    let nullable = first.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new_with_metadata(nullable.collect::<Vec<_>>(), first.metadata().clone()))
}

/// The term with these columns wherever it reads the work table.
fn over_work_table(term: LogicalPlan, name: &str, columns: &SchemaRef) -> DfResult<LogicalPlan> {
    let replaced = term.transform_down_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) if reads(&scan, name) => {
            let table = CteWorkTable::new(name, columns.clone());
            let source = provider_as_source(Arc::new(table));
            LogicalPlanBuilder::scan(scan.table_name, source, scan.projection)?.build().map(Transformed::yes)
        }
        // An inner query of the same name reads its own.
        LogicalPlan::RecursiveQuery(inner) if inner.name == name => {
            Ok(Transformed::new(LogicalPlan::RecursiveQuery(inner), false, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn reads(scan: &TableScan, name: &str) -> bool {
    source_as_provider(&scan.source).is_ok_and(|provider| {
        provider.downcast_ref::<CteWorkTable>().is_some_and(|table| table.name() == name)
    })
}
