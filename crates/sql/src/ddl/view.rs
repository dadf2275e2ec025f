//! CREATE VIEW: a query bound once to see that it can be, kept as text with its names' search_path.

use super::constraint::skipping;
use super::done;
use super::names::{creation_schema, is_taken, split, view};
use crate::bind::{Binder, bare_columns, folded, relation_name};
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{self, CreateView, Ident, Query, SelectItem, SetExpr, visit_relations};
use quiver_base::{Error, Result, SqlState, SqlType, TableId};
use quiver_cluster::{CatalogEdit, Database, Table, View};
use std::ops::ControlFlow;
use std::sync::Arc;

/// CREATE [OR REPLACE] VIEW.
pub(super) async fn create_view(ctx: &mut StatementContext<'_>, create: &CreateView) -> Result<Outcome> {
    if create.materialized {
        return Err(Error::unsupported("CREATE MATERIALIZED VIEW"));
    }
    if create.temporary {
        return Err(Error::unsupported("CREATE TEMPORARY VIEW"));
    }
    if create.with_no_schema_binding || create.to.is_some() {
        return Err(Error::unsupported("this form of CREATE VIEW"));
    }
    let name = split(ctx, &create.name)?;
    let schema = creation_schema(ctx, &name)?;
    ctx.txn.lock_name(schema.id, &name.name).await?;
    let before = view(ctx, &name).filter(|found| found.schema == schema.id);
    match &before {
        Some(_) if create.or_replace => {}
        Some(_) if create.if_not_exists => {
            let message = format!("relation \"{}\" already exists, skipping", name.name);
            skipping(ctx, SqlState::DUPLICATE_TABLE, message);
            return done("CREATE VIEW");
        }
        None if !is_taken(&ctx.txn.database(), schema.id, &name.name) => {}
        _ => {
            let message = format!("relation \"{}\" already exists", name.name);
            return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
        }
    }
    if crate::dml::writes(&create.query) {
        let message = "views must not contain data-modifying statements in WITH";
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let query = with_columns_spelled_out(ctx, &create.query)?;
    let bound = Binder::new(ctx, &[]).bind_alone(&query)?;
    let mut columns: Vec<(String, SqlType)> = bound
        .schema
        .fields()
        .iter()
        .map(|field| (field.name().clone(), SqlType::of_field(field).unwrap_or(SqlType::Text)))
        .collect();
    if create.columns.len() > columns.len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    for (column, given) in columns.iter_mut().zip(&create.columns) {
        column.0 = folded(&given.name);
    }
    for (position, (column, _)) in columns.iter().enumerate() {
        if columns[..position].iter().any(|(earlier, _)| earlier == column) {
            let message = format!("column \"{column}\" specified more than once");
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
    }
    if let Some(before) = &before {
        check_replacement(before, &columns)?;
    }
    let id = before.as_ref().map_or_else(|| TableId(ctx.txn.new_oid()), |before| before.id);
    let reads = relations_of(ctx, &query)?;
    if readers(&ctx.txn.database(), &[id]).iter().any(|reader| reads.contains(&reader.id))
        || reads.contains(&id)
    {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", name.name);
        return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    let made = View {
        id,
        schema: schema.id,
        name: name.name,
        owner: before.map_or(ctx.session.role, |before| before.owner),
        columns,
        sql: query.to_string(),
        search_path: ctx.settings.search_path(),
        reads,
    };
    ctx.txn.edit(vec![CatalogEdit::PutView(ctx.session.database_id, Arc::new(made))])?;
    done("CREATE VIEW")
}

/// A replaced view keeps its columns; new ones come after them.
fn check_replacement(before: &View, columns: &[(String, SqlType)]) -> Result<()> {
    let invalid = |message: String| Error::new(SqlState::INVALID_TABLE_DEFINITION, message);
    if columns.len() < before.columns.len() {
        return Err(invalid("cannot drop columns from view".to_owned()));
    }
    for ((old, old_type), (new, new_type)) in before.columns.iter().zip(columns) {
        if old != new {
            return Err(invalid(format!("cannot change name of view column \"{old}\" to \"{new}\""))
                .with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if old_type != new_type {
            return Err(invalid(format!(
                "cannot change data type of view column \"{old}\" from {old_type} to {new_type}"
            )));
        }
    }
    Ok(())
}

/// The query with `*` replaced by the columns that it stands for now: those a table gets later are not the view's.
fn with_columns_spelled_out(ctx: &StatementContext<'_>, query: &Query) -> Result<Query> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(query) };
    let is_wildcard =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if !select.projection.iter().any(is_wildcard) {
        return Ok(query);
    }
    let plain = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_)) => true,
        item => is_wildcard(item),
    };
    let columns = match select.projection.iter().all(plain) {
        true => bare_columns(&Binder::new(ctx, &[]), &query)?,
        false => None,
    };
    let Some(columns) = columns else {
        return Err(Error::unsupported("a view that selects * beside expressions, or through USING"));
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(query) };
    let item = |parts: Vec<String>| {
        let mut parts: Vec<Ident> = parts.into_iter().map(|part| Ident::with_quote('"', part)).collect();
        SelectItem::UnnamedExpr(match (parts.len(), parts.pop()) {
            (1, Some(column)) => ast::Expr::Identifier(column),
            (_, Some(column)) => {
                parts.push(column);
                ast::Expr::CompoundIdentifier(parts)
            }
            (_, None) => ast::Expr::Identifier(Ident::new("?")),
        })
    };
    select.projection = columns.into_iter().map(item).collect();
    Ok(query)
}

/// Tables and views that a query names.
fn relations_of(ctx: &StatementContext<'_>, query: &Query) -> Result<Vec<TableId>> {
    let database = ctx.txn.database();
    let mut names = Vec::new();
    let _ = visit_relations(query, |name| {
        names.push(name.clone());
        ControlFlow::<()>::Continue(())
    });
    let path = ctx.settings.search_path();
    let mut reads = Vec::new();
    for name in names {
        let name = relation_name(&name, &ctx.session.database)?;
        let table = crate::bind::find_table(&database, &path, &name).map(|table| table.id);
        let found = table.or_else(|| crate::bind::find_view(&database, &path, &name).map(|view| view.id));
        reads.extend(found.filter(|id| !reads.contains(id)));
    }
    Ok(reads)
}

/// Views that read one of these relations, directly or through others.
pub(super) fn readers(database: &Database, of: &[TableId]) -> Vec<Arc<View>> {
    let mut known: Vec<TableId> = of.to_vec();
    let mut found: Vec<Arc<View>> = Vec::new();
    loop {
        let next = database
            .views
            .values()
            .find(|view| !known.contains(&view.id) && view.reads.iter().any(|read| known.contains(read)));
        let Some(next) = next else { return found };
        known.push(next.id);
        found.push(next.clone());
    }
}

/// 0A000 if a change of a table would change a view's columns, or what it can find.
pub(super) fn check_readers(ctx: &StatementContext<'_>, table: &Table) -> Result<()> {
    for view in readers(&ctx.txn.database(), &[table.id]) {
        let binder = Binder::new(ctx, &[]);
        let same = binder.view_plan(&view).is_ok_and(|(_, columns)| columns == view.columns);
        if !same {
            let message = format!("cannot alter table {} as view {} would change", table.name, view.name);
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
    }
    Ok(())
}
