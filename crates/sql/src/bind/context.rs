//! What DataFusion's SQL planner asks while it plans one statement: tables, functions, types, operators.

use super::cast_kernel::CastStyle;
use super::missing;
use super::oids::CatalogNames;
use super::operators::PgOperators;
use super::params::Params;
use super::prepare::{ALL_CALL, ANY_CALL, BIT_NOT, DISTINCT};
use super::relations::{RelationName, find_table, find_view, no_relation};
use super::types::PgTypes;
use crate::catalog::{self, CatalogContext};
use crate::encode::OutputStyle;
use crate::functions::{self, Function, FunctionContext, FunctionSet};
use crate::session::SessionInfo;
use crate::settings::Settings;
use crate::statement::StatementContext;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF,
};
use quiver_base::{Error, Result, SqlState, SqlType, TableId};
use quiver_cluster::{Catalog, Cluster, Database, ReadView};
use quiver_exec::{CollectionTable, Engine, QueryContext, SearchSettings, to_datafusion};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Plans one statement. Cheap to clone; clones share the types of parameters.
#[derive(Clone)]
pub(crate) struct Binder {
    /// The node.
    pub cluster: Arc<Cluster>,
    /// Plans and runs.
    pub engine: Arc<Engine>,
    /// DataFusion's side.
    pub state: Arc<SessionState>,
    /// What exists.
    pub catalog: Arc<Catalog>,
    /// The session's database.
    pub database: Arc<Database>,
    /// Schemas of unqualified names, in order.
    pub search_path: Vec<String>,
    /// Parameter types found so far.
    pub params: Arc<Params>,
    /// Text forms.
    pub style: Arc<CastStyle>,
    /// Session functions by name.
    functions: Arc<FunctionSet>,
    system: Arc<CatalogContext>,
    /// The table whose scan also gives row references: the target of UPDATE and DELETE.
    target: Option<TableId>,
    /// Rows that statements in the WITH return, by the names that stand for them.
    made: Vec<(String, Arc<dyn TableProvider>)>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// Set when the statement is to stop.
    pub cancel: Arc<AtomicBool>,
}

impl Binder {
    /// A binder over the statement's snapshot.
    pub(crate) fn new(ctx: &StatementContext<'_>, declared: &[Option<SqlType>]) -> Binder {
        let view =
            ctx.together.as_ref().map_or_else(|| ctx.txn.read_view(), |together| together.view.clone());
        Binder::of_view(ctx, view, declared)
    }

    /// A binder over what is committed now, whatever the statement's snapshot: for who holds a lock against other writers and
    /// must not miss a row.
    pub(crate) fn of_newest(ctx: &StatementContext<'_>) -> Binder {
        Binder::of_view(ctx, ctx.txn.newest_view(), &[])
    }

    fn of_view(ctx: &StatementContext<'_>, view: ReadView, declared: &[Option<SqlType>]) -> Binder {
        let state = ctx.engine.state(Arc::new(Self::query_context(ctx, view)));
        let style = Arc::new(cast_style(ctx));
        Binder::over(catalog_context(ctx), ctx.engine, state, style, ctx.cancel.clone(), declared)
    }

    /// What running plans ask of the statement.
    pub(super) fn query_context(ctx: &StatementContext<'_>, view: ReadView) -> QueryContext {
        QueryContext {
            view,
            search: SearchSettings {
                ef_search: ctx.settings.ef_search(),
                probes: ctx.settings.probes(),
                use_index: ctx.settings.is_on("enable_indexscan"),
            },
            cancel: ctx.cancel.clone(),
        }
    }

    /// A binder of nobody's statement, over no rows: for what the catalog keeps as text.
    pub(crate) fn of_server(cluster: &Arc<Cluster>, engine: &Arc<Engine>) -> Result<Binder> {
        let catalog = cluster.catalog();
        let database = catalog.databases.values().next().cloned();
        let database = database.ok_or_else(|| Error::internal("there is no database"))?;
        let settings = Settings::new("postgres");
        let system = Arc::new(CatalogContext {
            cluster: cluster.clone(),
            catalog,
            settings: settings.clone(),
            session: Arc::new(SessionInfo::of_server(cluster, &database)),
            database,
        });
        let style = Arc::new(CastStyle {
            input: settings.input_style(0),
            output: settings.output_style(),
            oids: Some(Arc::new(CatalogNames(system.clone()))),
            session: None,
        });
        Ok(Binder::over(system, engine, engine.bare_state(), style, Arc::default(), &[]))
    }

