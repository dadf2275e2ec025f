//! Rows of INSERT … VALUES. Plain literals and parameters go straight into column builders, without a plan.

use super::defaults::{DefaultValues, Defaults};
use crate::bind::{Binder, CastContext, cast_scalar, coerce_expr, is_integer, is_text, without_modifier};
use crate::decode::ColumnBuilder;
use arrow::array::{Array, ArrayRef, new_null_array};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, UnaryOperator, Value, ValueWithSpan};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::from_datafusion;

/// One value of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// In the column type's text form.
    Text(String),
    Null,
    Default,
    /// A parameter, by position.
    Param(usize),
    /// Anything else, cast to the column's type.
    Expression(Box<Expr>),
}

/// Whether an expression is the word DEFAULT.
pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// Binds one value for a column.
pub(super) fn bind_cell(binder: &Binder, expr: &ast::Expr, ty: &SqlType, column: &str) -> Result<Cell> {
    if let Some(cell) = simple(binder, expr, ty) {
        return Ok(cell);
    }
    let schema = DFSchema::empty();
    let bound = binder.expression(expr.clone(), &schema)?;
    let bound = coerce_expr(bound, &schema, &binder.params, &binder.style)?;
    let bound = binder.assigned(bound, &schema, ty, column, CastContext::Assignment)?;
    Ok(Cell::Expression(Box::new(bound)))
}

fn simple(binder: &Binder, expr: &ast::Expr, ty: &SqlType) -> Option<Cell> {
    if is_default(expr) {
        return Some(Cell::Default);
    }
    match expr {
        ast::Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::Null => Some(Cell::Null),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(Cell::Text(text.clone()))
            }
            Value::DollarQuotedString(text) => Some(Cell::Text(text.value.clone())),
            Value::Number(text, _) => number(text, ty),
            Value::Boolean(value) if *ty == SqlType::Bool => Some(Cell::Text(value.to_string())),
            Value::Placeholder(id) => {
                // A declared type that is not the column's is cast like any expression.
                let declared = binder.params.infer(id, &without_modifier(ty));
                if declared != without_modifier(ty) {
                    return None;
                }
                id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1).map(Cell::Param)
            }
            _ => None,
        },
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => {
                number(&format!("-{text}"), ty)
            }
            _ => None,
        },
        // '[1,2,3]'::vector and the like, where the cast is to the column's own type.
        ast::Expr::Cast { expr, data_type, .. } => match expr.as_ref() {
            ast::Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => {
                let cast = crate::bind::sql_type(data_type).ok()?;
                (cast == without_modifier(ty) && !is_text(ty)).then(|| Cell::Text(text.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Number literals that the column's input function reads as an assignment would.
fn number(text: &str, ty: &SqlType) -> Option<Cell> {
    let integer = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let plain = match ty {
        ty if is_integer(ty) => integer,
        SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_) => true,
        SqlType::Text | SqlType::Varchar(None) => integer && text.len() < 18 && !text.starts_with('0'),
        _ => false,
    };
    plain.then(|| Cell::Text(text.to_owned()))
}

/// What turns cells into a column.
pub(super) struct Evaluation<'a> {
    pub(super) binder: &'a Binder,
    pub(super) params: &'a [ScalarValue],
    pub(super) types: &'a [SqlType],
    pub(super) defaults: &'a Defaults,
    pub(super) default_values: &'a DefaultValues<'a>,
}

impl Evaluation<'_> {
    /// A column of cells; `position` is the column's among the live ones.
    pub(super) async fn column<'c>(
        &self,
        cells: impl Iterator<Item = &'c Cell>,
        ty: &SqlType,
        position: usize,
    ) -> Result<ArrayRef> {
        let mut parts: Vec<ArrayRef> = Vec::new();
        let mut texts = ColumnBuilder::new(ty, cells.size_hint().0);
        for cell in cells {
            let part = match cell {
                Cell::Text(text) => {
                    texts.append_text(text, &self.binder.style.input)?;
                    continue;
                }
                Cell::Null => {
                    texts.append_null();
                    continue;
                }
                Cell::Default => self.default_values.column(self.defaults, position, 1).await?,
                Cell::Param(index) => self.param(*index, ty)?,
                Cell::Expression(expr) => self.expression(expr, ty)?,
            };
            if texts.len() > 0 {
                parts.push(texts.finish());
            }
            parts.push(part);
        }
        if texts.len() > 0 || parts.is_empty() {
            parts.push(texts.finish());
        }
        if let [only] = parts.as_slice() {
            return Ok(only.clone());
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(arrow::compute::concat(&parts)?)
    }

    fn param(&self, index: usize, ty: &SqlType) -> Result<ArrayRef> {
        let (Some(value), Some(from)) = (self.params.get(index), self.types.get(index)) else {
            return Err(Error::new(
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter ${}", index + 1),
            ));
        };
        if value.is_null() {
            return Ok(new_null_array(&ty.arrow_type(), 1));
        }
        let value = cast_scalar(value, from, ty, CastContext::Assignment, &self.binder.style)?;
        value.to_array().map_err(from_datafusion)
    }

    fn expression(&self, expr: &Expr, ty: &SqlType) -> Result<ArrayRef> {
        let expr = self.binder.fill_in(expr.clone(), self.params, self.types)?;
        if let Expr::Literal(value, _) = &expr {
            return Ok(arrow::compute::cast(&value.to_array().map_err(from_datafusion)?, &ty.arrow_type())?);
        }
        let schema = DFSchema::empty();
        let compiled = self.binder.engine.bind_expr(&self.binder.state, expr, &schema)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let empty = arrow::datatypes::Schema::empty();
        let nothing = arrow::array::RecordBatch::try_new_with_options(empty.into(), Vec::new(), &options)?;
        let columns = quiver_exec::evaluate(&[compiled], &nothing)?;
        Ok(arrow::compute::cast(&columns[0], &ty.arrow_type())?)
    }
}

/// Whether an expression needs rows of other tables: it cannot be evaluated on its own.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut found = false;
    let walked = expr.apply(|expr| {
        found |= matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_err() || found
}
