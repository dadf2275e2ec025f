//! ALTER TABLE.

use super::constraint::{TableMaker, skipping};
use super::done;
use super::drop::drop_column_objects;
use super::names::{cut, is_taken, schema, split, table};
use super::retype::{change_type, move_rows, rewrite};
use crate::bind::{Binder, folded};
use crate::dml::{DefaultValues, Defaults, RowChecks, live_columns};
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use arrow::array::{Array, StringArray};
use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnOption, Ident, RenameTableNameKind,
};
use futures::StreamExt;
use quiver_base::{ColumnId, Error, Result, SqlState};
use quiver_cluster::{CatalogEdit, ConstraintKind, Table, TableLock};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// ALTER TABLE: every action in turn, then one edit, then checks over the rows that are there.
pub(super) async fn alter_table(ctx: &mut StatementContext<'_>, alter: &AlterTable) -> Result<Outcome> {
    let name = split(ctx, &alter.name)?;
    let found = match table(ctx, &name) {
        Ok(found) => found,
        Err(error) if alter.if_exists && error.state() == SqlState::UNDEFINED_TABLE => {
            let message = format!("relation \"{}\" does not exist, skipping", name.name);
            skipping(ctx, SqlState::UNDEFINED_TABLE, message);
            return done("ALTER TABLE");
        }
        Err(error) => return Err(error),
    };
    ctx.txn.lock_table(found.id, TableLock::Exclusive).await?;
    let current = table(ctx, &name)?;
    let mut maker = TableMaker::new(ctx, (*current).clone());
    maker.table.version = maker.table.version.max(1);
    for operation in &alter.operations {
        apply(ctx, &mut maker, operation).await?;
    }
    let (keys, checks, not_null) =
        (maker.new_keys.clone(), maker.new_checks.clone(), maker.new_not_null.clone());
    let id = maker.table.id;
    let conversions = std::mem::take(&mut maker.conversions);
    let before = move_rows(ctx, &mut maker, &conversions);
    let edits = maker.finish(ctx);
    ctx.txn.edit(edits)?;
    let database = ctx.txn.database();
    let table = database.tables.get(&id).cloned().ok_or_else(|| Error::internal("a table is gone"))?;
    super::view::check_readers(ctx, &table)?;
    if let Some(before) = before {
        rewrite(ctx, before, &table, &conversions).await?;
    }
    check_rows(ctx, &table, &not_null, &checks).await?;
    for key in keys {
        ctx.txn.check_unique(&table, key).await?;
    }
    done("ALTER TABLE")
}

fn column_id(maker: &TableMaker, name: &Ident) -> Result<ColumnId> {
    let name = folded(name);
    maker.column(&name).map(|column| column.id).ok_or_else(|| {
        Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", maker.table.name),
        )
    })
}

