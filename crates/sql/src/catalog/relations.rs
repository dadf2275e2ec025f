//! pg_class and what hangs on it: columns, defaults, indexes, constraints, sequences.

use super::context::CatalogContext;
use super::deparse::{constraint_definition, index_key_text, index_predicate_text};
use super::fixed::fixed;
use super::index_text::default_text;
use super::names::information_schema_oid;
use super::rows::{Cell, Rows};
use crate::bind::column_name_of;
use crate::oids;
use crate::parser::parse_expression;
use quiver_base::{ColumnId, Result, SqlType};
use quiver_cluster::{
    Column, Constraint, ConstraintKind, Index, IndexMethod, KeyColumn, Sequence, Table, View,
};
use quiver_index::VectorIndexKind;

/// pg_class's own oid: what classoid and refclassid say of a relation.
pub(super) const PG_CLASS: u32 = 1259;
/// pg_attrdef's.
pub(super) const PG_ATTRDEF: u32 = 2604;
/// pg_constraint's.
pub(super) const PG_CONSTRAINT: u32 = 2606;
/// Access methods' oids.
const HEAP: u32 = 2;
const BTREE: u32 = 403;
const HASH: u32 = 405;
const GIN: u32 = 2742;
const ANYARRAY: u32 = 2277;
const HNSW: u32 = 15_065;
const IVFFLAT: u32 = 15_063;
/// The default collation's oid.
const DEFAULT_COLLATION: u32 = 100;
/// Rows of a page that does not exist: planners of clients divide by it.
const ROWS_PER_PAGE: u64 = 100;

fn options(list: &[(String, String)]) -> Cell {
    match list.is_empty() {
        true => Cell::Null,
        false => Cell::Texts(list.iter().map(|(name, value)| format!("{name}={value}")).collect()),
    }
}

/// pg_class.
pub(super) fn pg_class(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_class") {
        rows.push_fixed(table)?;
    }
    for table in context.tables() {
        push_table(context, rows, table);
        for index in &table.indexes {
            push_index(rows, table, index);
        }
    }
    for sequence in context.database.sequences.values() {
        push_sequence(rows, sequence);
    }
    for view in context.database.views.values() {
        push_view(rows, view);
    }
    Ok(())
}

