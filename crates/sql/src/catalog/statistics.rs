//! pg_stat_* views: what the server counts.

use super::context::CatalogContext;
use super::rows::Rows;
use quiver_index::VectorIndexKind;
use std::sync::atomic::Ordering;

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

/// pg_stat_progress_create_index: vector indexes that are built now, a row for each segment whose rows get one. Background work has no
/// session, so pid is 0.
pub(super) fn progress_create_index(context: &CatalogContext, rows: &mut Rows<'_>) {
    let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    for job in context.cluster.running_jobs() {
        let Some(building) = job.control.building.lock().clone() else { continue };
        let done = building.done_rows.load(Ordering::Relaxed);
        let phase = match building.kind {
            VectorIndexKind::IvfFlat(_) if done == 0 => "building index: performing k-means",
            VectorIndexKind::IvfFlat(_) if done < building.total_rows => "building index: assigning tuples",
            VectorIndexKind::IvfFlat(_) | VectorIndexKind::Hnsw(_) => "building index: loading tuples",
        };
        let database = context.catalog.databases.get(&job.database);
        rows.push([
            ("pid", 0_i32.into()),
            ("datid", job.database.0.into()),
            ("datname", database.map(|database| database.name.clone()).into()),
            ("relid", job.table.0.into()),
            ("index_relid", building.index.0.into()),
            ("command", "CREATE INDEX CONCURRENTLY".into()),
            ("phase", phase.into()),
            ("lockers_total", 0_i64.into()),
            ("lockers_done", 0_i64.into()),
            ("current_locker_pid", 0_i64.into()),
            ("blocks_total", 0_i64.into()),
            ("blocks_done", 0_i64.into()),
            ("tuples_total", count(building.total_rows).into()),
            ("tuples_done", count(done).into()),
            ("partitions_total", 0_i64.into()),
            ("partitions_done", 0_i64.into()),
        ]);
    }
}
