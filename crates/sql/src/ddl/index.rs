//! CREATE INDEX and ALTER INDEX.

use super::constraint::{TableMaker, skipping};
use super::create::put;
use super::done;
use super::names::{choose, index, is_taken, no_relation, split, table};
use crate::bind::folded;
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{
    AlterIndexOperation, BinaryOperator, CreateIndex, Expr, IndexColumn, IndexType, ObjectName,
};
use quiver_base::{Error, IndexId, Result, SqlState, SqlType};
use quiver_cluster::{CatalogEdit, Column, Index, IndexMethod, KeyColumn, Table, TableLock};
use quiver_index::{HnswParams, Metric};
use std::sync::Arc;

/// The most dimensions an hnsw index takes, as in pgvector.
const HNSW_DIM_MAX: u16 = 2000;

/// Whether CREATE INDEX returns only when background work is done.
pub(super) fn needs_wait(index: &Index) -> bool {
    matches!(index.method, IndexMethod::Hnsw { .. })
}

/// CREATE INDEX.
pub(super) async fn create_index(ctx: &mut StatementContext<'_>, create: &CreateIndex) -> Result<Outcome> {
    let table_name = split(ctx, &create.table_name)?;
    let found = table(ctx, &table_name)?;
    if create.predicate.is_some() {
        return Err(Error::unsupported("a partial index"));
    }
    if let Some(name) = &create.name {
        let name = split(ctx, name)?;
        ctx.txn.lock_name(found.schema, &name.name).await?;
        if is_taken(&ctx.txn.database(), found.schema, &name.name) {
            let message = format!("relation \"{}\" already exists", name.name);
            if create.if_not_exists {
                skipping(ctx, SqlState::DUPLICATE_TABLE, format!("{message}, skipping"));
                return done("CREATE INDEX");
            }
            return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
        }
    }
    ctx.txn.lock_table(found.id, TableLock::Exclusive).await?;
    let found = table(ctx, &table_name)?;
    let columns = columns(&found, &create.columns)?;
    let method = method(create.using.as_ref())?;
    let (method, options) = match method.as_str() {
        "btree" => {
            btree(&columns)?;
            reject_options(&create.with, &["fillfactor", "deduplicate_items"])?;
            (IndexMethod::BTree, Vec::new())
        }
        "hnsw" => hnsw(create, &columns)?,
        "hash" | "gin" | "gist" | "spgist" | "brin" | "ivfflat" => {
            return Err(Error::unsupported(format!("access method \"{method}\""))
                .with_hint("Indexes are btree (the default) or hnsw."));
        }
        other => {
            return Err(Error::new(
                SqlState::UNDEFINED_OBJECT,
                format!("access method \"{other}\" does not exist"),
            ));
        }
    };
    let name = match &create.name {
        Some(name) => split(ctx, name)?.name,
        None => {
            let names: Vec<&str> = columns.iter().map(|(column, _)| column.name.as_str()).collect();
            let database = ctx.txn.database();
            let name =
                choose(&found.name, &names.join("_"), "idx", |name| is_taken(&database, found.schema, name));
            ctx.txn.lock_name(found.schema, &name).await?;
            name
        }
    };
    let index = Index {
        id: IndexId(ctx.txn.new_oid()),
        name,
        method,
        columns: columns.iter().map(|(_, key)| key.clone()).collect(),
        unique: create.unique,
        options,
    };
    add(ctx, &found, index).await
}

async fn add(ctx: &mut StatementContext<'_>, found: &Arc<Table>, index: Index) -> Result<Outcome> {
    let (id, wait, unique) = (index.id, needs_wait(&index), index.unique);
    let mut changed = (**found).clone();
    changed.indexes.push(index);
    let edit = put(ctx, changed);
    ctx.txn.edit(vec![edit])?;
    if unique {
        let database = ctx.txn.database();
        let table =
            database.tables.get(&found.id).cloned().ok_or_else(|| Error::internal("a table is gone"))?;
        ctx.txn.check_unique(&table, id).await?;
    }
    if wait {
        return Ok(Outcome::IndexCreated { table: found.id, index: id });
    }
    done("CREATE INDEX")
}

fn columns<'a>(table: &'a Table, list: &[IndexColumn]) -> Result<Vec<(&'a Column, KeyColumn)>> {
    list.iter()
        .map(|item| {
            let Expr::Identifier(ident) = &item.column.expr else {
                return Err(Error::unsupported("an index on an expression"));
            };
            let name = folded(ident);
            let column = table.columns.iter().find(|column| !column.dropped && column.name == name);
            let column = column.ok_or_else(|| {
                Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))
            })?;
            let descending = item.column.options.asc == Some(false);
            let nulls_first = item.column.options.nulls_first.unwrap_or(descending);
            Ok((column, KeyColumn { column: column.id, descending, nulls_first }))
        })
        .collect()
}

fn method(using: Option<&IndexType>) -> Result<String> {
    Ok(match using {
        None => "btree".to_owned(),
        Some(IndexType::Custom(ident)) => folded(ident),
        Some(other) => other.to_string().to_lowercase(),
    })
}

fn no_operator_class(ty: &SqlType, method: &str) -> Error {
    let ty = crate::bind::without_modifier(ty);
    Error::new(
        SqlState::UNDEFINED_OBJECT,
        format!("data type {ty} has no default operator class for access method \"{method}\""),
    )
    .with_hint("You must specify an operator class for the index or define a default operator class for the data type.")
}

