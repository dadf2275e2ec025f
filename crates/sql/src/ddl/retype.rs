//! ALTER COLUMN … TYPE: which values a column has from then on, what depends on its type, and the rewrite of the rows that are
//! there. A rewrite reads the newest rows under the statement's exclusive lock and writes them to new shards.

use super::constraint::TableMaker;
use super::index::{check_dimensions, check_used};
use super::index_class::{Method, key_class, vector_class};
use super::index_key::{self, Place};
use super::sequence::retyped;
use crate::bind::{Binder, CastContext, can_assign, conform, sql_type, without_modifier};
use crate::dml::{live_columns, row_schema};
use crate::statement::StatementContext;
use arrow::array::{Array, RecordBatch};
use datafusion::common::{Column as ColumnName, DFSchema, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, DataType, Ident, ObjectName};
use futures::StreamExt;
use quiver_base::{ColumnId, Error, Result, SqlState, SqlType};
use quiver_cluster::{CatalogEdit, ConflictMode, ConstraintKind, Index, IndexMethod, Table};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// A column that gets other values.
#[derive(Clone, Debug)]
pub(super) struct Conversion {
    column: ColumnId,
    /// Its type so far.
    old: SqlType,
    /// Its value from now on, over a row as it was.
    value: Expr,
}

/// SET DATA TYPE: the table's column has the new type, and a conversion is noted unless its values stay as they are.
pub(super) fn change_type(
    ctx: &StatementContext<'_>,
    maker: &mut TableMaker,
    id: ColumnId,
    data_type: &DataType,
    using: Option<&ast::Expr>,
) -> Result<()> {
    let new = sql_type(data_type)?;
    let place = usize::from(id.0) - 1;
    let column = maker.table.columns[place].clone();
    if using.is_none() && is_widening(&column.ty, &new) {
        maker.table.columns[place].ty = new;
        return Ok(());
    }
    if maker.conversions.iter().any(|conversion| conversion.column == id) {
        let message = format!("cannot alter type of column \"{}\" twice", column.name);
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let before = as_it_was(&maker.table, &maker.conversions);
    let value = value(ctx, &before, &column.name, &new, using)?;
    check_default(ctx, &column, &new)?;
    if let Some(identity) = column.identity {
        let database = ctx.txn.database();
        if let Some(sequence) = database.sequences.get(&identity.sequence) {
            if !crate::bind::is_integer(&new) {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "identity column type must be smallint, integer, or bigint",
                ));
            }
            let changed = retyped(sequence, &new)?;
            maker.edits.push(CatalogEdit::PutSequence(ctx.session.database_id, Arc::new(changed)));
        }
    }
    maker.table.columns[place].ty = new;
    maker.conversions.push(Conversion { column: id, old: column.ty, value });
    let checks = maker.table.constraints.iter().filter(
        |constraint| matches!(&constraint.kind, ConstraintKind::Check { columns, .. } if columns.contains(&id)),
    );
    maker.new_checks.extend(checks.map(|constraint| constraint.name.clone()));
    for index in maker.table.indexes.iter().filter(|index| index.reads(id)) {
        check_index(ctx, &maker.table, index)?;
    }
    Ok(())
}

/// Whether stored values of one type are values of the other as they are.
fn is_widening(old: &SqlType, new: &SqlType) -> bool {
    match (old, new) {
        (SqlType::Varchar(_) | SqlType::Text, SqlType::Text | SqlType::Varchar(None)) => true,
        (SqlType::Varchar(Some(old)), SqlType::Varchar(Some(new))) => new >= old,
        (old, new) => old == new,
    }
}

/// The table with the types that its stored rows have.
fn as_it_was(table: &Table, conversions: &[Conversion]) -> Table {
    let mut before = table.clone();
    for conversion in conversions {
        before.columns[usize::from(conversion.column.0) - 1].ty = conversion.old.clone();
    }
    // As the rows are, not as they are said to be from now on.
    before.columns.iter_mut().for_each(|column| column.not_null = false);
    before
}

/// USING, or the column itself, cast as an assignment would.
fn value(
    ctx: &StatementContext<'_>,
    table: &Table,
    name: &str,
    to: &SqlType,
    using: Option<&ast::Expr>,
) -> Result<Expr> {
    let binder = Binder::new(ctx, &[]);
    let (expr, schema) = match using {
        Some(using) => index_key::bound(ctx, table, using, Place::Transform)?,
        None => (column_of(table, name), index_key::row(table)?),
    };
    let from = binder.type_of(&expr, &schema)?;
    if from != SqlType::Unknown && !can_assign(&from, to) {
        let base = without_modifier(to);
        return Err(match using {
            Some(_) => Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "result of USING clause for column \"{name}\" cannot be cast automatically to type {base}"
                ),
            )
            .with_hint("You might need to add an explicit cast."),
            None => Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!("column \"{name}\" cannot be cast automatically to type {base}"),
            )
            .with_hint(format!(
                "You might need to specify \"USING {}::{to}\".",
                crate::functions::quote_ident(name)
            )),
        });
    }
    binder.assigned(expr, &schema, to, name, CastContext::Assignment)
}

fn column_of(table: &Table, name: &str) -> Expr {
    Expr::Column(ColumnName::new(Some(TableReference::bare(table.name.as_str())), name))
}

