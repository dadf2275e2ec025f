//! Finds predicates that name every column of a unique key, so that rows are looked up and not scanned for.

use crate::ready::{Param, ParamReader};
use crate::resolve::{narrowed, widens, without_rows};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use quiver_base::IndexId;
use quiver_cluster::Index;
use std::collections::HashSet;
use std::sync::Arc;

/// More keys than this are cheaper to find by a scan.
const KEYS_MAX: usize = 10_000;

/// Keys to look up. Unless they are [all](Self::is_all) that it says, the whole predicate is still checked on the rows found.
#[derive(Clone, Debug)]
pub(crate) struct KeyLookup {
    /// The key's index.
    pub(crate) index: IndexId,
    /// The key's name, for EXPLAIN.
    pub(crate) name: String,
    /// The values that each of the key's columns may have; a key is one of each.
    allowed: Vec<Vec<KeyValue>>,
    /// Of the key's columns.
    types: Vec<DataType>,
    /// Whether the rows that have the keys are all that the predicate lets through.
    is_all: bool,
}

/// A key column's value.
#[derive(Clone, Debug)]
enum KeyValue {
    Constant(ScalarValue),
    /// Known once the plan runs.
    Param(ParamReader),
    /// Worked out once the plan runs: parameters and no columns are in it.
    Computed(Arc<dyn PhysicalExpr>),
}

impl KeyValue {
    fn value(&self, ty: &DataType) -> Result<ScalarValue> {
        match self {
            KeyValue::Constant(value) => Ok(value.clone()),
            KeyValue::Param(reader) => narrowed(&reader.value(), ty),
            KeyValue::Computed(expr) => narrowed(&without_rows(expr)?, ty),
        }
    }
}

impl KeyLookup {
    /// How many keys.
    pub(crate) fn rows(&self) -> usize {
        keys_of(&self.allowed)
    }

    /// Whether the predicate says no more than the keys do: then rows that have them need not be looked at again.
    pub(crate) fn is_all(&self) -> bool {
        self.is_all
    }

    /// The same, under a predicate that may say more.
    pub(crate) fn among_others(&self) -> KeyLookup {
        KeyLookup { is_all: false, ..self.clone() }
    }

    /// The keys as storage wants them: an array a key column; each key once. `None` if there are none: NULL is no key.
    pub(crate) fn arrays(&self) -> Result<Option<Vec<ArrayRef>>> {
        let of_column = |(allowed, ty): (&Vec<KeyValue>, &DataType)| -> Result<Vec<ScalarValue>> {
            let mut values = Vec::with_capacity(allowed.len());
            for value in allowed {
                values.push(value.value(ty)?);
            }
            values.retain(|value| !value.is_null());
            if values.len() > 1 {
                let mut seen = HashSet::new();
                values.retain(|value| seen.insert(value.clone()));
            }
            Ok(values)
        };
        let allowed = self.allowed.iter().zip(&self.types).map(of_column).collect::<Result<Vec<_>>>()?;
        let keys = keys_of(&allowed);
        if keys == 0 {
            return Ok(None);
        }
        let mut repeated = 1;
        let of_keys = |values: Vec<ScalarValue>| {
            if keys == 1 {
                // One value needs no builder.
                return values[0].to_array();
            }
            let each = repeated;
            repeated *= values.len();
            ScalarValue::iter_to_array((0..keys).map(|key| values[key / each % values.len()].clone()))
        };
        allowed.into_iter().map(of_keys).collect::<Result<_>>().map(Some)
    }
}

/// How many keys are made of one value of each column.
fn keys_of<T>(allowed: &[Vec<T>]) -> usize {
    allowed.iter().map(Vec::len).fold(1, usize::saturating_mul)
}

