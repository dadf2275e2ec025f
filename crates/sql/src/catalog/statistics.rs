//! pg_stat_* views: what the server counts.

use super::context::CatalogContext;
use super::rows::Rows;

/// pg_stat_user_tables and pg_stat_all_tables, of user tables.
pub(super) fn tables(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        let stats = context.cluster.table_stats(table);
        let live: u64 = stats.shards.iter().map(|it| it.live_rows).sum();
        let dead: u64 = stats.shards.iter().map(|it| it.tombstones).sum();
        rows.push([
            ("relid", table.id.0.into()),
            ("schemaname", context.schema_name(table.schema).into()),
            ("relname", table.name.as_str().into()),
            ("n_live_tup", i64::try_from(live).unwrap_or(i64::MAX).into()),
            ("n_dead_tup", i64::try_from(dead).unwrap_or(i64::MAX).into()),
        ]);
    }
}

/// pg_stat_user_indexes and pg_stat_all_indexes, of user tables.
pub(super) fn indexes(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for index in &table.indexes {
            rows.push([
                ("relid", table.id.0.into()),
                ("indexrelid", index.id.0.into()),
                ("schemaname", context.schema_name(table.schema).into()),
                ("relname", table.name.as_str().into()),
                ("indexrelname", index.name.as_str().into()),
            ]);
        }
    }
}