/// A default is kept, cast to the new type as an assignment would.
fn check_default(ctx: &StatementContext<'_>, column: &quiver_cluster::Column, to: &SqlType) -> Result<()> {
    let Some(default) = &column.default else { return Ok(()) };
    let binder = Binder::new(ctx, &[]);
    let schema = DFSchema::empty();
    let expr = binder.expression(crate::parser::parse_expression(&default.sql)?, &schema)?;
    let expr = crate::bind::coerce_expr(expr, &schema, &binder.params, &binder.style)?;
    let from = binder.type_of(&expr, &schema)?;
    // Its value had the column's type before it is cast.
    let old = if from == SqlType::Unknown { &column.ty } else { &from };
    if can_assign(old, to) && can_assign(&column.ty, to) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::DATATYPE_MISMATCH,
        format!(
            "default for column \"{}\" cannot be cast automatically to type {}",
            column.name,
            without_modifier(to)
        ),
    ))
}

/// An index goes on over the new type if its operator class takes it.
fn check_index(ctx: &StatementContext<'_>, table: &Table, index: &Index) -> Result<()> {
    for text in index.columns.iter().filter_map(|key| key.expression.as_ref()).chain(&index.predicate) {
        let expr = crate::parser::parse_expression(&text.sql)?;
        let place = if Some(text) == index.predicate.as_ref() { Place::Predicate } else { Place::Expression };
        let (bound, schema) = index_key::bound(ctx, table, &expr, place)?;
        let ty = Binder::new(ctx, &[]).type_of(&bound, &schema)?;
        if without_modifier(&ty) != without_modifier(&text.ty) {
            return Err(Error::unsupported(format!(
                "changing the type of a column so that an expression of index \"{}\" has another type",
                index.name
            )));
        }
    }
    for key in index.columns.iter().filter(|key| key.expression.is_none()) {
        let ty = &table.columns[usize::from(key.column.0) - 1].ty;
        let class = key.class.as_ref().map(|name| ObjectName::from(vec![Ident::new(name)]));
        let method = match index.method {
            IndexMethod::BTree => Method::BTree,
            IndexMethod::Hash => Method::Hash,
            IndexMethod::Gin => Method::Gin,
            IndexMethod::Vector { kind, .. } => Method::of_kind(kind),
        };
        match index.method {
            IndexMethod::BTree | IndexMethod::Hash | IndexMethod::Gin => {
                key_class(method, class.as_ref(), ty)?;
                if !index.unique && index.columns.first() == Some(key) {
                    check_used(method, ty)?;
                }
            }
            IndexMethod::Vector { .. } => {
                vector_class(method, class.as_ref(), ty)?;
                check_dimensions(method, ty)?;
            }
        }
    }
    Ok(())
}

/// Gives the table new shards if rows must change. Call it once all actions are known, and [`rewrite`] after the edit.
pub(super) fn move_rows(
    ctx: &mut StatementContext<'_>,
    maker: &mut TableMaker,
    conversions: &[Conversion],
) -> Option<Table> {
    if conversions.is_empty() {
        return None;
    }
    let before = as_it_was(&maker.table, conversions);
    maker.table.shards = ctx.txn.new_shards(before.shards.len());
    // No row is older than any column now.
    maker.table.columns.iter_mut().for_each(|column| column.missing = None);
    Some(before)
}

/// Writes every row of the table as it was to the table as it is.
pub(super) async fn rewrite(
    ctx: &mut StatementContext<'_>,
    before: Table,
    table: &Arc<Table>,
    conversions: &[Conversion],
) -> Result<()> {
    // Conditions must still make sense, whether there are rows or not.
    crate::dml::RowChecks::new(&Binder::new(ctx, &[]), table)?;
    let binder = Binder::of_newest(ctx);
    let values = live_columns(&before).into_iter().map(|column| {
        let conversion = conversions.iter().find(|conversion| conversion.column == column.id);
        let value = conversion.map_or_else(|| column_of(&before, &column.name), |found| found.value.clone());
        value.alias(column.name.as_str())
    });
    let values: Vec<Expr> = values.collect();
    let name = TableReference::bare(before.name.as_str());
    let plan = LogicalPlanBuilder::from(binder.scan(&Arc::new(before))?)
        .alias(name)
        .and_then(|plan| plan.project(values))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    let mut stream = binder.start(&plan).await?;
    while let Some(batch) = stream.next().await {
        let batch = conform(&batch.map_err(from_datafusion)?, &row_schema(table))?;
        refuse_nulls(table, &batch)?;
        let written = ctx.txn.insert(table, &batch, ConflictMode::Error).await;
        written.map_err(|error| not_unique(ctx, table, error))?;
    }
    Ok(())
}

fn refuse_nulls(table: &Table, batch: &RecordBatch) -> Result<()> {
    let mut columns = live_columns(table).into_iter().zip(batch.columns());
    let Some((column, _)) = columns.find(|(column, array)| column.not_null && array.null_count() > 0) else {
        return Ok(());
    };
    Err(Error::new(
        SqlState::NOT_NULL_VIOLATION,
        format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.name),
    )
    .with_column(&column.name))
}

/// What building the index anew would say of a key that is there twice.
fn not_unique(ctx: &StatementContext<'_>, table: &Table, error: Error) -> Error {
    let (Some(index), SqlState::UNIQUE_VIOLATION) = (error.constraint(), error.state()) else { return error };
    let database = ctx.txn.database();
    let schema = database.schemas.get(&table.schema).map_or("", |schema| schema.name.as_str());
    let detail = error.detail().unwrap_or_default().replace(" already exists.", " is duplicated.");
    Error::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{index}\""))
        .with_detail(detail)
        .with_table(schema, &table.name)
        .with_constraint(index)
}
