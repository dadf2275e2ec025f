//! Conditions of checks as pg_get_constraintdef shows them: every operator in parentheses, literals with the type that they
//! are compared as. What is not understood is shown as it was written.

use super::names::quote_ident;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator as Op, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use quiver_base::SqlType;
use quiver_cluster::Table;

/// A check's condition, without the parentheses of CHECK. `pretty` leaves out what precedence says.
pub(super) fn condition(sql: &str, table: &Table, pretty: bool) -> String {
    let shown =
        crate::parser::parse_expression(sql).ok().and_then(|expr| Shower { table, pretty }.show(&expr));
    match (shown, pretty) {
        (Some(shown), _) => shown.text,
        (None, true) => sql.to_owned(),
        (None, false) => format!("({sql})"),
    }
}

/// An expression in words.
struct Shown {
    text: String,
    ty: SqlType,
    /// A number or a string that takes its neighbour's type.
    literal: bool,
    /// Needs no parentheses before a cast.
    atom: bool,
}

struct Shower<'a> {
    table: &'a Table,
    pretty: bool,
}

impl Shower<'_> {
    fn show(&self, expr: &Expr) -> Option<Shown> {
        match expr {
            Expr::Nested(inner) => self.show(inner),
            Expr::Identifier(ident) => {
                let name = crate::bind::folded(ident);
                let column = self.table.columns.iter().find(|it| it.name == name && !it.dropped)?;
                let ty = crate::bind::without_modifier(&column.ty);
                Some(Shown { text: quote_ident(&name), ty, literal: false, atom: true })
            }
            Expr::Value(value) => literal(&value.value),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                let inner = self.show(expr)?;
                self.whole(format!("NOT {}", inner.text), SqlType::Bool)
            }
            Expr::IsNull(inner) => {
                let inner = self.show(inner)?;
                self.whole(format!("{} IS NULL", inner.text), SqlType::Bool)
            }
            Expr::IsNotNull(inner) => {
                let inner = self.show(inner)?;
                self.whole(format!("{} IS NOT NULL", inner.text), SqlType::Bool)
            }
            Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                let FunctionArguments::List(list) = &function.args else { return None };
                let ty = match name.as_str() {
                    "length" | "char_length" | "octet_length" => SqlType::Int4,
                    "lower" | "upper" | "btrim" => SqlType::Text,
                    _ => return None,
                };
                let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else {
                    return None;
                };
                let argument = self.show(argument)?;
                let argument = self.as_type(argument, &SqlType::Text)?;
                Some(Shown { text: format!("{name}({})", argument.text), ty, literal: false, atom: true })
            }
            _ => None,
        }
    }

    /// An operator with its operands.
    fn whole(&self, text: String, ty: SqlType) -> Option<Shown> {
        let text = if self.pretty { text } else { format!("({text})") };
        Some(Shown { text, ty, literal: false, atom: !self.pretty })
    }

    fn binary(&self, left: &Expr, op: &Op, right: &Expr) -> Option<Shown> {
        let (left, right) = (self.show(left)?, self.show(right)?);
        match op {
            Op::And | Op::Or => {
                let word = if *op == Op::And { "AND" } else { "OR" };
                // In pretty form only a lower precedence inside needs parentheses.
                let side = |it: Shown| match self.pretty && *op == Op::And && it.text.contains(" OR ") {
                    true => format!("({})", it.text),
                    false => it.text,
                };
                self.whole(format!("{} {word} {}", side(left), side(right)), SqlType::Bool)
            }
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
                let ty = common(&left, &right)?;
                let (left, right) = (self.as_type(left, &ty)?, self.as_type(right, &ty)?);
                self.whole(format!("{} {op} {}", left.text, right.text), SqlType::Bool)
            }
            _ => None,
        }
    }

    /// The expression as one of a type.
    fn as_type(&self, shown: Shown, ty: &SqlType) -> Option<Shown> {
        let integers = |ty: &SqlType| matches!(ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8);
        let string = shown.literal && shown.ty == SqlType::Unknown;
        if !string && (shown.ty == *ty || integers(&shown.ty) && integers(ty)) {
            return Some(shown);
        }
        let text = match shown.atom && (self.pretty || string) {
            true => format!("{}::{ty}", shown.text),
            false => format!("({})::{ty}", shown.text),
        };
        Some(Shown { text, ty: ty.clone(), literal: false, atom: true })
    }
}

fn literal(value: &Value) -> Option<Shown> {
    let (text, ty) = match value {
        Value::Number(text, _) if text.parse::<i32>().is_ok() => (text.clone(), SqlType::Int4),
        Value::Number(text, _) if text.parse::<i64>().is_ok() => (format!("'{text}'::bigint"), SqlType::Int8),
        Value::Number(text, _) => (text.clone(), SqlType::Numeric(None)),
        Value::SingleQuotedString(text) => (format!("'{}'", text.replace('\'', "''")), SqlType::Unknown),
        Value::Boolean(value) => (value.to_string(), SqlType::Bool),
        _ => return None,
    };
    Some(Shown { text, ty, literal: true, atom: true })
}

/// The type that two operands are compared as.
fn common(left: &Shown, right: &Shown) -> Option<SqlType> {
    let text = |ty: &SqlType| match ty {
        SqlType::Varchar(_) => SqlType::Text,
        other => other.clone(),
    };
    let (a, b) = (text(&left.ty), text(&right.ty));
    match (&a, &b) {
        (SqlType::Unknown, SqlType::Unknown) => Some(SqlType::Text),
        (SqlType::Unknown, other) | (other, SqlType::Unknown) => Some(other.clone()),
        (a, b) if a == b => Some(a.clone()),
        _ => {
            let rank = |ty: &SqlType| match ty {
                SqlType::Int2 => Some(1),
                SqlType::Int4 => Some(2),
                SqlType::Int8 => Some(3),
                SqlType::Numeric(_) => Some(4),
                SqlType::Float8 => Some(6),
                _ => None,
            };
            let (first, second) = (rank(&a)?, rank(&b)?);
            Some(if first >= second { a } else { b })
        }
    }
}