async fn apply(
    ctx: &mut StatementContext<'_>,
    maker: &mut TableMaker,
    operation: &AlterTableOperation,
) -> Result<()> {
    use AlterTableOperation as Op;
    match operation {
        Op::AddColumn { if_not_exists, column_def, .. } => {
            let name = folded(&column_def.name);
            if *if_not_exists && maker.column(&name).is_some() {
                let message = format!(
                    "column \"{name}\" of relation \"{}\" already exists, skipping",
                    maker.table.name
                );
                skipping(ctx, SqlState::DUPLICATE_COLUMN, message);
                return Ok(());
            }
            maker.add_column(ctx, column_def)?;
            let has_default =
                column_def.options.iter().any(|option| matches!(option.option, ColumnOption::Default(_)));
            add_missing(ctx, maker, has_default).await
        }
        Op::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            let cascade =
                matches!(drop_behavior, Some(datafusion::sql::sqlparser::ast::DropBehavior::Cascade));
            for name in column_names {
                let id = match column_id(maker, name) {
                    Ok(id) => id,
                    Err(_) if *if_exists => {
                        let message = format!(
                            "column \"{}\" of relation \"{}\" does not exist, skipping",
                            folded(name),
                            maker.table.name
                        );
                        skipping(ctx, SqlState::UNDEFINED_COLUMN, message);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                drop_column_objects(ctx, maker, id, cascade)?;
            }
            Ok(())
        }
        Op::RenameColumn { old_column_name, new_column_name } => {
            let id = maker.column(&folded(old_column_name)).map(|column| column.id).ok_or_else(|| {
                let message = format!("column \"{}\" does not exist", folded(old_column_name));
                Error::new(SqlState::UNDEFINED_COLUMN, message)
            })?;
            let new = cut(&folded(new_column_name));
            if maker.column(&new).is_some() {
                return Err(Error::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{new}\" of relation \"{}\" already exists", maker.table.name),
                ));
            }
            rename_in_checks(maker, &folded(old_column_name), &new)?;
            maker.table.columns[usize::from(id.0) - 1].name = new;
            Ok(())
        }
        Op::RenameTable { table_name: RenameTableNameKind::To(name) | RenameTableNameKind::As(name) } => {
            let new = split(ctx, name)?.name;
            ctx.txn.lock_name(maker.table.schema, &new).await?;
            if is_taken(&ctx.txn.database(), maker.table.schema, &new) {
                return Err(Error::new(
                    SqlState::DUPLICATE_TABLE,
                    format!("relation \"{new}\" already exists"),
                ));
            }
            maker.table.name = new;
            Ok(())
        }
        Op::RenameConstraint { old_name, new_name } => {
            rename_constraint(maker, &folded(old_name), &folded(new_name))
        }
        Op::AddConstraint { constraint, .. } => maker.add_constraint(ctx, constraint),
        Op::DropConstraint { if_exists, name, .. } => drop_constraint(ctx, maker, &folded(name), *if_exists),
        Op::AlterColumn { column_name, op } => {
            let id = column_id(maker, column_name)?;
            alter_column(ctx, maker, id, op)
        }
        Op::OwnerTo { new_owner } => {
            maker.table.owner = super::names::new_owner(ctx, new_owner)?;
            Ok(())
        }
        Op::ValidateConstraint { .. } | Op::ReplicaIdentity { .. } | Op::SetOptionsParens { .. } => Ok(()),
        other => {
            let text = other.to_string();
            if let Some(name) = text.strip_prefix("SET SCHEMA ") {
                maker.table.schema = schema(&ctx.txn.database(), name.trim())?.id;
                return Ok(());
            }
            Err(Error::unsupported(format!("ALTER TABLE {text}")))
        }
    }
}

/// What rows older than a new column have in it: the default's value now. Values that differ row by row would need a rewrite.
async fn add_missing(
    ctx: &mut StatementContext<'_>,
    maker: &mut TableMaker,
    has_default: bool,
) -> Result<()> {
    let position = maker.table.columns.len() - 1;
    let column = maker.table.columns[position].clone();
    let has_rows = has_rows(ctx, &maker.table)?;
    let own_values =
        column.identity.is_some() || column.default.as_ref().is_some_and(|d| d.sequence.is_some());
    if own_values && has_rows {
        return Err(Error::unsupported("adding a serial or identity column to a table with rows"));
    }
    if !has_default {
        if column.not_null && !own_values && has_rows {
            return Err(Error::new(
                SqlState::NOT_NULL_VIOLATION,
                format!(
                    "column \"{}\" of relation \"{}\" contains null values",
                    column.name, maker.table.name
                ),
            ));
        }
        return Ok(());
    }
    let binder = Binder::new(ctx, &[]);
    if let (true, Some(default)) = (has_rows, &column.default) {
        let schema = DFSchema::empty();
        let expr = binder.expression(crate::parser::parse_expression(&default.sql)?, &schema)?;
        if expr.is_volatile() {
            return Err(Error::unsupported("adding a column with a volatile default to a table with rows"));
        }
    }
    let defaults = Defaults::new(&binder, &maker.table)?;
    let live = live_columns(&maker.table).len() - 1;
    let (cluster, session) = (ctx.cluster.clone(), ctx.session.clone());
    let values = DefaultValues { cluster: &cluster, session: &session };
    let value = values.column(&defaults, live, 1).await?;
    let text: StringArray = crate::bind::to_text_array(&value, &column.ty, &crate::bind::CastStyle::utc())?;
    if text.is_valid(0) {
        maker.table.columns[position].missing = Some(text.value(0).to_owned());
    }
    maker.new_not_null.clear();
    Ok(())
}

