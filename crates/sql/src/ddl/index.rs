//! CREATE INDEX and ALTER INDEX.

use super::constraint::{TableMaker, skipping};
use super::create::put;
use super::done;
use super::index_class::{Method, check_params, key_class, key_options, vector_class, vector_options};
use super::index_key::{Key, key, predicate};
use super::names::{choose, index, is_taken, no_relation, split, table};
use crate::bind::{Binder, folded, without_modifier};
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{AlterIndexOperation, CreateIndex, IndexType, ObjectName};
use futures::StreamExt;
use quiver_base::{Error, IndexId, Result, SqlState, SqlType};
use quiver_cluster::{CatalogEdit, Index, IndexMethod, Table, TableLock};
use quiver_exec::{IndexChecks, from_datafusion};
use std::sync::Arc;

/// CREATE INDEX.
pub(super) async fn create_index(ctx: &mut StatementContext<'_>, create: &CreateIndex) -> Result<Outcome> {
    if create.concurrently && ctx.in_block {
        return Err(Error::new(
            SqlState::ACTIVE_SQL_TRANSACTION,
            "CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
        ));
    }
    let table_name = split(ctx, &create.table_name)?;
    let found = table(ctx, &table_name)?;
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
    let (mut index, names) = declared(ctx, &found, create)?;
    if index.name.is_empty() {
        let database = ctx.txn.database();
        index.name =
            choose(&found.name, &names.join("_"), "idx", |name| is_taken(&database, found.schema, name));
        ctx.txn.lock_name(found.schema, &index.name).await?;
    }
    add(ctx, &found, index).await
}

/// The index that a statement declares, and the names of its keys. It has no name of its own yet if the statement gives none.
fn declared(
    ctx: &mut StatementContext<'_>,
    found: &Table,
    create: &CreateIndex,
) -> Result<(Index, Vec<String>)> {
    let keys = create.columns.iter().map(|item| key(ctx, found, item)).collect::<Result<Vec<_>>>()?;
    let predicate = create.predicate.as_ref().map(|expr| predicate(ctx, found, expr)).transpose()?;
    let method = Method::named(&method_name(create.using.as_ref()))?;
    let (method, options, keys) = if method.is_vector() {
        vector_index(create, method, keys)?
    } else {
        key_index(create, method, keys, predicate.is_some())?
    };
    let name = match &create.name {
        Some(name) => split(ctx, name)?.name,
        None => String::new(),
    };
    let (columns, names) = keys.into_iter().map(|key| (key.column, key.name)).unzip();
    let id = IndexId(ctx.txn.new_oid());
    Ok((Index { id, name, method, columns, unique: create.unique, options, predicate }, names))
}

type Declared = (IndexMethod, Vec<(String, String)>, Vec<Key>);

fn vector_index(create: &CreateIndex, method: Method, mut keys: Vec<Key>) -> Result<Declared> {
    if create.unique {
        return Err(method.refuses("unique indexes"));
    }
    if !create.include.is_empty() {
        return Err(method.refuses("included columns"));
    }
    let ([key], [item]) = (keys.as_mut_slice(), create.columns.as_slice()) else {
        return Err(method.refuses("multicolumn indexes"));
    };
    let (kind, options) = vector_options(method, &create.with)?;
    let (class, kept) = vector_class(method, item.operator_class.as_ref(), &key.ty)?;
    if item.column.options.asc.is_some() {
        return Err(method.refuses("ASC/DESC options"));
    }
    if item.column.options.nulls_first.is_some() {
        return Err(method.refuses("NULLS FIRST/LAST options"));
    }
    key.column.class = kept;
    check_dimensions(method, &key.ty)?;
    check_params(kind, class.metric, &key.ty)?;
    Ok((IndexMethod::Vector { metric: class.metric, kind }, options, keys))
}

/// The most bits that are indexed, as in pgvector.
const BITS_MAX: u32 = 64_000;

pub(super) fn check_dimensions(method: Method, ty: &SqlType) -> Result<()> {
    match ty {
        SqlType::Vector(None) | SqlType::Halfvec(None) | SqlType::Sparsevec(None) | SqlType::Bit(None) => {
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "column does not have dimensions"))
        }
        SqlType::Bit(Some(length)) if *length > BITS_MAX => Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("column cannot have more than {BITS_MAX} dimensions for {} index", method.name()),
        )),
        _ => Ok(()),
    }
}

