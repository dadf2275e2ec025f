//! Views: their queries, parsed from text and bound where they are used.

use super::context::{Binder, plan_error};
use super::names::Uniqueness;
use super::params::Params;
use super::query::BoundQuery;
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Query, Statement as Ast};
use quiver_base::{Error, Result, SqlType};
use quiver_cluster::View;
use quiver_exec::from_datafusion;
use std::sync::Arc;

impl Binder {
    /// A view as a table whose scan is its query.
    pub(super) fn view(&self, view: &View) -> Result<Arc<dyn TableProvider>> {
        let (plan, _) = self.view_plan(view)?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    /// A view's query with the view's names for its columns, and what these are.
    pub(crate) fn view_plan(&self, view: &View) -> Result<(LogicalPlan, Vec<(String, SqlType)>)> {
        let parsed = crate::statement::parse(&view.sql)?;
        let query = match parsed.first().map(|parsed| &parsed.statement) {
            Some(crate::statement::Statement::Plannable(statement)) => match statement.as_ref() {
                Ast::Query(query) => query.as_ref().clone(),
                _ => return Err(Error::internal("a view is no query")),
            },
            _ => return Err(Error::internal("a view is no query")),
        };
        let inside = self.inside(Params::default(), view.search_path.clone());
        let BoundQuery { plan, schema } = inside.bind(&query)?;
        if schema.fields().len() < view.columns.len() {
            return Err(Error::internal(format!("view \"{}\" has lost columns", view.name)));
        }
        let types: Vec<SqlType> =
            schema.fields().iter().map(|field| SqlType::of_field(field).unwrap_or(SqlType::Text)).collect();
        let names = || view.columns.iter().map(|(name, _)| name.clone());
        let columns: Vec<Expr> =
            plan.schema().iter().zip(names()).map(|(column, name)| Expr::from(column).alias(name)).collect();
        let plan = LogicalPlanBuilder::from(plan)
            .project(columns)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        Ok((plan, names().zip(types).collect()))
    }
}

/// What the `*` of a query's select list stands for, if every output is a plain column: its qualifier and its name.
pub(crate) fn bare_columns(binder: &Binder, query: &Query) -> Result<Option<Vec<Vec<String>>>> {
    let plan = binder.plan(query.clone(), Uniqueness::Plain)?.map_err(plan_error)?;
    let mut plan = &plan;
    loop {
        match plan {
            LogicalPlan::Sort(sort) => plan = &sort.input,
            LogicalPlan::Limit(limit) => plan = &limit.input,
            LogicalPlan::Distinct(datafusion::logical_expr::Distinct::All(input)) => plan = input,
            LogicalPlan::Projection(projection) => {
                let column = |expr: &Expr| match expr {
                    Expr::Column(column) => {
                        let relation = column.relation.as_ref().map(|relation| relation.table().to_owned());
                        Some(relation.into_iter().chain([column.name.clone()]).collect())
                    }
                    _ => None,
                };
                return Ok(projection.expr.iter().map(column).collect());
            }
            _ => return Ok(None),
        }
    }
}
