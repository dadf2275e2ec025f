//! CREATE SEQUENCE and ALTER SEQUENCE, and the sequences behind serial and identity columns.

use super::constraint::skipping;
use super::done;
use super::names::{creation_schema, is_taken, no_relation, schema, sequence, split, table};
use crate::bind::{folded, sql_type};
use crate::outcome::Outcome;
use crate::parser::{AlterSequence, SequenceOption};
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{DataType, Expr, ObjectName, SequenceOptions};
use quiver_base::{ColumnId, Error, Result, SqlState, SqlType, TableId};
use quiver_cluster::{CatalogEdit, Sequence};
use std::sync::Arc;

/// What a sequence's options say.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceSpec {
    start: Option<i64>,
    increment: Option<i64>,
    min: Option<i64>,
    max: Option<i64>,
    cycle: bool,
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

impl SequenceSpec {
    /// From CREATE SEQUENCE's or an identity column's options.
    pub(super) fn from_options(options: &[SequenceOptions]) -> Result<SequenceSpec> {
        let mut spec = SequenceSpec::default();
        for option in options {
            match option {
                SequenceOptions::IncrementBy(value, _) => spec.increment = Some(integer(value)?),
                SequenceOptions::MinValue(value) => spec.min = value.as_ref().map(integer).transpose()?,
                SequenceOptions::MaxValue(value) => spec.max = value.as_ref().map(integer).transpose()?,
                SequenceOptions::StartWith(value, _) => spec.start = Some(integer(value)?),
                SequenceOptions::Cache(value) => {
                    if integer(value)? < 1 {
                        return Err(invalid(format!("CACHE ({value}) must be greater than zero")));
                    }
                }
                SequenceOptions::Cycle(no) => spec.cycle = !no,
            }
        }
        Ok(spec)
    }