/// Whether the statement sees any row.
fn has_rows(ctx: &StatementContext<'_>, table: &Table) -> Result<bool> {
    let snapshots = ctx.txn.read_view().snapshots(table)?;
    Ok(snapshots.iter().any(|snapshot| snapshot.row_count() > 0))
}

/// Conditions and indexed expressions are kept as text: a renamed column is renamed there too.
fn rename_in_checks(maker: &mut TableMaker, old: &str, new: &str) -> Result<()> {
    let checks = maker.table.constraints.iter_mut().filter_map(|constraint| match &mut constraint.kind {
        ConstraintKind::Check { sql, .. } => Some(sql),
        _ => None,
    });
    let indexed = maker.table.indexes.iter_mut().flat_map(|index| {
        let keys = index.columns.iter_mut().filter_map(|key| key.expression.as_mut());
        keys.chain(&mut index.predicate).map(|text| &mut text.sql)
    });
    for sql in checks.chain(indexed) {
        let mut expr = crate::parser::parse_expression(sql)?;
        let _ = datafusion::sql::sqlparser::ast::visit_expressions_mut(&mut expr, |expr| {
            if let datafusion::sql::sqlparser::ast::Expr::Identifier(ident) = expr
                && folded(ident) == old
            {
                *ident = Ident::with_quote('"', new);
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        *sql = expr.to_string();
    }
    Ok(())
}

fn no_constraint(table: &Table, name: &str) -> Error {
    Error::new(
        SqlState::UNDEFINED_OBJECT,
        format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name),
    )
}

fn rename_constraint(maker: &mut TableMaker, old: &str, new: &str) -> Result<()> {
    let table = &mut maker.table;
    if table.constraints.iter().any(|constraint| constraint.name == new) {
        return Err(Error::new(
            SqlState::DUPLICATE_OBJECT,
            format!("constraint \"{new}\" for relation \"{}\" already exists", table.name),
        ));
    }
    let missing = no_constraint(table, old);
    let constraint = table.constraints.iter_mut().find(|found| found.name == old).ok_or(missing)?;
    constraint.name = new.to_owned();
    if let ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } = constraint.kind {
        for found in table.indexes.iter_mut().filter(|found| found.id == index) {
            found.name = new.to_owned();
        }
    }
    Ok(())
}

fn drop_constraint(
    ctx: &mut StatementContext<'_>,
    maker: &mut TableMaker,
    name: &str,
    if_exists: bool,
) -> Result<()> {
    let table = &mut maker.table;
    let Some(position) = table.constraints.iter().position(|found| found.name == name) else {
        if if_exists {
            let message =
                format!("constraint \"{name}\" of relation \"{}\" does not exist, skipping", table.name);
            skipping(ctx, SqlState::UNDEFINED_OBJECT, message);
            return Ok(());
        }
        return Err(no_constraint(table, name));
    };
    let constraint = table.constraints.remove(position);
    if let ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } = constraint.kind {
        table.indexes.retain(|found| found.id != index);
    }
    Ok(())
}