fn push_view(rows: &mut Rows<'_>, view: &View) {
    rows.push([
        ("oid", view.id.0.into()),
        ("relname", view.name.as_str().into()),
        ("relnamespace", view.schema.into()),
        ("relowner", view.owner.into()),
        ("reltuples", Cell::Float(-1.0)),
        ("relpersistence", "p".into()),
        ("relkind", "v".into()),
        ("relnatts", view.columns.len().into()),
        ("relhasrules", true.into()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
    ]);
}

fn push_table(context: &CatalogContext, rows: &mut Rows<'_>, table: &Table) {
    let live: u64 = context.cluster.table_stats(table).shards.iter().map(|it| it.live_rows).sum();
    let checks =
        table.constraints.iter().filter(|it| matches!(it.kind, ConstraintKind::Check { .. })).count();
    rows.push([
        ("oid", table.id.0.into()),
        ("relname", table.name.as_str().into()),
        ("relnamespace", table.schema.into()),
        ("relowner", table.owner.into()),
        ("relam", HEAP.into()),
        ("relfilenode", table.id.0.into()),
        ("relpages", i64::try_from(live.div_ceil(ROWS_PER_PAGE)).unwrap_or(i64::MAX).into()),
        ("reltuples", Cell::Float(live as f64)),
        ("relhasindex", (!table.indexes.is_empty()).into()),
        ("relpersistence", "p".into()),
        ("relkind", "r".into()),
        ("relnatts", table.columns.len().into()),
        ("relchecks", checks.into()),
        ("relispopulated", true.into()),
        ("relreplident", "d".into()),
        ("reloptions", options(&table.options)),
    ]);
}

fn push_index(rows: &mut Rows<'_>, table: &Table, index: &Index) {
    rows.push([
        ("oid", index.id.0.into()),
        ("relname", index.name.as_str().into()),
        ("relnamespace", table.schema.into()),
        ("relowner", table.owner.into()),
        ("relam", access_method_oid(index).into()),
        ("relfilenode", index.id.0.into()),
        ("relpersistence", "p".into()),
        ("relkind", "i".into()),
        ("relnatts", index.columns.len().into()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
        ("reloptions", options(&index.options)),
    ]);
}

fn push_sequence(rows: &mut Rows<'_>, sequence: &Sequence) {
    rows.push([
        ("oid", sequence.id.0.into()),
        ("relname", sequence.name.as_str().into()),
        ("relnamespace", sequence.schema.into()),
        ("relowner", sequence.owner.into()),
        ("relfilenode", sequence.id.0.into()),
        ("relpages", 1.into()),
        ("reltuples", Cell::Float(1.0)),
        ("relpersistence", "p".into()),
        ("relkind", "S".into()),
        ("relnatts", 3.into()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
    ]);
}

/// pg_attribute.
pub(super) fn pg_attribute(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_attribute") {
        rows.push_fixed(table)?;
    }
    for table in context.tables() {
        for column in &table.columns {
            push_column(rows, table.id.0, column.id.0.into(), column);
        }
        for index in &table.indexes {
            for (position, key) in index.columns.iter().enumerate() {
                if let Some(column) = index_column(table, key) {
                    push_column(rows, index.id.0, position as i64 + 1, &column);
                }
            }
        }
    }
    for view in context.database.views.values() {
        for (position, (name, ty)) in view.columns.iter().enumerate() {
            let column = Column {
                id: ColumnId(u16::try_from(position + 1).unwrap_or(u16::MAX)),
                name: name.clone(),
                ty: ty.clone(),
                not_null: false,
                default: None,
                identity: None,
                missing: None,
                dropped: false,
            };
            push_column(rows, view.id.0, position as i64 + 1, &column);
        }
    }
    Ok(())
}

/// A key of an index as a column of it.
fn index_column(table: &Table, key: &KeyColumn) -> Option<Column> {
    let Some(expression) = &key.expression else {
        let column = table.columns.iter().find(|it| it.id == key.column)?.clone();
        return Some(Column { not_null: false, default: None, identity: None, missing: None, ..column });
    };
    let named = parse_expression(&expression.sql).map(|expr| column_name_of(&expr)).ok();
    let name = named.filter(|name| name != "?column?").unwrap_or_else(|| "expr".to_owned());
    Some(Column {
        id: key.column,
        name,
        ty: expression.ty.clone(),
        not_null: false,
        default: None,
        identity: None,
        missing: None,
        dropped: false,
    })
}

fn access_method_oid(index: &Index) -> u32 {
    match index.method {
        IndexMethod::BTree => BTREE,
        IndexMethod::Hash => HASH,
        IndexMethod::Gin => GIN,
        IndexMethod::Vector { kind: VectorIndexKind::Hnsw(_), .. } => HNSW,
        IndexMethod::Vector { kind: VectorIndexKind::IvfFlat(_), .. } => IVFFLAT,
    }
}

/// typstorage of a type: how PostgreSQL keeps large values.
fn storage(ty: &SqlType) -> &'static str {
    let oid = oids::type_oid(ty).to_string();
    let table = fixed().tables.get("pg_type");
    let found = table.and_then(|table| {
        let row = table.rows.iter().find(|row| table.value(row, "oid") == Some(&oid))?;
        table.value(row, "typstorage")
    });
    found.unwrap_or("x")
}

fn push_column(rows: &mut Rows<'_>, relation: u32, number: i64, column: &Column) {
    let length = oids::type_len(&column.ty);
    let is_text = matches!(column.ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Bpchar(_));
    let dropped_name = format!("........pg.dropped.{number}........");
    let identity = column.identity.map_or("", |it| if it.always { "a" } else { "d" });
    rows.push([
        ("attrelid", relation.into()),
        ("attname", if column.dropped { dropped_name.as_str() } else { column.name.as_str() }.into()),
        ("atttypid", if column.dropped { 0 } else { oids::type_oid(&column.ty) }.into()),
        ("attlen", i64::from(length).into()),
        ("attnum", number.into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", oids::type_modifier(&column.ty).into()),
        ("attndims", i32::from(matches!(column.ty, SqlType::Array(_))).into()),
        ("attbyval", (length > 0 && length <= 8).into()),
        ("attalign", if length == 8 { "d" } else { "i" }.into()),
        ("attstorage", storage(&column.ty).into()),
        ("attcompression", "".into()),
        ("attnotnull", column.not_null.into()),
        ("atthasdef", column.default.is_some().into()),
        ("atthasmissing", column.missing.is_some().into()),
        ("attidentity", identity.into()),
        ("attgenerated", "".into()),
        ("attisdropped", column.dropped.into()),
        ("attislocal", true.into()),
        ("attstattarget", (-1).into()),
        ("attcollation", if is_text { DEFAULT_COLLATION } else { 0 }.into()),
    ]);
}

/// The oid of a column's row in pg_attrdef: made from the table's and the column's, so that it is stable.
pub(super) fn default_oid(table: u32, column: u16) -> i64 {
    0x4000_0000 + (i64::from(table) << 8 ^ i64::from(column)) % 0x3fff_ffff
}

/// pg_attrdef: adbin holds the expression's text, which pg_get_expr gives back.
pub(super) fn pg_attrdef(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for column in table.columns.iter().filter(|it| !it.dropped) {
            if let Some(default) = &column.default {
                rows.push([
                    ("oid", default_oid(table.id.0, column.id.0).into()),
                    ("adrelid", table.id.0.into()),
                    ("adnum", i64::from(column.id.0).into()),
                    ("adbin", default_text(&default.sql).into()),
                ]);
            }
        }
    }
}

/// The constraint that an index enforces.
fn constraint_of(table: &Table, index: &Index) -> Option<(&'static str, u32)> {
    table.constraints.iter().find_map(|constraint| match constraint.kind {
        ConstraintKind::PrimaryKey { index: own } if own == index.id => Some(("p", constraint.id)),
        ConstraintKind::Unique { index: own } if own == index.id => Some(("u", constraint.id)),
        _ => None,
    })
}

/// The oid of a key's operator class, or of the default one for its type.
fn operator_class_oid(index: &Index, key: &KeyColumn, ty: &SqlType) -> i64 {
    let Some(classes) = fixed().tables.get("pg_opclass") else { return 0 };
    let (method, name) = (access_method_oid(index), key.class.as_deref());
    let ty = match ty {
        // varchar has no class of its own in PostgreSQL: text's is taken.
        SqlType::Varchar(_) => oids::type_oid(&SqlType::Text),
        SqlType::Array(_) => ANYARRAY,
        other => oids::type_oid(other),
    };
    let fits = |row: &&Vec<Option<String>>| {
        let value = |column| classes.value(row, column);
        let same_method = value("opcmethod") == Some(method.to_string().as_str());
        same_method
            && match name {
                Some(name) => value("opcname") == Some(name),
                None => {
                    value("opcdefault") == Some("t") && value("opcintype") == Some(ty.to_string().as_str())
                }
            }
    };
    let found = classes.rows.iter().find(fits).and_then(|row| classes.value(row, "oid")?.parse().ok());
    found.unwrap_or(0)
}

/// pg_index.
pub(super) fn pg_index(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for index in &table.indexes {
            let keys: Vec<i64> = index.columns.iter().map(|key| i64::from(key.column.0)).collect();
            let types = index.columns.iter().map(|key| {
                index_column(table, key).map_or(0, |column| operator_class_oid(index, key, &column.ty))
            });
            let texts: Vec<String> =
                index.columns.iter().filter_map(|key| index_key_text(table, key)).collect();
            let expressions = (!texts.is_empty()).then(|| texts.join(", "));
            let flags =
                index.columns.iter().map(|key| i64::from(key.descending) | i64::from(key.nulls_first) << 1);
            rows.push([
                ("indexrelid", index.id.0.into()),
                ("indrelid", table.id.0.into()),
                ("indnatts", keys.len().into()),
                ("indnkeyatts", keys.len().into()),
                ("indisunique", index.unique.into()),
                ("indisprimary", (constraint_of(table, index).is_some_and(|(kind, _)| kind == "p")).into()),
                ("indimmediate", true.into()),
                ("indisvalid", true.into()),
                ("indisready", true.into()),
                ("indislive", true.into()),
                ("indcollation", vec![0; keys.len()].into()),
                ("indclass", types.collect::<Vec<_>>().into()),
                ("indoption", flags.collect::<Vec<_>>().into()),
                ("indkey", keys.into()),
                ("indexprs", expressions.into()),
                ("indpred", index_predicate_text(table, index).into()),
            ]);
        }
    }
}

