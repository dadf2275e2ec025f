//! `WITH … INSERT | UPDATE | DELETE`: the statement's own query gets the common table expressions.

use super::{bind_delete, bind_insert, bind_update};
use crate::bind::Binder;
use crate::statement::{Bound, StatementContext};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement};
use quiver_base::{Error, Result, SqlType};

/// Whether a query is a WITH in front of a statement that writes.
pub(crate) fn is_write(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_))
}

/// Binds one.
pub(crate) fn bind_with(
    ctx: &StatementContext<'_>,
    query: &Query,
    declared: &[Option<SqlType>],
) -> Result<(Bound, Vec<SqlType>)> {
    let with = query.with.as_ref();
    match query.body.as_ref() {
        SetExpr::Update(Statement::Update(update)) => {
            let (bound, params) = bind_update(ctx, update, with, declared)?;
            Ok((Bound::Change(bound), params))
        }
        SetExpr::Delete(Statement::Delete(delete)) => {
            let (bound, params) = bind_delete(ctx, delete, with, declared)?;
            Ok((Bound::Change(bound), params))
        }
        SetExpr::Insert(Statement::Insert(insert)) => {
            let mut insert = insert.clone();
            if let Some(source) = &mut insert.source {
                if source.with.is_some() {
                    return Err(Error::unsupported("WITH before INSERT and again in its query"));
                }
                source.with = with.cloned();
            }
            let binder = Binder::new(ctx, declared);
            let bound = bind_insert(&binder, &insert)?;
            Ok((Bound::Insert(bound), binder.param_types()?))
        }
        other => Err(Error::unsupported(other)),
    }
}
