//! What sessions hold: locks of all of them; prepared statements and cursors of the one that asks.

use super::context::CatalogContext;
use super::rows::{Cell, Rows};
use quiver_base::SqlType;
use quiver_cluster::LockTarget;

/// pg_locks: tables, advisory locks, and rows that somebody waits for.
pub(super) fn pg_locks(context: &CatalogContext, rows: &mut Rows<'_>) {
    for lock in context.cluster.list_locks() {
        let (kind, database, relation, [class, object, kind_number]) = match lock.target {
            LockTarget::Table(database, table) => ("relation", Some(database.0), Some(table.0), [None; 3]),
            LockTarget::Advisory(key) => {
                let kind = if key.is_pair { 2 } else { 1 };
                ("advisory", Some(key.database.0), None, [Some(key.high), Some(key.low), Some(kind)])
            }
            LockTarget::Row => ("tuple", None, None, [None; 3]),
            LockTarget::Name => ("object", None, None, [None; 3]),
        };
        let mode = match (lock.target, lock.exclusive) {
            (LockTarget::Table(..), false) => "RowExclusiveLock",
            (LockTarget::Table(..), true) => "AccessExclusiveLock",
            (_, false) => "ShareLock",
            (_, true) => "ExclusiveLock",
        };
        let session = i64::try_from(lock.session).unwrap_or(0);
        rows.push([
            ("locktype", kind.into()),
            ("database", database.into()),
            ("relation", relation.into()),
            ("page", Cell::Null),
            ("tuple", Cell::Null),
            ("classid", class.into()),
            ("objid", object.into()),
            ("objsubid", kind_number.into()),
            ("virtualtransaction", format!("{session}/1").into()),
            ("pid", session.into()),
            ("mode", mode.into()),
            ("granted", lock.granted.into()),
        ]);
    }
}

/// pg_prepared_statements.
pub(super) fn pg_prepared_statements(context: &CatalogContext, rows: &mut Rows<'_>) {
    let types =
        |list: &[SqlType]| Cell::Ints(list.iter().map(|ty| crate::oids::type_oid(ty).into()).collect());
    let count = |plans: u64| Cell::from(i64::try_from(plans).unwrap_or(i64::MAX));
    for listed in context.session.listed_statements() {
        rows.push([
            ("name", listed.name.into()),
            ("statement", listed.statement.into()),
            ("prepare_time", listed.prepared_us.into()),
            ("parameter_types", types(&listed.params)),
            ("result_types", listed.columns.map_or(Cell::Null, |columns| types(&columns))),
            ("from_sql", listed.from_sql.into()),
            ("generic_plans", count(listed.plans.kept)),
            ("custom_plans", count(listed.plans.made)),
        ]);
    }
}

/// pg_cursors.
pub(super) fn pg_cursors(context: &CatalogContext, rows: &mut Rows<'_>) {
    for cursor in context.session.listed_cursors() {
        rows.push([
            ("name", cursor.name.into()),
            ("statement", cursor.statement.into()),
            ("is_holdable", cursor.is_holdable.into()),
            ("is_binary", cursor.is_binary.into()),
            ("is_scrollable", cursor.is_scrollable.into()),
            ("creation_time", cursor.created_us.into()),
        ]);
    }
}
