//! information_schema: the standard's view of tables, columns, constraints and sequences.

use super::context::CatalogContext;
use super::deparse::column_name;
use super::index_text::default_text;
use super::rows::{Cell, Rows};
use crate::oids;
use quiver_base::{ColumnId, IndexId, SqlType};
use quiver_cluster::{Column, ConstraintKind, Table};

/// information_schema.schemata.
pub(super) fn schemata(context: &CatalogContext, rows: &mut Rows<'_>) {
    for schema in context.database.schemas.values() {
        rows.push([
            ("catalog_name", context.database.name.as_str().into()),
            ("schema_name", schema.name.as_str().into()),
            ("schema_owner", context.role_name(schema.owner).into()),
        ]);
    }
}

/// information_schema.tables: user tables, and the system's as PostgreSQL lists them.
pub(super) fn tables(context: &CatalogContext, rows: &mut Rows<'_>) {
    let mut push = |schema: String, name: &str, kind: &str, insertable: bool| {
        rows.push([
            ("table_catalog", context.database.name.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", name.into()),
            ("table_type", kind.into()),
            ("is_insertable_into", if insertable { "YES" } else { "NO" }.into()),
            ("is_typed", "NO".into()),
        ]);
    };
    for (schema, name) in super::fixed::fixed().relations.keys() {
        let schema = if *schema == super::fixed::PG_CATALOG { "pg_catalog" } else { "information_schema" };
        push(schema.to_owned(), name, "VIEW", false);
    }
    for table in context.tables() {
        push(context.schema_name(table.schema), &table.name, "BASE TABLE", true);
    }
    for view in context.database.views.values() {
        push(context.schema_name(view.schema), &view.name, "VIEW", false);
    }
}

/// information_schema.columns, of user tables and views.
pub(super) fn columns(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for column in table.columns.iter().filter(|it| !it.dropped) {
            push_column(context, rows, (table.schema, &table.name, true), column);
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
            push_column(context, rows, (view.schema, &view.name, false), &column);
        }
    }
}

fn push_column(
    context: &CatalogContext,
    rows: &mut Rows<'_>,
    (schema, relation, updatable): (u32, &str, bool),
    column: &Column,
) {
    let (data_type, udt_schema, udt_name) = type_names(&column.ty);
    let (precision, radix, scale) = numeric_limits(&column.ty);
    let length = match &column.ty {
        SqlType::Varchar(Some(n))
        | SqlType::Bpchar(Some(n))
        | SqlType::Bit(Some(n))
        | SqlType::Varbit(Some(n)) => Cell::from(*n),
        _ => Cell::Null,
    };
    let is_time = matches!(
        column.ty,
        SqlType::Time(_) | SqlType::Timestamp(_) | SqlType::Timestamptz(_) | SqlType::Interval(_)
    );
    let datetime = match column.ty {
        SqlType::Date => Cell::Int(0),
        _ if is_time => Cell::Int(column.ty.precision().map_or(6, i64::from)),
        _ => Cell::Null,
    };
    let yes_no = |it: bool| if it { "YES" } else { "NO" };
    rows.push([
        ("table_catalog", context.database.name.as_str().into()),
        ("table_schema", context.schema_name(schema).into()),
        ("table_name", relation.into()),
        ("column_name", column.name.as_str().into()),
        ("ordinal_position", i64::from(column.id.0).into()),
        ("column_default", column.default.as_ref().map(|it| default_text(&it.sql)).into()),
        ("is_nullable", yes_no(!column.not_null).into()),
        ("data_type", data_type.into()),
        ("character_maximum_length", length),
        ("character_octet_length", octet_length(&column.ty)),
        ("numeric_precision", precision),
        ("numeric_precision_radix", radix),
        ("numeric_scale", scale),
        ("datetime_precision", datetime),
        ("udt_catalog", context.database.name.as_str().into()),
        ("udt_schema", udt_schema.into()),
        ("udt_name", udt_name.into()),
        ("dtd_identifier", column.id.0.to_string().into()),
        ("is_self_referencing", "NO".into()),
        ("is_identity", yes_no(column.identity.is_some()).into()),
        (
            "identity_generation",
            column.identity.map(|it| if it.always { "ALWAYS" } else { "BY DEFAULT" }).into(),
        ),
        ("identity_cycle", "NO".into()),
        ("is_generated", "NEVER".into()),
        ("is_updatable", yes_no(updatable).into()),
    ]);
}

/// The most bytes of a string in UTF-8.
fn octet_length(ty: &SqlType) -> Cell {
    match ty {
        SqlType::Varchar(Some(n)) | SqlType::Bpchar(Some(n)) => Cell::Int(i64::from(*n) * 4),
        SqlType::Text | SqlType::Varchar(None) | SqlType::Bpchar(None) => Cell::Int(1 << 30),
        _ => Cell::Null,
    }
}

/// data_type, udt_schema and udt_name.
fn type_names(ty: &SqlType) -> (String, &'static str, String) {
    let udt = super::names::types().get(&oids::type_oid(ty)).map_or_else(String::new, |it| it.name.clone());
    match ty {
        SqlType::Array(item) => {
            let (_, schema, _) = type_names(item);
            ("ARRAY".to_owned(), schema, udt)
        }
        SqlType::Vector(_) | SqlType::Halfvec(_) | SqlType::Sparsevec(_) => {
            ("USER-DEFINED".to_owned(), "public", udt)
        }
        other => (super::names::format_type(oids::type_oid(other), None), "pg_catalog", udt),
    }
}

