//! A query: planned, typed, its result described, its parameters filled in, run.

use super::coerce::{coerce_plan, visit_exprs};
use super::context::{Binder, plan_error};
use super::errors::{is_duplicate_name, missing_in_using};
use super::modifiers;
use super::names::{Uniqueness, shown};
use super::params;
use super::prepare::prepare;
use super::types::without_modifier;
use super::typing::{Typing, fixed_size};
use super::{CastContext, can_assign, cast_array, cast_expr, literal};
use crate::functions::WAITING;
use crate::parser::first_parameter;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::{from_datafusion, to_datafusion};
use std::sync::Arc;

/// A query whose names and types are known.
#[derive(Clone, Debug)]
pub(crate) struct BoundQuery {
    /// Unoptimised, with parameters.
    pub plan: LogicalPlan,
    /// What a client is told about the columns.
    pub schema: SchemaRef,
}

impl Binder {
    /// DataFusion's planner over this binder.
    pub(crate) fn planner(&self) -> SqlToRel<'_, Binder> {
        let options = ParserOptions::from(&self.state.config_options().sql_parser)
            .with_parse_float_as_decimal(true)
            .with_map_string_types_to_utf8view(false);
        SqlToRel::new_with_options(self, options)
    }

    /// Plans a query.
    pub(crate) fn bind(&self, query: &ast::Query) -> Result<BoundQuery> {
        self.bind_as(query, &[])
    }

    /// The same for a query that is given no parameters: 42P02 if it has one.
    pub(crate) fn bind_alone(&self, query: &ast::Query) -> Result<BoundQuery> {
        let bound = self.bind(query);
        let may_have_one = match &bound {
            Ok(_) => true,
            Err(error) => error.state() == SqlState::INDETERMINATE_DATATYPE,
        };
        match may_have_one.then(|| first_parameter(&query.to_string(), 0)).flatten() {
            Some(id) => Err(no_parameter(&id)),
            None => bound,
        }
    }

    /// Plans a query for columns of these types: constants and parameters without a type of their own have those of the columns.
    pub(crate) fn bind_as(&self, query: &ast::Query, columns: &[SqlType]) -> Result<BoundQuery> {
        let plan = match self.plan(query.clone(), Uniqueness::Plain)? {
            Ok(plan) => plan,
            Err(error) if is_duplicate_name(&error) => {
                match self.plan(query.clone(), Uniqueness::BesideWildcards)? {
                    Ok(plan) => plan,
                    Err(_) => return Err(plan_error(error)),
                }
            }
            Err(error) => return Err(missing_in_using(query, &error).unwrap_or_else(|| plan_error(error))),
        };
        let plan = if columns.is_empty() { plan } else { self.typed_as(plan, columns)? };
        super::unordered::check(&plan, &self.params, &self.style)?;
        let plan = coerce_plan(plan, &self.params, &self.style)?;
        let plan = self.settle_params(plan)?;
        let schema = modifiers::marked(shown_schema(plan.schema().as_arrow()), &plan);
        if schema.fields().iter().any(|field| super::composites::is_part(field.name())) {
            return Err(Error::unsupported("a composite value in a result"));
        }
        Ok(BoundQuery { plan, schema })
    }

    /// Types what the outermost select list leaves open.
    fn typed_as(&self, plan: LogicalPlan, columns: &[SqlType]) -> Result<LogicalPlan> {
        let typed = plan.transform_down(|node| match node {
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
            LogicalPlan::Projection(list) => {
                let typing = Typing { schema: list.input.schema(), params: &self.params, style: &self.style };
                let typed = |(expr, column): (Expr, Option<&SqlType>)| -> Result<Expr> {
                    let Some(column) = column else { return Ok(expr) };
                    let name = NamePreserver::new_for_projection().save(&expr);
                    let bare = expr.clone().unalias();
                    let is_open = matches!(bare, Expr::Literal(..) | Expr::Placeholder(_));
                    if !is_open || typing.of(&bare)? != SqlType::Unknown {
                        return Ok(expr);
                    }
                    Ok(name.restore(typing.adapt(bare, &without_modifier(column))?))
                };
                let columns = columns.iter().map(Some).chain(std::iter::repeat(None));
                let exprs = list.expr.into_iter().zip(columns).map(typed).collect::<Result<Vec<_>>>();
                let list = Projection::try_new(exprs.map_err(to_datafusion)?, list.input)?;
                Ok(Transformed::new(LogicalPlan::Projection(list), true, TreeNodeRecursion::Stop))
            }
            other => Ok(Transformed::new(other, false, TreeNodeRecursion::Stop)),
        });
        Ok(typed.map_err(from_datafusion)?.data)
    }

    /// Plans an expression over a schema; its types are not settled yet.
    pub(crate) fn expression(&self, mut expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        prepare(&mut expr, Uniqueness::Plain)?;
        self.planner().sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(plan_error)
    }

    /// A typed expression cast to the type of the column it is stored in; 42804 if PostgreSQL would not do that unasked.
    pub(crate) fn assigned(
        &self,
        expr: Expr,
        schema: &DFSchema,
        to: &SqlType,
        column: &str,
        context: CastContext,
    ) -> Result<Expr> {
        let typing = Typing { schema, params: &self.params, style: &self.style };
        let from = typing.of(&expr)?;
        if from == SqlType::Unknown {
            let base = without_modifier(to);
            let expr = typing.adapt(expr, &base)?;
            let from = typing.of(&expr)?;
            return cast_expr(expr, &from, to, context, &self.style);
        }
        if !can_assign(&from, to) {
            return Err(Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{column}\" is of type {} but expression is of type {}",
                    without_modifier(to),
                    without_modifier(&from)
                ),
            )
            .with_hint("You will need to rewrite or cast the expression."));
        }
        cast_expr(expr, &from, to, context, &self.style)
    }

    /// 42804 unless the expression is a boolean.
    pub(crate) fn boolean(&self, expr: Expr, schema: &DFSchema, clause: &str) -> Result<Expr> {
        let typing = Typing { schema, params: &self.params, style: &self.style };
        let expr = typing.adapt(expr, &SqlType::Bool)?;
        match typing.of(&expr)? {
            SqlType::Bool => Ok(expr),
            ty => Err(Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!("argument of {clause} must be type boolean, not type {ty}"),
            )),
        }
    }

    /// The type of a bound expression.
    pub(crate) fn type_of(&self, expr: &Expr, schema: &DFSchema) -> Result<SqlType> {
        Typing { schema, params: &self.params, style: &self.style }.of(expr)
    }

    /// Plans a query without settling its types.
    pub(super) fn plan(
        &self,
        mut query: ast::Query,
        uniqueness: Uniqueness,
    ) -> Result<std::result::Result<LogicalPlan, datafusion::error::DataFusionError>> {
        prepare(&mut query, uniqueness)?;
        let statement = ast::Statement::Query(Box::new(query));
        let mut context = PlannerContext::new();
        Ok(self.planner().sql_statement_to_plan_with_context(statement, &mut context))
    }

    /// Every occurrence of a parameter has the parameter's type, cast to what its place wants.
    fn settle_params(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut found = Vec::new();
        visit_exprs(&plan, |expr| {
            if let Expr::Placeholder(Placeholder { id, field: Some(field) }) = expr {
                found.push((id.clone(), SqlType::of_field(field)));
            }
        })?;
        for (id, ty) in found {
            if let Some(ty) = ty {
                self.params.infer(&id, &ty);
            }
        }
        Ok(plan)
    }

    /// Types that a client is told, without modifiers.
    pub(crate) fn param_types(&self) -> Result<Vec<SqlType>> {
        Ok(self.params.finish()?.iter().map(without_modifier).collect())
    }

    /// Puts values in the place of parameters.
    pub(crate) fn fill(
        &self,
        plan: LogicalPlan,
        values: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<LogicalPlan> {
        if values.is_empty() {
            return Ok(plan);
        }
        let filled = plan.transform_up_with_subqueries(|node| {
            // What is above knows an expression by its name, which says the parameter.
            let names = NamePreserver::new(&node);
            let changed = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let filled = expr.transform_up(|expr| {
                    Ok(match self.fill_expr(expr, values, types).map_err(to_datafusion)? {
                        (expr, true) => Transformed::yes(expr),
                        (expr, false) => Transformed::no(expr),
                    })
                })?;
                Ok(filled.update_data(|expr| name.restore(expr)))
            })?;
            match changed.transformed {
                true => changed.map_data(LogicalPlan::recompute_schema),
                false => Ok(changed),
            }
        });
        Ok(filled.map_err(from_datafusion)?.data)
    }

    /// A parameter's value as a literal; whatever else as it is.
    pub(crate) fn fill_expr(
        &self,
        expr: Expr,
        values: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<(Expr, bool)> {
        let Expr::Placeholder(Placeholder { id, field }) = &expr else { return Ok((expr, false)) };
        let index = params::index(id).unwrap_or(usize::MAX);
        let (Some(value), Some(ty)) = (values.get(index), types.get(index)) else {
            return Err(no_parameter(id));
        };
        let wanted = field.as_ref().and_then(|field| SqlType::of_field(field));
        let filled = match (ty, &wanted) {
            (SqlType::Vector(_), Some(SqlType::Vector(Some(dim)))) => {
                literal(fixed_size(value.clone(), *dim)?, &SqlType::Vector(Some(*dim)))
            }
            (ty, Some(wanted)) if without_modifier(ty) != without_modifier(wanted) => {
                cast_expr(literal(value.clone(), ty), ty, wanted, CastContext::Explicit, &self.style)?
            }
            (ty, _) => literal(value.clone(), ty),
        };
        Ok((filled, true))
    }

    /// The same for an expression that stands alone.
    pub(crate) fn fill_in(&self, expr: Expr, values: &[ScalarValue], types: &[SqlType]) -> Result<Expr> {
        if values.is_empty() {
            return Ok(expr);
        }
        let filled = expr.transform_up(|expr| {
            Ok(match self.fill_expr(expr, values, types).map_err(to_datafusion)? {
                (expr, true) => Transformed::yes(expr),
                (expr, false) => Transformed::no(expr),
            })
        });
        Ok(filled.map_err(from_datafusion)?.data)
    }

    /// All rows of a table, its live columns in order.
    pub(crate) fn scan(&self, table: &Arc<quiver_cluster::Table>) -> Result<LogicalPlan> {
        let provider = quiver_exec::CollectionTable::new(table.clone(), false);
        let source = datafusion::datasource::provider_as_source(provider);
        LogicalPlanBuilder::scan(table.name.replace('"', ""), source, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)
    }

    /// Optimises, plans and starts a query whose parameters are filled in.
    pub(crate) async fn start(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        let physical = self.engine.plan(&self.state, plan).await?;
        let stream = self.engine.run(&self.state, physical)?;
        Ok(if may_wait(plan) { in_task_of_its_own(stream) } else { stream })
    }
}