/// The keys of `index` that `filters`, a conjunction, allow. `fields` describe the key's columns.
pub(crate) fn find(
    index: &Index,
    fields: &[&Field],
    filters: &[Expr],
    state: &dyn Session,
) -> Option<KeyLookup> {
    let conjuncts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
    // What is worked out may fail, and a condition without columns may be there to forbid it (`$1 <> 0 AND id = 10 / $1`).
    let is_guarded = conjuncts.iter().any(|conjunct| !conjunct.any_column_refs());
    let state = (!is_guarded).then_some(state);
    let mut allowed = Vec::with_capacity(fields.len());
    for field in fields {
        allowed.push(conjuncts.iter().find_map(|conjunct| allowed_values(conjunct, field, state))?);
        if keys_of(&allowed) > KEYS_MAX {
            return None;
        }
    }
    if fields.is_empty() || keys_of(&allowed) == 0 {
        return None;
    }
    let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
    // Of other types equal values may have different keys, or unequal ones be written alike.
    let is_all = conjuncts.len() == fields.len() && types.iter().all(DataType::is_integer);
    Some(KeyLookup { index: index.id, name: index.name.clone(), allowed, types, is_all })
}

/// The constants that a predicate confines a column to: `c = 1`, `c IN (1, 2)`, `c = 1 OR c = 2`.
fn allowed_values(predicate: &Expr, field: &Field, state: Option<&dyn Session>) -> Option<Vec<KeyValue>> {
    let mut values = Vec::new();
    collect_values(predicate, field, state, &mut values)?;
    let mut seen = HashSet::new();
    values.retain(|value| match value {
        KeyValue::Constant(value) => seen.insert(value.clone()),
        KeyValue::Param(_) | KeyValue::Computed(_) => true,
    });
    Some(values)
}

fn collect_values(
    predicate: &Expr,
    field: &Field,
    state: Option<&dyn Session>,
    values: &mut Vec<KeyValue>,
) -> Option<()> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            collect_values(left, field, state, values)?;
            collect_values(right, field, state, values)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (column_type(left, field), column_type(right, field)) {
                (Some(ty), _) => constant(right, field, ty, state),
                (_, Some(ty)) => constant(left, field, ty, state),
                (None, None) => None,
            };
            values.push(value?);
            Some(())
        }
        Expr::InList(list) if !list.negated => {
            let ty = column_type(&list.expr, field)?;
            for item in &list.list {
                values.push(constant(item, field, ty, state)?);
            }
            Some(())
        }
        _ => None,
    }
}

/// The type at which a predicate compares a column: its own, or a wider one of whole numbers. `None` if it is not that column.
fn column_type<'a>(expr: &'a Expr, field: &'a Field) -> Option<&'a DataType> {
    match expr {
        Expr::Column(column) if column.name == *field.name() => Some(field.data_type()),
        // Left on by the planner where the other side is a parameter.
        Expr::Cast(cast) if widens(field.data_type(), cast.field.data_type()) => {
            column_type(&cast.expr, field).map(|_| cast.field.data_type())
        }
        _ => None,
    }
}

/// A value that a column is compared with at a type.
fn constant(expr: &Expr, field: &Field, at: &DataType, state: Option<&dyn Session>) -> Option<KeyValue> {
    if let Some(param) = Param::of_call(expr) {
        return (param.data_type() == at).then(|| KeyValue::Param(param.reader()));
    }
    match expr {
        Expr::Literal(value, _) if value.data_type() == *at => {
            narrowed(value, field.data_type()).ok().map(KeyValue::Constant)
        }
        // The cast loses nothing, as it is DataFusion's own.
        Expr::Cast(cast) if cast.field.data_type() == at => match cast.expr.as_ref() {
            Expr::Literal(value, _) => narrowed(value, field.data_type()).ok().map(KeyValue::Constant),
            inner => match Param::of_call(inner) {
                Some(param) => Some(KeyValue::Param(param.reader())),
                None => computed(expr, at, state),
            },
        },
        _ => computed(expr, at, state),
    }
}

/// What parameters make: `$1 + 1`, `lower($1)`. `None` if there is a column in it, or nothing is to be worked out.
fn computed(expr: &Expr, at: &DataType, state: Option<&dyn Session>) -> Option<KeyValue> {
    // Fails for what reads a column.
    let expr = state?.create_physical_expr(expr.clone(), &DFSchema::empty()).ok()?;
    (expr.data_type(&Schema::empty()).ok()? == *at).then_some(KeyValue::Computed(expr))
}