fn btree(columns: &[(&Column, KeyColumn)]) -> Result<()> {
    for (column, _) in columns {
        if matches!(column.ty, SqlType::Json) {
            return Err(no_operator_class(&column.ty, "btree"));
        }
    }
    Ok(())
}

fn hnsw(
    create: &CreateIndex,
    columns: &[(&Column, KeyColumn)],
) -> Result<(IndexMethod, Vec<(String, String)>)> {
    if create.unique {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "access method \"hnsw\" does not support unique indexes",
        ));
    }
    let ([(column, _)], [item]) = (columns, create.columns.as_slice()) else {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "access method \"hnsw\" does not support multicolumn indexes",
        ));
    };
    if item.column.options.asc.is_some() {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "access method \"hnsw\" does not support ASC/DESC options",
        ));
    }
    let SqlType::Vector(dim) = &column.ty else { return Err(no_operator_class(&column.ty, "hnsw")) };
    let metric = metric(item.operator_class.as_ref(), &column.ty)?;
    match dim {
        None => {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "column does not have dimensions"));
        }
        Some(dim) if *dim > HNSW_DIM_MAX => {
            return Err(Error::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("column cannot have more than {HNSW_DIM_MAX} dimensions for hnsw index"),
            ));
        }
        Some(_) => {}
    }
    let mut params = HnswParams { m: 16, ef_construction: 64 };
    let mut options = Vec::new();
    for option in &create.with {
        let (name, value) = option_of(option)?;
        match name.as_str() {
            "m" => params.m = bounded(&name, &value, 2, 100)?,
            "ef_construction" => params.ef_construction = bounded(&name, &value, 4, 1000)?,
            _ => return Err(unrecognized(&name)),
        }
        options.push((name, value));
    }
    if params.ef_construction < 2 * params.m {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "ef_construction must be greater than or equal to 2 * m",
        ));
    }
    Ok((IndexMethod::Hnsw { metric, params }, options))
}

fn metric(class: Option<&ObjectName>, ty: &SqlType) -> Result<Metric> {
    let Some(class) = class else { return Err(no_operator_class(ty, "hnsw")) };
    let name = class.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
    Ok(match name.as_str() {
        "vector_l2_ops" => Metric::L2,
        "vector_ip_ops" => Metric::InnerProduct,
        "vector_cosine_ops" => Metric::Cosine,
        "vector_l1_ops" => Metric::L1,
        _ => {
            return Err(Error::new(
                SqlState::UNDEFINED_OBJECT,
                format!("operator class \"{name}\" does not exist for access method \"hnsw\""),
            ));
        }
    })
}

fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\""))
}

fn reject_options(options: &[Expr], known: &[&str]) -> Result<()> {
    for option in options {
        let (name, _) = option_of(option)?;
        if !known.contains(&name.as_str()) {
            return Err(unrecognized(&name));
        }
    }
    Ok(())
}

/// `name = value`.
fn option_of(option: &Expr) -> Result<(String, String)> {
    match option {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let Expr::Identifier(name) = left.as_ref() else { return Err(unrecognized(&left.to_string())) };
            Ok((folded(name), right.to_string().trim_matches('\'').replace(' ', "")))
        }
        Expr::Identifier(name) => Ok((folded(name), "true".to_owned())),
        other => Err(unrecognized(&other.to_string())),
    }
}

fn bounded(name: &str, text: &str, min: i64, max: i64) -> Result<u16> {
    let value: i64 = text.parse().map_err(|_| {
        Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for integer option \"{name}\": {text}"),
        )
    })?;
    match u16::try_from(value) {
        Ok(value) if (min..=max).contains(&i64::from(value)) => Ok(value),
        _ => Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("value {value} out of bounds for option \"{name}\""),
        )
        .with_detail(format!("Valid values are between \"{min}\" and \"{max}\"."))),
    }
}

/// ALTER INDEX … RENAME TO.
pub(super) async fn alter_index(
    ctx: &mut StatementContext<'_>,
    name: &ObjectName,
    operation: &AlterIndexOperation,
) -> Result<Outcome> {
    let AlterIndexOperation::RenameIndex { index_name } = operation;
    let name = split(ctx, name)?;
    let (found, _) = index(ctx, &name).ok_or_else(|| no_relation(&name))?;
    let new = split(ctx, index_name)?.name;
    ctx.txn.lock_table(found.id, TableLock::Exclusive).await?;
    ctx.txn.lock_name(found.schema, &new).await?;
    let (found, position) = index(ctx, &name).ok_or_else(|| no_relation(&name))?;
    if is_taken(&ctx.txn.database(), found.schema, &new) {
        return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{new}\" already exists")));
    }
    let mut maker = TableMaker::new(ctx, (*found).clone());
    let old = maker.table.indexes[position].name.clone();
    maker.table.indexes[position].name.clone_from(&new);
    for constraint in maker.table.constraints.iter_mut().filter(|constraint| constraint.name == old) {
        constraint.name.clone_from(&new);
    }
    let edits: Vec<CatalogEdit> = maker.finish(ctx);
    ctx.txn.edit(edits)?;
    done("ALTER INDEX")
}