/// pg_constraint.
pub(super) fn pg_constraint(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for constraint in &table.constraints {
            push_constraint(rows, table, constraint);
        }
    }
}

fn push_constraint(rows: &mut Rows<'_>, table: &Table, constraint: &Constraint) {
    let (kind, index, keys) = match &constraint.kind {
        ConstraintKind::PrimaryKey { index } => ("p", index.0, index_keys(table, index.0)),
        ConstraintKind::Unique { index } => ("u", index.0, index_keys(table, index.0)),
        ConstraintKind::Check { columns, .. } => ("c", 0, columns.iter().map(|it| i64::from(it.0)).collect()),
    };
    let expression = match &constraint.kind {
        ConstraintKind::Check { .. } => Some(constraint_definition(table, constraint, false)),
        _ => None,
    };
    rows.push([
        ("oid", constraint.id.into()),
        ("conname", constraint.name.as_str().into()),
        ("connamespace", table.schema.into()),
        ("contype", kind.into()),
        ("convalidated", true.into()),
        ("conrelid", table.id.0.into()),
        ("conindid", index.into()),
        ("confupdtype", " ".into()),
        ("confdeltype", " ".into()),
        ("confmatchtype", " ".into()),
        ("conislocal", true.into()),
        ("connoinherit", (kind != "c").into()),
        ("conkey", keys.into()),
        ("conbin", expression.into()),
    ]);
}