fn alter_column(
    ctx: &mut StatementContext<'_>,
    maker: &mut TableMaker,
    id: ColumnId,
    op: &AlterColumnOperation,
) -> Result<()> {
    let place = usize::from(id.0) - 1;
    match op {
        AlterColumnOperation::SetNotNull => {
            maker.table.columns[place].not_null = true;
            maker.new_not_null.push(id);
            Ok(())
        }
        AlterColumnOperation::DropNotNull => {
            let column = &maker.table.columns[place];
            let in_primary = maker.table.constraints.iter().any(|constraint| match constraint.kind {
                ConstraintKind::PrimaryKey { index } => maker
                    .table
                    .indexes
                    .iter()
                    .any(|found| found.id == index && found.columns.iter().any(|key| key.column == id)),
                _ => false,
            });
            if in_primary {
                return Err(Error::new(
                    SqlState::INVALID_TABLE_DEFINITION,
                    format!("column \"{}\" is in a primary key", column.name),
                ));
            }
            if column.identity.is_some() {
                return Err(Error::new(
                    SqlState::SYNTAX_ERROR,
                    format!(
                        "column \"{}\" of relation \"{}\" is an identity column",
                        column.name, maker.table.name
                    ),
                ));
            }
            maker.table.columns[place].not_null = false;
            Ok(())
        }
        AlterColumnOperation::SetDefault { value } => maker.set_default(ctx, id, value),
        AlterColumnOperation::DropDefault => {
            maker.table.columns[place].default = None;
            Ok(())
        }
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            change_type(ctx, maker, id, data_type, using.as_ref())
        }
        AlterColumnOperation::AddGenerated { generated_as, sequence_options } => {
            let always =
                !matches!(generated_as, Some(datafusion::sql::sqlparser::ast::GeneratedAs::ByDefault));
            if !maker.table.columns[place].not_null {
                return Err(Error::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!(
                        "column \"{}\" of relation \"{}\" must be declared NOT NULL before identity can be added",
                        maker.table.columns[place].name, maker.table.name
                    ),
                ));
            }
            maker.set_identity(ctx, id, always, sequence_options.as_deref().unwrap_or_default())
        }
    }
}

/// NOT NULL and CHECK over the rows that are there.
async fn check_rows(
    ctx: &mut StatementContext<'_>,
    table: &Arc<Table>,
    not_null: &[ColumnId],
    checks: &[String],
) -> Result<()> {
    if (not_null.is_empty() && checks.is_empty()) || !has_rows(ctx, table)? {
        return Ok(());
    }
    let binder = Binder::new(ctx, &[]);
    // As the rows are, not as they are said to be from now on.
    let mut lenient = (**table).clone();
    lenient.columns.iter_mut().for_each(|column| column.not_null = false);
    let plan = binder.scan(&Arc::new(lenient))?;
    let mut stream = binder.start(&plan).await?;
    let row_checks = RowChecks::new(&binder, table)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(from_datafusion)?;
        for (column, array) in live_columns(table).into_iter().zip(batch.columns()) {
            if not_null.contains(&column.id) && array.null_count() > 0 {
                return Err(Error::new(
                    SqlState::NOT_NULL_VIOLATION,
                    format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.name),
                )
                .with_column(&column.name));
            }
        }
        if !checks.is_empty() {
            row_checks.check(&batch).map_err(|error| match error.constraint() {
                Some(name) => Error::new(
                    SqlState::CHECK_VIOLATION,
                    format!(
                        "check constraint \"{name}\" of relation \"{}\" is violated by some row",
                        table.name
                    ),
                )
                .with_constraint(name),
                None => error,
            })?;
        }
    }
    Ok(())
}

/// A comment's key is dropped with its object.
pub(super) fn drop_comments(ctx: &StatementContext<'_>, object: u32) -> Vec<CatalogEdit> {
    let database = ctx.txn.database();
    database
        .comments
        .keys()
        .filter(|(_, id, _)| *id == object)
        .map(|key| CatalogEdit::PutComment(ctx.session.database_id, *key, None))
        .collect()
}
