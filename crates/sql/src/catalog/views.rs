//! System views over what other system relations hold: views, sequences, databases, time zones.

use super::context::CatalogContext;
use super::fixed::fixed;
use super::rows::{Cell, Rows};
use crate::oids;
use datafusion::sql::sqlparser::ast::{GroupByExpr, SelectItem, SetExpr};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use quiver_base::SqlType;
use quiver_cluster::View;

/// A view's query as pg_get_viewdef lays it out: a line for each column and clause.
pub(super) fn definition(view: &View) -> String {
    let parsed =
        Parser::new(&PostgreSqlDialect {}).try_with_sql(&view.sql).and_then(|mut it| it.parse_query());
    let Ok(query) = parsed else { return format!("{};", view.sql) };
    let SetExpr::Select(select) = query.body.as_ref() else { return format!(" {query};") };
    let simple = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.named_window.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(_, modifiers) if modifiers.is_empty());
    if !simple {
        return format!(" {query};");
    }
    let list = |items: Vec<String>, separator: &str| items.join(separator);
    let distinct = select.distinct.as_ref().map_or_else(String::new, |distinct| format!("{distinct} "));
    let column = |(item, (name, _)): (&SelectItem, &(String, SqlType))| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            match crate::bind::column_name_of(expr) == *name {
                true => expr.to_string(),
                false => format!("{expr} AS {}", super::names::quote_ident(name)),
            }
        }
        other => other.to_string(),
    };
    let columns = list(select.projection.iter().zip(&view.columns).map(column).collect(), ",\n    ");
    let mut out = format!(" SELECT {distinct}{columns}");
    if !select.from.is_empty() {
        let from = list(select.from.iter().map(ToString::to_string).collect(), ",\n    ");
        out.push_str(&format!("\n   FROM {from}"));
    }
    if let Some(condition) = &select.selection {
        out.push_str(&format!("\n  WHERE ({condition})"));
    }
    if let GroupByExpr::Expressions(keys, _) = &select.group_by
        && !keys.is_empty()
    {
        let keys = list(keys.iter().map(ToString::to_string).collect(), ", ");
        out.push_str(&format!("\n  GROUP BY {keys}"));
    }
    if let Some(condition) = &select.having {
        out.push_str(&format!("\n HAVING ({condition})"));
    }
    if let Some(order) = &query.order_by {
        out.push_str(&format!("\n  {order}"));
    }
    out.push(';');
    out
}

/// pg_views.
pub(super) fn views(context: &CatalogContext, rows: &mut Rows<'_>) {
    for view in context.database.views.values() {
        rows.push([
            ("schemaname", context.schema_name(view.schema).into()),
            ("viewname", view.name.as_str().into()),
            ("viewowner", context.role_name(view.owner).into()),
            ("definition", definition(view).into()),
        ]);
    }
}

/// information_schema.views.
pub(super) fn standard_views(context: &CatalogContext, rows: &mut Rows<'_>) {
    for view in context.database.views.values() {
        rows.push([
            ("table_catalog", context.database.name.as_str().into()),
            ("table_schema", context.schema_name(view.schema).into()),
            ("table_name", view.name.as_str().into()),
            ("view_definition", definition(view).into()),
            ("check_option", "NONE".into()),
            ("is_updatable", "NO".into()),
            ("is_insertable_into", "NO".into()),
            ("is_trigger_updatable", "NO".into()),
            ("is_trigger_deletable", "NO".into()),
            ("is_trigger_insertable_into", "NO".into()),
        ]);
    }
}

/// pg_rewrite: the rule that each view is.
pub(super) fn rules(context: &CatalogContext, rows: &mut Rows<'_>) {
    for view in context.database.views.values() {
        rows.push([
            // A rule is nobody's to name: it shares the number of its view.
            ("oid", view.id.0.into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", view.id.0.into()),
            ("ev_type", "1".into()),
            ("ev_enabled", "O".into()),
            ("is_instead", true.into()),
        ]);
    }
}

/// pg_sequences.
pub(super) fn sequences(context: &CatalogContext, rows: &mut Rows<'_>) {
    for sequence in context.database.sequences.values() {
        rows.push([
            ("schemaname", context.schema_name(sequence.schema).into()),
            ("sequencename", sequence.name.as_str().into()),
            ("sequenceowner", context.role_name(sequence.owner).into()),
            ("data_type", oids::type_oid(&sequence.ty).into()),
            ("start_value", sequence.start.into()),
            ("min_value", sequence.min.into()),
            ("max_value", sequence.max.into()),
            ("increment_by", sequence.increment.into()),
            ("cycle", sequence.cycle.into()),
            ("cache_size", 1.into()),
            ("last_value", Cell::Null),
        ]);
    }
}

/// pg_stat_database: no counters are kept.
pub(super) fn databases(context: &CatalogContext, rows: &mut Rows<'_>) {
    for database in context.catalog.databases.values() {
        rows.push([("datid", database.id.0.into()), ("datname", database.name.as_str().into())]);
    }
}

/// pg_statio_user_tables and pg_statio_all_tables: no counters are kept.
pub(super) fn table_io(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        rows.push([
            ("relid", table.id.0.into()),
            ("schemaname", context.schema_name(table.schema).into()),
            ("relname", table.name.as_str().into()),
        ]);
    }
}

/// pg_statio_user_indexes and pg_statio_all_indexes: no counters are kept.
pub(super) fn index_io(context: &CatalogContext, rows: &mut Rows<'_>) {
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

/// pg_available_extension_versions: the one version of each.
pub(super) fn extension_versions(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(known) = fixed().tables.get("pg_available_extensions") else { return };
    for row in &known.rows {
        let name = known.value(row, "name").unwrap_or_default();
        rows.push([
            ("name", name.into()),
            ("version", known.value(row, "default_version").into()),
            ("installed", context.database.extensions.contains_key(name).into()),
            ("superuser", false.into()),
            ("trusted", true.into()),
            ("relocatable", true.into()),
            ("comment", known.value(row, "comment").into()),
        ]);
    }
}

/// A view with one row of counters that are not kept.
pub(super) fn one_row(_: &CatalogContext, rows: &mut Rows<'_>) {
    rows.push([]);
}

/// pg_timezone_names, with what holds now.
pub(super) fn time_zones(context: &CatalogContext, rows: &mut Rows<'_>) {
    use chrono_tz::OffsetComponents;
    use chrono_tz::OffsetName;
    let now = context.session.statement_start_us();
    for zone in chrono_tz::TZ_VARIANTS {
        let offset = crate::calendar::offset_at_s(zone, now);
        let Some(local) = chrono::DateTime::from_timestamp_micros(now) else { continue };
        let zoned = local.with_timezone(&zone);
        let summer = zoned.offset().dst_offset().num_seconds() != 0;
        rows.push([
            ("name", zone.name().into()),
            ("abbrev", zoned.offset().abbreviation().unwrap_or_default().into()),
            ("utc_offset", Cell::Interval(i64::from(offset) * 1_000_000)),
            ("is_dst", summer.into()),
        ]);
    }
}