    fn over(
        system: Arc<CatalogContext>,
        engine: &Arc<Engine>,
        state: SessionState,
        style: Arc<CastStyle>,
        cancel: Arc<AtomicBool>,
        declared: &[Option<SqlType>],
    ) -> Binder {
        let search_path = system.settings.search_path();
        let context = Arc::new(FunctionContext {
            cluster: system.cluster.clone(),
            session: system.session.clone(),
            settings: system.settings.clone(),
            database: system.database.clone(),
            search_path: search_path.clone(),
            style: style.clone(),
        });
        let state = Arc::new(state);
        let functions = Arc::new(FunctionSet::new(context, state.clone()));
        let params = Arc::new(Params::new(declared));
        let operators =
            PgOperators { params: params.clone(), style: style.clone(), functions: functions.clone() };
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(operators)];
        planners.extend(state.expr_planners().iter().cloned());
        Binder {
            cluster: system.cluster.clone(),
            engine: engine.clone(),
            state,
            catalog: system.catalog.clone(),
            database: system.database.clone(),
            search_path,
            params,
            style,
            functions,
            system,
            target: None,
            made: Vec::new(),
            planners,
            cancel,
        }
    }

    /// A binder over the same snapshot with names of its own: for a view's query.
    pub(super) fn inside(&self, params: Params, search_path: Vec<String>) -> Binder {
        let params = Arc::new(params);
        let operators = PgOperators {
            params: params.clone(),
            style: self.style.clone(),
            functions: self.functions.clone(),
        };
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(operators)];
        planners.extend(self.state.expr_planners().iter().cloned());
        Binder {
            cluster: self.cluster.clone(),
            engine: self.engine.clone(),
            state: self.state.clone(),
            catalog: self.catalog.clone(),
            database: self.database.clone(),
            search_path,
            params,
            style: self.style.clone(),
            functions: self.functions.clone(),
            system: self.system.clone(),
            target: None,
            made: Vec::new(),
            planners,
            cancel: self.cancel.clone(),
        }
    }

    /// Scans of this table also give where each row is.
    pub(crate) fn with_target(mut self, table: TableId) -> Binder {
        self.target = Some(table);
        self
    }

    /// A name that no statement can say stands for these rows.
    pub(crate) fn add_made(&mut self, name: String, rows: Arc<dyn TableProvider>) {
        self.made.push((name, rows));
    }

    /// A table by its name in a statement; 42P01.
    pub(crate) fn table(&self, name: &RelationName) -> Result<Arc<quiver_cluster::Table>> {
        if let Some(table) = find_table(&self.database, &self.search_path, name) {
            return Ok(table.clone());
        }
        // What would go through a view to its table is not there.
        match find_view(&self.database, &self.search_path, name) {
            Some(view) => Err(Error::unsupported(format!("changing rows through view \"{}\"", view.name))),
            None => Err(no_relation(&self.database, name)),
        }
    }

    fn provider(&self, name: &RelationName) -> Result<Arc<dyn TableProvider>> {
        if let Some((_, rows)) =
            self.made.iter().find(|(made, _)| name.schema.is_none() && *made == name.name)
        {
            return Ok(rows.clone());
        }
        if let Some(system) = catalog::table(name.schema.as_deref(), &name.name, &self.system)? {
            return Ok(system);
        }
        if let Some(table) = find_table(&self.database, &self.search_path, name) {
            let with_row_refs = self.target == Some(table.id);
            return Ok(CollectionTable::new(table.clone(), with_row_refs));
        }
        if let Some(view) = find_view(&self.database, &self.search_path, name) {
            return self.view(view);
        }
        Err(no_relation(&self.database, name))
    }
}

/// What system relations and functions read.
fn catalog_context(ctx: &StatementContext<'_>) -> Arc<CatalogContext> {
    Arc::new(CatalogContext {
        cluster: ctx.cluster.clone(),
        catalog: ctx.txn.catalog(),
        database: ctx.txn.database(),
        settings: ctx.settings.clone(),
        session: ctx.session.clone(),
    })
}

