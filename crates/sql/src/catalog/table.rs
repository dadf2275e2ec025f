//! System relations as tables: which there are, what makes their rows.

use super::context::CatalogContext;
use super::fixed::{FixedColumn, PG_CATALOG, fixed};
use super::rows::Rows;
use super::{
    information_schema as standard, objects, plans, relations, routines, sessions, shared, statistics, views,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use quiver_base::{Error, Result};
use std::sync::Arc;

/// The system relation with this name: in `schema`, or in pg_catalog if none is given. `Err` (0A000) for a view that PostgreSQL
/// would fill and Quiver cannot.
pub(crate) fn table(
    schema: Option<&str>,
    name: &str,
    context: &Arc<CatalogContext>,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let schema = match schema {
        Some("quiver") if name == "plan_cache" => {
            let columns = plans::PLAN_CACHE.as_slice();
            return Ok(Some(Arc::new(SystemTable {
                columns,
                schema: Rows::schema(columns),
                source: Source::Made(plans::plan_cache),
                standard: false,
                context: context.clone(),
            })));
        }
        None | Some("pg_catalog") => PG_CATALOG,
        Some("information_schema") => super::names::information_schema_oid(),
        Some(_) => return Ok(None),
    };
    let Some(((schema, name), columns)) = fixed().relations.get_key_value(&(schema, name.to_owned())) else {
        return Ok(None);
    };
    let Some(source) = source(*schema == PG_CATALOG, name) else {
        return Err(Error::unsupported(format!("system view \"{name}\"")));
    };
    Ok(Some(Arc::new(SystemTable {
        columns,
        schema: Rows::schema(columns),
        source,
        standard: *schema != PG_CATALOG,
        context: context.clone(),
    })))
}

/// Whether a relation of pg_catalog never has a row, as nothing of its kind can exist here.
pub(crate) fn is_always_empty(name: &str) -> bool {
    matches!(source(true, name), Some(Source::Empty))
}

/// What fills a relation.
#[derive(Clone, Copy)]
enum Source {
    /// Always as PostgreSQL has it.
    Fixed(&'static str),
    /// Nothing of this kind can exist here.
    Empty,
    Made(fn(&CatalogContext, &mut Rows<'_>)),
    Tried(fn(&CatalogContext, &mut Rows<'_>) -> Result<()>),
}

fn source(is_pg_catalog: bool, name: &str) -> Option<Source> {
    if !is_pg_catalog {
        return standard_source(name);
    }
    Some(match name {
        "pg_class" => Source::Tried(relations::pg_class),
        "pg_attribute" => Source::Tried(relations::pg_attribute),
        "pg_attrdef" => Source::Made(relations::pg_attrdef),
        "pg_index" => Source::Made(relations::pg_index),
        "pg_constraint" => Source::Made(relations::pg_constraint),
        "pg_sequence" => Source::Made(relations::pg_sequence),
        "pg_depend" => Source::Tried(relations::pg_depend),
        "pg_indexes" => Source::Made(relations::pg_indexes),
        "pg_tables" => Source::Made(relations::pg_tables),
        "pg_namespace" => Source::Made(objects::pg_namespace),
        "pg_database" => Source::Made(shared::pg_database),
        "pg_authid" => Source::Tried(shared::pg_authid),
        "pg_roles" => Source::Made(shared::pg_roles),
        "pg_user" => Source::Made(shared::pg_user),
        "pg_shadow" => Source::Made(shared::pg_shadow),
        "pg_group" => Source::Made(shared::pg_group),
        "pg_auth_members" => Source::Tried(shared::pg_auth_members),
        "pg_db_role_setting" => Source::Made(shared::pg_db_role_setting),
        "pg_hba_file_rules" => Source::Made(shared::pg_hba_file_rules),
        "pg_extension" => Source::Made(objects::pg_extension),
        "pg_available_extensions" => Source::Made(objects::pg_available_extensions),
        "pg_description" => Source::Tried(objects::pg_description),
        "pg_settings" => Source::Made(objects::pg_settings),
        "pg_stat_progress_create_index" => Source::Made(statistics::progress_create_index),
        "pg_stat_user_tables" | "pg_stat_all_tables" => Source::Made(statistics::tables),
        "pg_stat_user_indexes" | "pg_stat_all_indexes" => Source::Made(statistics::indexes),
        "pg_stat_activity" => Source::Made(shared::activity),
        "pg_locks" => Source::Made(sessions::pg_locks),
        "pg_prepared_statements" => Source::Made(sessions::pg_prepared_statements),
        "pg_cursors" => Source::Made(sessions::pg_cursors),
        "pg_stat_ssl" => Source::Made(shared::ssl),
        "pg_stat_database" => Source::Made(views::databases),
        "pg_statio_user_tables" | "pg_statio_all_tables" => Source::Made(views::table_io),
        "pg_statio_user_indexes" | "pg_statio_all_indexes" => Source::Made(views::index_io),
        "pg_stat_bgwriter" | "pg_stat_archiver" | "pg_stat_wal" => Source::Made(views::one_row),
        "pg_views" => Source::Made(views::views),
        "pg_rewrite" => Source::Made(views::rules),
        "pg_sequences" => Source::Made(views::sequences),
        "pg_available_extension_versions" => Source::Made(views::extension_versions),
        "pg_timezone_names" => Source::Made(views::time_zones),
        "pg_type" | "pg_proc" | "pg_operator" | "pg_cast" | "pg_am" | "pg_opclass" | "pg_opfamily"
        | "pg_amop" | "pg_amproc" | "pg_collation" | "pg_language" | "pg_aggregate" | "pg_range"
        | "pg_tablespace" | "pg_conversion" | "pg_ts_config" => {
            Source::Fixed(fixed().tables.get_key_value(name).map(|(name, _)| name.as_str())?)
        }
        // Things that cannot be made here, or of which there are none.
        "pg_inherits"
        | "pg_trigger"
        | "pg_policy"
        | "pg_policies"
        | "pg_rules"
        | "pg_matviews"
        | "pg_enum"
        | "pg_event_trigger"
        | "pg_foreign_data_wrapper"
        | "pg_foreign_server"
        | "pg_foreign_table"
        | "pg_user_mapping"
        | "pg_user_mappings"
        | "pg_publication"
        | "pg_publication_rel"
        | "pg_publication_namespace"
        | "pg_publication_tables"
        | "pg_subscription"
        | "pg_subscription_rel"
        | "pg_partitioned_table"
        | "pg_statistic_ext"
        | "pg_statistic_ext_data"
        | "pg_stats_ext"
        | "pg_seclabel"
        | "pg_seclabels"
        | "pg_shseclabel"
        | "pg_shdescription"
        | "pg_default_acl"
        | "pg_init_privs"
        | "pg_largeobject"
        | "pg_largeobject_metadata"
        | "pg_transform"
        | "pg_shdepend"
        | "pg_replication_slots"
        | "pg_prepared_xacts"
        | "pg_parameter_acl"
        | "pg_stat_replication"
        | "pg_stat_subscription"
        | "pg_replication_origin"
        // Statistics that ANALYZE would gather, and progress of what runs elsewhere.
        | "pg_statistic"
        | "pg_stats"
        | "pg_stats_ext_exprs"
        | "pg_stat_progress_analyze"
        | "pg_stat_progress_cluster"
        | "pg_stat_progress_copy"
        | "pg_stat_progress_vacuum"
        | "pg_stat_sys_tables"
        | "pg_stat_sys_indexes"
        | "pg_stat_user_functions"
        | "pg_stat_wal_receiver"
        | "pg_stat_replication_slots"
        | "pg_replication_origin_status" => Source::Empty,
        _ => return None,
    })
}

fn standard_source(name: &str) -> Option<Source> {
    Some(match name {
        "schemata" => Source::Made(standard::schemata),
        "tables" => Source::Made(standard::tables),
        "columns" => Source::Made(standard::columns),
        "table_constraints" => Source::Made(standard::table_constraints),
        "key_column_usage" => Source::Made(standard::key_column_usage),
        "constraint_column_usage" => Source::Made(standard::constraint_column_usage),
        "sequences" => Source::Made(standard::sequences),
        "routines" => Source::Made(routines::routines),
        "parameters" => Source::Made(routines::parameters),
        "check_constraints" => Source::Made(routines::check_constraints),
        "information_schema_catalog_name" => Source::Made(routines::catalog_name),
        "character_sets" => Source::Made(routines::character_sets),
        "enabled_roles" => Source::Made(routines::enabled_roles),
        "table_privileges" | "role_table_grants" => Source::Made(routines::table_privileges),
        "column_privileges" | "role_column_grants" => Source::Made(routines::column_privileges),
        // Things that cannot be made here.
        "views" => Source::Made(views::standard_views),
        "referential_constraints"
        | "view_column_usage"
        | "view_table_usage"
        | "triggers"
        | "triggered_update_columns"
        | "domains"
        | "domain_constraints"
        | "domain_udt_usage"
        | "column_domain_usage"
        | "foreign_tables"
        | "foreign_servers"
        | "foreign_data_wrappers"
        | "user_defined_types"
        | "attributes"
        | "transforms"
        | "applicable_roles"
        | "administrable_role_authorizations"
        | "column_options"
        | "user_mappings" => Source::Empty,
        _ => return None,
    })
}

/// A relation whose rows are made when it is scanned.
struct SystemTable {
    columns: &'static [FixedColumn],
    schema: SchemaRef,
    source: Source,
    /// Of information_schema.
    standard: bool,
    context: Arc<CatalogContext>,
}

impl std::fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemTable").field("columns", &self.columns.len()).finish_non_exhaustive()
    }
}

impl SystemTable {
    fn batch(&self) -> Result<arrow::record_batch::RecordBatch> {
        let mut rows = if self.standard { Rows::with_nulls(self.columns) } else { Rows::new(self.columns) };
        match self.source {
            Source::Empty => {}
            Source::Fixed(name) => {
                if let Some(table) = fixed().tables.get(name) {
                    rows.push_fixed(table)?;
                }
            }
            Source::Made(fill) => fill(&self.context, &mut rows),
            Source::Tried(fill) => fill(&self.context, &mut rows)?,
        }
        rows.finish()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let batch = self.batch().map_err(|error| DataFusionError::External(Box::new(error)))?;
        MemTable::try_new(self.schema.clone(), vec![vec![batch]])?
            .scan(state, projection, filters, limit)
            .await
    }
}