fn key_index(create: &CreateIndex, method: Method, mut keys: Vec<Key>, is_partial: bool) -> Result<Declared> {
    match method {
        Method::Hash => check_hash(create)?,
        Method::Gin => check_gin(create)?,
        _ => {}
    }
    if is_partial {
        return Err(Error::unsupported(format!("a partial {} index", method.name())));
    }
    if keys.iter().any(|key| key.column.expression.is_some()) {
        return Err(Error::unsupported(format!("a {} index on an expression", method.name())));
    }
    if !create.include.is_empty() {
        return Err(Error::unsupported("an index with included columns"));
    }
    for (key, item) in keys.iter_mut().zip(&create.columns) {
        key.column.class = key_class(method, item.operator_class.as_ref(), &key.ty)?;
    }
    if let Some(first) = keys.first().filter(|_| !create.unique) {
        check_used(method, &first.ty)?;
    }
    let kept = match method {
        Method::Hash => IndexMethod::Hash,
        Method::Gin => IndexMethod::Gin,
        _ => IndexMethod::BTree,
    };
    Ok((kept, key_options(method, &create.with)?, keys))
}

/// 0A000 for an index whose first key has a type that no search finds rows by.
pub(super) fn check_used(method: Method, ty: &SqlType) -> Result<()> {
    let is_used = match ty {
        SqlType::Jsonb if method == Method::Gin => true,
        ty => finds_rows(ty),
    };
    if is_used {
        return Ok(());
    }
    let message = format!("a {} index on type {}", method.name(), without_modifier(ty));
    Err(Error::unsupported(message).with_hint("No search would use it."))
}

/// Whether rows are found by values of the type.
fn finds_rows(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(item) => {
            !matches!(**item, SqlType::Interval(_) | SqlType::Bpchar(_)) && finds_rows(item)
        }
        SqlType::Json | SqlType::Jsonb | SqlType::Bit(_) | SqlType::Varbit(_) => false,
        SqlType::Vector(_) | SqlType::Halfvec(_) | SqlType::Sparsevec(_) => false,
        _ => true,
    }
}

fn check_hash(create: &CreateIndex) -> Result<()> {
    let options = create.columns.first().map(|item| item.column.options);
    let refused = match options {
        _ if create.unique => "unique indexes",
        _ if create.columns.len() > 1 => "multicolumn indexes",
        Some(options) if options.asc.is_some() => "ASC/DESC options",
        Some(options) if options.nulls_first.is_some() => "NULLS FIRST/LAST options",
        _ => return Ok(()),
    };
    Err(Method::Hash.refuses(refused))
}

fn check_gin(create: &CreateIndex) -> Result<()> {
    let options = create.columns.first().map(|item| item.column.options);
    let refused = match options {
        _ if create.unique => "unique indexes",
        _ if !create.include.is_empty() => "included columns",
        Some(options) if options.asc.is_some() => "ASC/DESC options",
        Some(options) if options.nulls_first.is_some() => "NULLS FIRST/LAST options",
        _ if create.columns.len() > 1 => return Err(Error::unsupported("a gin index on several columns")),
        _ => return Ok(()),
    };
    Err(Method::Gin.refuses(refused))
}

async fn add(ctx: &mut StatementContext<'_>, found: &Arc<Table>, index: Index) -> Result<Outcome> {
    let (id, wait, unique) = (index.id, index.is_vector(), index.unique);
    let mut changed = (**found).clone();
    changed.indexes.push(index);
    let edit = put(ctx, changed);
    ctx.txn.edit(vec![edit])?;
    let database = ctx.txn.database();
    let table = database.tables.get(&found.id).cloned().ok_or_else(|| Error::internal("a table is gone"))?;
    if unique {
        ctx.txn.check_unique(&table, id).await?;
    }
    if !wait {
        return done("CREATE INDEX");
    }
    check_rows(ctx, &table).await?;
    Ok(Outcome::IndexCreated { table: found.id, index: id })
}

/// Rows that are there must fit an expression as new ones must.
async fn check_rows(ctx: &StatementContext<'_>, table: &Arc<Table>) -> Result<()> {
    let binder = Binder::new(ctx, &[]);
    let Some(checks) = IndexChecks::of(&binder.state, table) else { return Ok(()) };
    let plan = binder.scan(table)?;
    let mut stream = binder.start(&plan).await?;
    while let Some(batch) = stream.next().await {
        checks.check(&batch.map_err(from_datafusion)?)?;
    }
    Ok(())
}

fn method_name(using: Option<&IndexType>) -> String {
    match using {
        None => "btree".to_owned(),
        Some(IndexType::Custom(ident)) => folded(ident),
        Some(other) => other.to_string().to_lowercase(),
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
