//! Finds predicates that name every column of a unique key, so that rows are looked up and not scanned for.

use crate::ready::{Param, ParamReader};
use crate::resolve::{narrowed, widens};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use quiver_base::IndexId;
use quiver_cluster::Index;
use std::collections::HashSet;

/// More keys than this are cheaper to find by a scan.
const KEYS_MAX: usize = 10_000;

/// Keys to look up. Unless they are [all](Self::is_all) that it says, the whole predicate is still checked on the rows found.
#[derive(Clone, Debug)]
pub(crate) struct KeyLookup {
    /// The key's index.
    pub(crate) index: IndexId,
    /// The key's name, for EXPLAIN.
    pub(crate) name: String,
    /// One value a key column, each.
    keys: Vec<Vec<KeyValue>>,
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
}

impl KeyValue {
    fn value(&self, ty: &DataType) -> Result<ScalarValue> {
        match self {
            KeyValue::Constant(value) => Ok(value.clone()),
            KeyValue::Param(reader) => narrowed(&reader.value(), ty),
        }
    }
}

impl KeyLookup {
    /// How many keys.
    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
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
        if let [key] = self.keys.as_slice() {
            let Some(values) = self.values(key)? else { return Ok(None) };
            // One value needs no builder.
            return values.iter().map(ScalarValue::to_array).collect::<Result<_>>().map(Some);
        }
        let mut seen = HashSet::new();
        let mut columns = vec![Vec::with_capacity(self.keys.len()); self.types.len()];
        for key in &self.keys {
            let Some(values) = self.values(key)? else { continue };
            if seen.insert(values.clone()) {
                columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            }
        }
        if columns.iter().any(Vec::is_empty) {
            return Ok(None);
        }
        columns.into_iter().map(ScalarValue::iter_to_array).collect::<Result<_>>().map(Some)
    }

    /// One key's values; `None` if one is NULL.
    fn values(&self, key: &[KeyValue]) -> Result<Option<Vec<ScalarValue>>> {
        let values = key.iter().zip(&self.types).map(|(value, ty)| value.value(ty));
        let values = values.collect::<Result<Vec<ScalarValue>>>()?;
        Ok((!values.iter().any(ScalarValue::is_null)).then_some(values))
    }
}

/// The keys of `index` that `filters`, a conjunction, allow. `fields` describe the key's columns.
pub(crate) fn find(index: &Index, fields: &[&Field], filters: &[Expr]) -> Option<KeyLookup> {
    let conjuncts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
    let mut keys: Vec<Vec<KeyValue>> = vec![vec![]];
    for field in fields {
        let allowed = conjuncts.iter().find_map(|conjunct| allowed_values(conjunct, field))?;
        if keys.len().saturating_mul(allowed.len()) > KEYS_MAX {
            return None;
        }
        keys = keys
            .iter()
            .flat_map(|key| {
                allowed.iter().map(move |value| [key.as_slice(), std::slice::from_ref(value)].concat())
            })
            .collect();
    }
    if keys.is_empty() || fields.is_empty() {
        return None;
    }
    let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
    // Of other types equal values may have different keys, or unequal ones be written alike.
    let is_all = conjuncts.len() == fields.len() && types.iter().all(DataType::is_integer);
    Some(KeyLookup { index: index.id, name: index.name.clone(), keys, types, is_all })
}

/// The constants that a predicate confines a column to: `c = 1`, `c IN (1, 2)`, `c = 1 OR c = 2`.
fn allowed_values(predicate: &Expr, field: &Field) -> Option<Vec<KeyValue>> {
    let mut values = Vec::new();
    collect_values(predicate, field, &mut values)?;
    let mut seen = HashSet::new();
    values.retain(|value| match value {
        KeyValue::Constant(value) => seen.insert(value.clone()),
        KeyValue::Param(_) => true,
    });
    Some(values)
}

fn collect_values(predicate: &Expr, field: &Field, values: &mut Vec<KeyValue>) -> Option<()> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            collect_values(left, field, values)?;
            collect_values(right, field, values)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (column_type(left, field), column_type(right, field)) {
                (Some(ty), _) => constant(right, field, ty),
                (_, Some(ty)) => constant(left, field, ty),
                (None, None) => None,
            };
            values.push(value?);
            Some(())
        }
        Expr::InList(list) if !list.negated => {
            let ty = column_type(&list.expr, field)?;
            for item in &list.list {
                values.push(constant(item, field, ty)?);
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
fn constant(expr: &Expr, field: &Field, at: &DataType) -> Option<KeyValue> {
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
            inner => Param::of_call(inner).map(|param| KeyValue::Param(param.reader())),
        },
        _ => None,
    }
}