fn numeric_limits(ty: &SqlType) -> (Cell, Cell, Cell) {
    let binary = |bits: i64, scale: Cell| (Cell::Int(bits), Cell::Int(2), scale);
    match ty {
        SqlType::Int2 => binary(16, Cell::Int(0)),
        SqlType::Int4 => binary(32, Cell::Int(0)),
        SqlType::Int8 => binary(64, Cell::Int(0)),
        SqlType::Float4 => binary(24, Cell::Null),
        SqlType::Float8 => binary(53, Cell::Null),
        SqlType::Numeric(Some((precision, scale))) => {
            (Cell::Int(i64::from(*precision)), Cell::Int(10), Cell::Int(i64::from(*scale)))
        }
        SqlType::Numeric(None) => (Cell::Null, Cell::Int(10), Cell::Null),
        _ => (Cell::Null, Cell::Null, Cell::Null),
    }
}

/// information_schema.table_constraints.
pub(super) fn table_constraints(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        for constraint in &table.constraints {
            let kind = match constraint.kind {
                ConstraintKind::PrimaryKey { .. } => "PRIMARY KEY",
                ConstraintKind::Unique { .. } => "UNIQUE",
                ConstraintKind::Check { .. } => "CHECK",
            };
            rows.push([
                ("constraint_catalog", context.database.name.as_str().into()),
                ("constraint_schema", context.schema_name(table.schema).into()),
                ("constraint_name", constraint.name.as_str().into()),
                ("table_catalog", context.database.name.as_str().into()),
                ("table_schema", context.schema_name(table.schema).into()),
                ("table_name", table.name.as_str().into()),
                ("constraint_type", kind.into()),
                ("is_deferrable", "NO".into()),
                ("initially_deferred", "NO".into()),
                ("enforced", "YES".into()),
            ]);
        }
        // The standard takes NOT NULL for a check.
        for column in table.columns.iter().filter(|column| column.not_null && !column.dropped) {
            let name = format!("{}_{}_{}_not_null", table.schema, table.id.0, column.id.0);
            rows.push([
                ("constraint_catalog", context.database.name.as_str().into()),
                ("constraint_schema", context.schema_name(table.schema).into()),
                ("constraint_name", name.into()),
                ("table_catalog", context.database.name.as_str().into()),
                ("table_schema", context.schema_name(table.schema).into()),
                ("table_name", table.name.as_str().into()),
                ("constraint_type", "CHECK".into()),
                ("is_deferrable", "NO".into()),
                ("initially_deferred", "NO".into()),
                ("enforced", "YES".into()),
            ]);
        }
    }
}

/// information_schema.key_column_usage.
pub(super) fn key_column_usage(context: &CatalogContext, rows: &mut Rows<'_>) {
    for_each_key_column(context, |table, name, position, column| {
        rows.push([
            ("constraint_catalog", context.database.name.as_str().into()),
            ("constraint_schema", context.schema_name(table.schema).into()),
            ("constraint_name", name.into()),
            ("table_catalog", context.database.name.as_str().into()),
            ("table_schema", context.schema_name(table.schema).into()),
            ("table_name", table.name.as_str().into()),
            ("column_name", column.into()),
            ("ordinal_position", position.into()),
        ]);
    });
}

/// information_schema.constraint_column_usage: columns of keys and of checks.
pub(super) fn constraint_column_usage(context: &CatalogContext, rows: &mut Rows<'_>) {
    let mut push = |table: &Table, name: &str, column: &str| {
        rows.push([
            ("table_catalog", context.database.name.as_str().into()),
            ("table_schema", context.schema_name(table.schema).into()),
            ("table_name", table.name.as_str().into()),
            ("column_name", column.into()),
            ("constraint_catalog", context.database.name.as_str().into()),
            ("constraint_schema", context.schema_name(table.schema).into()),
            ("constraint_name", name.into()),
        ]);
    };
    for_each_key_column(context, |table, name, _, column| push(table, name, column));
    for table in context.tables() {
        for constraint in &table.constraints {
            if let ConstraintKind::Check { columns, .. } = &constraint.kind {
                columns.iter().for_each(|column| push(table, &constraint.name, column_name(table, *column)));
            }
        }
    }
}

fn for_each_key_column(context: &CatalogContext, mut visit: impl FnMut(&Table, &str, usize, &str)) {
    for table in context.tables() {
        for constraint in &table.constraints {
            if let ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } = constraint.kind {
                for (position, column) in key_columns(table, index).enumerate() {
                    visit(table, &constraint.name, position + 1, column);
                }
            }
        }
    }
}

fn key_columns(table: &Table, index: IndexId) -> impl Iterator<Item = &str> {
    let index = table.indexes.iter().find(move |it| it.id == index);
    index.into_iter().flat_map(|it| &it.columns).map(|key| column_name(table, key.column))
}

/// information_schema.sequences: those that belong to no identity column, as in PostgreSQL.
pub(super) fn sequences(context: &CatalogContext, rows: &mut Rows<'_>) {
    for sequence in context.database.sequences.values() {
        let bits = match sequence.ty {
            SqlType::Int2 => 16,
            SqlType::Int4 => 32,
            _ => 64,
        };
        rows.push([
            ("sequence_catalog", context.database.name.as_str().into()),
            ("sequence_schema", context.schema_name(sequence.schema).into()),
            ("sequence_name", sequence.name.as_str().into()),
            ("data_type", sequence.ty.to_string().into()),
            ("numeric_precision", bits.into()),
            ("numeric_precision_radix", 2.into()),
            ("numeric_scale", 0.into()),
            ("start_value", sequence.start.to_string().into()),
            ("minimum_value", sequence.min.to_string().into()),
            ("maximum_value", sequence.max.to_string().into()),
            ("increment", sequence.increment.to_string().into()),
            ("cycle_option", if sequence.cycle { "YES" } else { "NO" }.into()),
        ]);
    }
}