    /// The sequence, checked.
    pub(super) fn build(
        &self,
        id: TableId,
        schema: u32,
        name: &str,
        owner: u32,
        ty: &SqlType,
    ) -> Result<Sequence> {
        let increment = self.increment.unwrap_or(1);
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".to_owned()));
        }
        let (low, high) = limits(ty);
        let min = self.min.unwrap_or(if increment > 0 { 1 } else { low });
        let max = self.max.unwrap_or(if increment > 0 { high } else { -1 });
        if max > high {
            return Err(invalid(format!("MAXVALUE ({max}) is out of range for sequence data type {ty}")));
        }
        if min < low {
            return Err(invalid(format!("MINVALUE ({min}) is out of range for sequence data type {ty}")));
        }
        if min >= max {
            return Err(invalid(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")));
        }
        let start = self.start.unwrap_or(if increment > 0 { min } else { max });
        if start < min {
            return Err(invalid(format!("START value ({start}) cannot be less than MINVALUE ({min})")));
        }
        if start > max {
            return Err(invalid(format!("START value ({start}) cannot be greater than MAXVALUE ({max})")));
        }
        Ok(Sequence {
            id,
            schema,
            name: name.to_owned(),
            owner,
            ty: ty.clone(),
            start,
            increment,
            min,
            max,
            cycle: self.cycle,
            next: start,
            exhausted: false,
            owned_by: None,
        })
    }
}

fn limits(ty: &SqlType) -> (i64, i64) {
    match ty {
        SqlType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        SqlType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn integer(expr: &Expr) -> Result<i64> {
    let text = expr.to_string().replace(' ', "");
    text.parse()
        .map_err(|_| Error::new(SqlState::SYNTAX_ERROR, format!("invalid sequence parameter: {text}")))
}

/// CREATE SEQUENCE.
pub(super) async fn create_sequence(
    ctx: &mut StatementContext<'_>,
    if_not_exists: bool,
    name: &ObjectName,
    ty: Option<&DataType>,
    options: &[SequenceOptions],
    owned_by: Option<&ObjectName>,
) -> Result<Outcome> {
    let name = split(ctx, name)?;
    let schema = creation_schema(ctx, &name)?;
    ctx.txn.lock_name(schema.id, &name.name).await?;
    if is_taken(&ctx.txn.database(), schema.id, &name.name) {
        let message = format!("relation \"{}\" already exists", name.name);
        if if_not_exists {
            skipping(ctx, SqlState::DUPLICATE_TABLE, format!("{message}, skipping"));
            return done("CREATE SEQUENCE");
        }
        return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
    }
    let ty = match ty {
        Some(ty) => sequence_type(ty)?,
        None => SqlType::Int8,
    };
    let id = TableId(ctx.txn.new_oid());
    let mut sequence =
        SequenceSpec::from_options(options)?.build(id, schema.id, &name.name, ctx.current_role(), &ty)?;
    if let Some(column) = owned_by {
        sequence.owned_by = owner(ctx, column)?;
    }
    ctx.txn.edit(vec![CatalogEdit::PutSequence(ctx.session.database_id, Arc::new(sequence))])?;
    done("CREATE SEQUENCE")
}

fn sequence_type(ty: &DataType) -> Result<SqlType> {
    match sql_type(ty)? {
        ty @ (SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => Ok(ty),
        _ => Err(invalid("sequence type must be smallint, integer, or bigint".to_owned())),
    }
}

/// `table.column` of OWNED BY.
fn owner(ctx: &StatementContext<'_>, name: &ObjectName) -> Result<Option<(TableId, ColumnId)>> {
    let parts: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let Some((column, of)) = parts.split_last() else { return Ok(None) };
    if of.is_empty() {
        if folded(column) == "none" {
            return Ok(None);
        }
        return Err(Error::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option")
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
    }
    let of = ObjectName::from(of.iter().map(|ident| (*ident).clone()).collect::<Vec<_>>());
    let table = table(ctx, &split(ctx, &of)?)?;
    let column = folded(column);
    let found = table.columns.iter().find(|found| !found.dropped && found.name == column);
    let found = found.ok_or_else(|| {
        Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
        )
    })?;
    Ok(Some((table.id, found.id)))
}

/// The sequence with another type: a bound that was the old type's is the new one's; 22023 if another one does not fit.
pub(super) fn retyped(sequence: &Sequence, ty: &SqlType) -> Result<Sequence> {
    let ((old_low, old_high), (low, high)) = (limits(&sequence.ty), limits(ty));
    let mut changed = sequence.clone();
    changed.ty = ty.clone();
    if sequence.max == old_high {
        changed.max = if sequence.increment > 0 { high } else { -1 };
    }
    if sequence.min == old_low {
        changed.min = if sequence.increment > 0 { 1 } else { low };
    }
    check_limits(&changed)?;
    Ok(changed)
}

fn check_limits(sequence: &Sequence) -> Result<()> {
    let (low, high) = limits(&sequence.ty);
    let outside = |what: &str, bound: i64| {
        invalid(format!("{what} ({bound}) is out of range for sequence data type {}", sequence.ty))
    };
    if sequence.max > high {
        return Err(outside("MAXVALUE", sequence.max));
    }
    if sequence.min < low {
        return Err(outside("MINVALUE", sequence.min));
    }
    Ok(())
}

/// ALTER SEQUENCE.
pub(crate) async fn alter_sequence(ctx: &mut StatementContext<'_>, alter: &AlterSequence) -> Result<Outcome> {
    let name = split(ctx, &alter.name)?;
    let Some(found) = sequence(ctx, &name) else {
        if alter.if_exists {
            let message = format!("relation \"{}\" does not exist, skipping", name.name);
            skipping(ctx, SqlState::UNDEFINED_TABLE, message);
            return done("ALTER SEQUENCE");
        }
        return Err(no_relation(&name));
    };
    ctx.txn.lock_name(found.schema, &found.name).await?;
    let mut changed = (*found).clone();
    let mut restart = None;
    for change in &alter.changes {
        match change {
            SequenceOption::RenameTo(ident) => {
                let new = folded(ident);
                ctx.txn.lock_name(changed.schema, &new).await?;
                if is_taken(&ctx.txn.database(), changed.schema, &new) {
                    return Err(Error::new(
                        SqlState::DUPLICATE_TABLE,
                        format!("relation \"{new}\" already exists"),
                    ));
                }
                changed.name = new;
            }
            SequenceOption::SetSchema(ident) => {
                changed.schema = schema(&ctx.txn.database(), &folded(ident))?.id;
            }
            SequenceOption::OwnerTo(owner) => changed.owner = super::names::new_owner(ctx, owner)?,
            SequenceOption::Cache(_) => {}
            SequenceOption::Restart(value) => restart = Some(value.unwrap_or(changed.start)),
            SequenceOption::Start(value) => changed.start = *value,
            SequenceOption::Increment(0) => return Err(invalid("INCREMENT must not be zero".to_owned())),
            SequenceOption::Increment(value) => changed.increment = *value,
            SequenceOption::Min(value) => changed.min = value.unwrap_or(1),
            SequenceOption::Max(value) => changed.max = value.unwrap_or(limits(&changed.ty).1),
            SequenceOption::Cycle(cycle) => changed.cycle = *cycle,
            SequenceOption::OwnedBy(column) => {
                changed.owned_by = match column {
                    Some(column) => owner(ctx, column)?,
                    None => None,
                };
            }
            SequenceOption::AsType(ty) => changed = retyped(&changed, &sequence_type(ty)?)?,
        }
    }
    check_limits(&changed)?;
    if changed.min >= changed.max {
        return Err(invalid(format!(
            "MINVALUE ({}) must be less than MAXVALUE ({})",
            changed.min, changed.max
        )));
    }
    if let Some(value) = restart {
        if value < changed.min || value > changed.max {
            return Err(invalid(format!("RESTART value ({value}) is out of bounds")));
        }
        ctx.cluster.set_value(ctx.session.database_id, changed.id, value, false).await?;
        changed.next = value;
        changed.exhausted = false;
    }
    ctx.txn.edit(vec![CatalogEdit::PutSequence(ctx.session.database_id, Arc::new(changed))])?;
    done("ALTER SEQUENCE")
}