/// What text means in this session.
pub(crate) fn cast_style(ctx: &StatementContext<'_>) -> CastStyle {
    let names = Arc::new(CatalogNames(catalog_context(ctx)));
    CastStyle {
        input: ctx.settings.input_style(ctx.session.transaction_start_us()),
        output: OutputStyle { names: Some(names.clone()), ..ctx.settings.output_style() },
        oids: Some(names),
        session: Some(ctx.session.clone()),
    }
}

/// Stands for a construct until the plan pass knows its types.
fn placeholder(name: &str) -> Arc<ScalarUDF> {
    let is_not = name == BIT_NOT;
    let returns = move |types: &[SqlType]| match types {
        [operand] if is_not => Ok(operand.clone()),
        _ => Ok(SqlType::Bool),
    };
    Function::typed(name, Volatility::Volatile, returns, |_| {
        Err(Error::internal("an operator was not resolved"))
    })
    .udf()
}

impl Binder {
    /// What stands for a function that nothing of any kind has the name of.
    fn missing(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        // DataFusion's planner makes this one itself.
        let exists = name == "unnest"
            || self.get_higher_order_meta(name).is_some()
            || self.get_aggregate_meta(name).is_some()
            || self.get_window_meta(name).is_some();
        (!exists).then(|| missing::stand_in(name))
    }
}

impl ContextProvider for Binder {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        let name = match name {
            TableReference::Bare { table } => RelationName { schema: None, name: table.to_string() },
            TableReference::Partial { schema, table } => {
                RelationName { schema: Some(schema.to_string()), name: table.to_string() }
            }
            TableReference::Full { catalog, schema, table } => {
                if *catalog != *self.database.name {
                    return Err(to_datafusion(Error::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!(
                            "cross-database references are not implemented: \"{catalog}.{schema}.{table}\""
                        ),
                    )));
                }
                RelationName { schema: Some(schema.to_string()), name: table.to_string() }
            }
        };
        Ok(provider_as_source(self.provider(&name).map_err(to_datafusion)?))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DfResult<Arc<dyn TableSource>> {
        if let Some(rows) = catalog::table_function(name) {
            return Ok(provider_as_source(rows.map_err(to_datafusion)?));
        }
        let name = if name == super::sets::SERIES { "generate_series" } else { name };
        let function = self.state.table_functions().get(name).cloned().ok_or_else(|| {
            to_datafusion(Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist")))
        })?;
        let args = args
            .into_iter()
            .map(|arg| {
                let schema = datafusion::common::DFSchema::empty();
                let arg =
                    super::coerce_expr(arg, &schema, &self.params, &self.style).map_err(to_datafusion)?;
                // DataFusion's generate_series reads bigint literals.
                Ok(match arg {
                    Expr::Literal(value, _) if value.data_type().is_integer() => {
                        Expr::Literal(value.cast_to(&DataType::Int64)?, None)
                    }
                    Expr::Literal(value, _) => Expr::Literal(value, None),
                    other => other,
                })
            })
            .collect::<DfResult<Vec<_>>>()?;
        let args = TableFunctionArgs::new(&args, self.state.as_ref());
        let provider = function.create_table_provider_with_args(args)?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(PgTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if matches!(name, ANY_CALL | ALL_CALL | BIT_NOT | DISTINCT) {
            return Some(placeholder(name));
        }
        // DataFusion's functions of these names change the first item only.
        let name = match name {
            "array_remove" => "array_remove_all",
            "array_replace" => "array_replace_all",
            other => other,
        };
        let found = catalog::function(name, &self.system).or_else(|| self.functions.get(name));
        match name {
            "btrim" | "ltrim" | "rtrim" | "substr" | "substring" | "strpos" | "position" | "coalesce"
            | "nullif" | "greatest" | "least" => found.map(functions::deferred),
            _ => match found {
                Some(function) if self.functions.is_of_engine(&function) => {
                    Some(functions::deferred(function))
                }
                found => found.or_else(|| self.missing(name)),
            },
        }
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let found = functions::aggregate(name, &self.state);
        match name {
            "avg" | "sum" | "min" | "max" | "bit_and" | "bit_or" | "bit_xor" => {
                found.map(functions::deferred_aggregate)
            }
            _ => found,
        }
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// Errors of DataFusion's planner, as PostgreSQL says them.
pub(crate) fn plan_error(error: DataFusionError) -> Error {
    super::errors::from_planner(error)
}