/// Whether a query calls a function that waits inside: for a lock, or to sleep.
fn may_wait(plan: &LogicalPlan) -> bool {
    let is_waiting =
        |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if WAITING.contains(&call.func.name()));
    let mut found = false;
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(is_waiting(expr)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    });
    found || visited.is_err()
}

/// Reads a stream in another task, so that who waits for its rows can also wait for a cancel, a timeout or the client's leaving.
fn in_task_of_its_own(mut stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(stream.schema(), 1);
    let sender = builder.tx();
    builder.spawn(async move {
        while let Some(batch) = stream.next().await {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

/// A schema as clients see it: names without marks, Arrow types that carry SQL types.
fn shown_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            let ty = match field.data_type() {
                // Counts of rows: never beyond bigint.
                DataType::UInt64 => SqlType::Int8,
                _ => match SqlType::of_field(field) {
                    Some(SqlType::Unknown) | None => SqlType::Text,
                    Some(ty) => ty,
                },
            };
            ty.field(shown(field.name()), true)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// A batch with the columns' types brought to what the schema says.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let style = super::CastStyle::utc();
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| -> Result<ArrayRef> {
            if column.data_type() == field.data_type() {
                return Ok(column.clone());
            }
            match arrow::compute::cast(column, field.data_type()) {
                Ok(column) => Ok(column),
                Err(_) => {
                    let from = SqlType::from_arrow(column.data_type()).unwrap_or(SqlType::Text);
                    let to = SqlType::of_field(field).unwrap_or(SqlType::Text);
                    cast_array(column, &from, &to, CastContext::Explicit, &style)
                }
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The same for a whole stream.
pub(crate) fn conform_stream(
    stream: SendableRecordBatchStream,
    schema: &SchemaRef,
) -> SendableRecordBatchStream {
    let target = schema.clone();
    let batches = stream.map(move |batch| {
        let batch = batch?;
        conform(&batch, &target).map_err(to_datafusion)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches))
}

fn no_parameter(id: &str) -> Error {
    Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {id}"))
}