fn index_keys(table: &Table, index: u32) -> Vec<i64> {
    let index = table.indexes.iter().find(|it| it.id.0 == index);
    index.map_or_else(Vec::new, |it| it.columns.iter().map(|key| i64::from(key.column.0)).collect())
}

/// pg_sequence.
pub(super) fn pg_sequence(context: &CatalogContext, rows: &mut Rows<'_>) {
    for sequence in context.database.sequences.values() {
        rows.push([
            ("seqrelid", sequence.id.0.into()),
            ("seqtypid", oids::type_oid(&sequence.ty).into()),
            ("seqstart", sequence.start.into()),
            ("seqincrement", sequence.increment.into()),
            ("seqmax", sequence.max.into()),
            ("seqmin", sequence.min.into()),
            ("seqcache", 1.into()),
            ("seqcycle", sequence.cycle.into()),
        ]);
    }
}

/// pg_depend: extension members, sequences owned by columns, defaults that take from sequences.
pub(super) fn pg_depend(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_depend") {
        rows.push_fixed(table)?;
    }
    for sequence in context.database.sequences.values() {
        if let Some((table, column)) = sequence.owned_by {
            let is_identity =
                context.database.tables.get(&table).is_some_and(|table| {
                    table.columns.iter().any(|it| it.id == column && it.identity.is_some())
                });
            rows.push([
                ("classid", PG_CLASS.into()),
                ("objid", sequence.id.0.into()),
                ("refclassid", PG_CLASS.into()),
                ("refobjid", table.0.into()),
                ("refobjsubid", i64::from(column.0).into()),
                ("deptype", if is_identity { "i" } else { "a" }.into()),
            ]);
        }
    }
    for table in context.tables() {
        for column in table.columns.iter().filter(|it| !it.dropped) {
            if let Some(sequence) = column.default.as_ref().and_then(|it| it.sequence) {
                rows.push([
                    ("classid", PG_ATTRDEF.into()),
                    ("objid", default_oid(table.id.0, column.id.0).into()),
                    ("refclassid", PG_CLASS.into()),
                    ("refobjid", sequence.0.into()),
                    ("deptype", "n".into()),
                ]);
            }
        }
    }
    Ok(())
}

/// pg_indexes.
pub(super) fn pg_indexes(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for index in &table.indexes {
            rows.push([
                ("schemaname", context.schema_name(table.schema).into()),
                ("tablename", table.name.as_str().into()),
                ("indexname", index.name.as_str().into()),
                ("indexdef", super::deparse::index_definition(context, table, index, false).into()),
            ]);
        }
    }
}

/// pg_tables.
pub(super) fn pg_tables(context: &CatalogContext, rows: &mut Rows<'_>) {
    let owner = context.role_name(10);
    for (schema, name) in fixed().relations.keys() {
        let is_table = name.starts_with("pg_") && is_fixed_table(*schema, name);
        if is_table {
            rows.push([
                ("schemaname", "pg_catalog".into()),
                ("tablename", name.as_str().into()),
                ("tableowner", owner.as_str().into()),
                ("hasindexes", true.into()),
            ]);
        }
    }
    for table in context.tables() {
        rows.push([
            ("schemaname", context.schema_name(table.schema).into()),
            ("tablename", table.name.as_str().into()),
            ("tableowner", context.role_name(table.owner).into()),
            ("hasindexes", (!table.indexes.is_empty()).into()),
        ]);
    }
}

fn is_fixed_table(schema: u32, name: &str) -> bool {
    let Some(classes) = fixed().tables.get("pg_class") else { return false };
    schema != information_schema_oid()
        && classes.rows.iter().any(|row| {
            classes.value(row, "relname") == Some(name) && classes.value(row, "relkind") == Some("r")
        })
}
