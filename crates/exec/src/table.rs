//! A collection as DataFusion sees it.

use crate::context::statement;
use crate::keys::{self, KeyLookup};
use crate::scan::{CollectionScanExec, ScanColumn};
use crate::to_datafusion;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use quiver_base::{ColumnId, FIELD_ID_KEY};
use quiver_cluster::Table;
use std::sync::Arc;

/// Hidden column (bigint): the row's shard. Only in tables made with `with_row_refs`.
pub const SHARD_COLUMN: &str = "__quiver_shard";
/// Hidden column (bigint): the row's id in its shard.
pub const ROW_COLUMN: &str = "__quiver_row";

/// Fewer rows than this are scanned by one task: handing them to more costs more than it saves.
pub(crate) const PARALLEL_SCAN_ROWS_MIN: u64 = 32_768;

/// A table provider over a catalog table. Holds no snapshot: a scan finds the statement's through the task context.
#[derive(Debug)]
pub struct CollectionTable {
    /// The catalog's description at planning time.
    pub table: Arc<Table>,
    /// Whether the two hidden columns follow the live ones: for the target of UPDATE and DELETE.
    pub with_row_refs: bool,
    schema: SchemaRef,
    columns: Vec<ScanColumn>,
}

impl CollectionTable {
    /// A provider for `table`.
    pub fn new(table: Arc<Table>, with_row_refs: bool) -> Arc<CollectionTable> {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for column in table.columns.iter().filter(|column| !column.dropped) {
            // NOT NULL is not said here: DataFusion would keep it where an outer join or a scalar subquery without rows
            // makes NULLs of the column.
            fields.push(stored_field(column.ty.field(&column.name, true), column.id));
            columns.push(ScanColumn::Stored(column.id));
        }
        if with_row_refs {
            fields.push(Field::new(SHARD_COLUMN, DataType::Int64, false));
            fields.push(Field::new(ROW_COLUMN, DataType::Int64, false));
            columns.extend([ScanColumn::Shard, ScanColumn::Row]);
        }
        Arc::new(CollectionTable { table, with_row_refs, schema: Arc::new(Schema::new(fields)), columns })
    }

    fn key_lookup(&self, filters: &[Expr], state: &dyn Session) -> Option<KeyLookup> {
        let unique = self.table.indexes.iter().filter(|index| index.unique);
        let field_of = |id: ColumnId| {
            let at = self.columns.iter().position(|column| *column == ScanColumn::Stored(id))?;
            Some(self.schema.field(at))
        };
        unique
            .filter_map(|index| {
                let ids: Vec<ColumnId> = index.columns.iter().map(|column| column.column).collect();
                let fields: Option<Vec<&Field>> = ids.iter().map(|id| field_of(*id)).collect();
                keys::find(index, &fields?, filters, state)
            })
            .min_by_key(KeyLookup::rows)
    }
}

fn stored_field(field: Field, id: ColumnId) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(FIELD_ID_KEY.to_owned(), id.to_string());
    field.with_metadata(metadata)
}

#[async_trait]
impl TableProvider for CollectionTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match can_push(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let lookup = self.key_lookup(filters, state);
        let predicate = match conjunction(filters.iter().cloned()) {
            Some(filter) => {
                let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let statement = statement(state.config());
        let rows_estimate = match &statement {
            Some(statement) => {
                let snapshots = statement.snapshots(&self.table).map_err(to_datafusion)?;
                Some(snapshots.iter().map(|snapshot| snapshot.row_count()).sum())
            }
            None => None,
        };
        let parallel = lookup.is_none() && rows_estimate.is_none_or(|rows| rows >= PARALLEL_SCAN_ROWS_MIN);
        let scan = CollectionScanExec::new(
            self.table.clone(),
            self.schema.clone(),
            self.columns.clone(),
            projection.cloned().unwrap_or_else(|| (0..self.columns.len()).collect()),
            if parallel { state.config().target_partitions() } else { 1 },
        )?;
        Ok(Arc::new(
            scan.with_predicate(predicate)?
                .with_lookup(lookup)
                .with_limit(limit)
                .with_rows_estimate(rows_estimate)
                .with_layout(statement.as_ref().map(|statement| statement.layout(&self.table)))
                .with_settings(statement.map(|statement| statement.search())),
        ))
    }
}

/// Storage can evaluate what depends on one row only and gives one answer for it.
fn can_push(filter: &Expr) -> bool {
    let has_subquery = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
        ))
    });
    let names_row = |name: &str| name == SHARD_COLUMN || name == ROW_COLUMN;
    let has_row_ref = filter.column_refs().iter().any(|column| names_row(&column.name));
    !filter.is_volatile() && !has_subquery.unwrap_or(true) && !has_row_ref
}
