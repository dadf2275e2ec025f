//! Finds predicates that name every column of a unique key, so that rows are looked up and not scanned for.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use quiver_base::IndexId;
use quiver_cluster::Index;
use std::collections::HashSet;

/// More keys than this are cheaper to find by a scan.
const KEYS_MAX: usize = 10_000;

/// Keys to look up. The whole predicate is still checked on the rows found.
#[derive(Clone, Debug)]
pub(crate) struct KeyLookup {
    /// The key's index.
    pub(crate) index: IndexId,
    /// The key's name, for EXPLAIN.
    pub(crate) name: String,
    /// One list a key column, all equally long.
    values: Vec<Vec<ScalarValue>>,
}

impl KeyLookup {
    /// How many keys.
    pub(crate) fn rows(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    /// The keys as storage wants them: an array a key column.
    pub(crate) fn arrays(&self) -> Result<Vec<ArrayRef>> {
        self.values.iter().map(|column| ScalarValue::iter_to_array(column.iter().cloned())).collect()
    }
}

/// The keys of `index` that `filters`, a conjunction, allow. `fields` describe the key's columns.
pub(crate) fn find(index: &Index, fields: &[&Field], filters: &[Expr]) -> Option<KeyLookup> {
    let conjuncts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
    let mut keys: Vec<Vec<ScalarValue>> = vec![vec![]];
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
    let values = (0..fields.len()).map(|at| keys.iter().map(|key| key[at].clone()).collect()).collect();
    Some(KeyLookup { index: index.id, name: index.name.clone(), values })
}

/// The constants that a predicate confines a column to: `c = 1`, `c IN (1, 2)`, `c = 1 OR c = 2`.
fn allowed_values(predicate: &Expr, field: &Field) -> Option<Vec<ScalarValue>> {
    let mut values = Vec::new();
    collect_values(predicate, field, &mut values)?;
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.clone()));
    Some(values)
}

fn collect_values(predicate: &Expr, field: &Field, values: &mut Vec<ScalarValue>) -> Option<()> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            collect_values(left, field, values)?;
            collect_values(right, field, values)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = if is_column(left, field) {
                constant(right, field)
            } else if is_column(right, field) {
                constant(left, field)
            } else {
                None
            };
            values.push(value?);
            Some(())
        }
        Expr::InList(list) if !list.negated && is_column(&list.expr, field) => {
            for item in &list.list {
                values.push(constant(item, field)?);
            }
            Some(())
        }
        _ => None,
    }
}

fn is_column(expr: &Expr, field: &Field) -> bool {
    matches!(expr, Expr::Column(column) if column.name == *field.name())
}

fn constant(expr: &Expr, field: &Field) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) if value.data_type() == *field.data_type() => Some(value.clone()),
        // As when a parameter's value was put in after the plan was simplified.
        Expr::Cast(cast) if cast.field.data_type() == field.data_type() => match cast.expr.as_ref() {
            Expr::Literal(value, _) => value.cast_to(field.data_type()).ok(),
            _ => None,
        },
        _ => None,
    }
}
