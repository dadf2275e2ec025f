//! Indexed expressions, conditions and defaults as PostgreSQL prints them: casts as `(e)::type`, constants with their types, operators by their
//! names, everything in parentheses. What is not known here is printed as it was written.

use super::names::quote_ident;
use crate::bind::{folded, is_text, sql_type, without_modifier};
use crate::dml::live_columns;
use crate::parser::parse_expression;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
    Value,
};
use quiver_base::SqlType;
use quiver_cluster::Table;

/// The text of an expression over a row of the table.
pub(super) fn expression_text(table: &Table, sql: &str, pretty: bool) -> String {
    match parse_expression(sql) {
        Ok(expr) => Printer { table: Some(table), pretty }.print(&expr).text,
        // The catalog keeps nothing that does not parse.
        Err(_) => sql.to_owned(),
    }
}

/// The text of a column's default, which reads no row.
pub(super) fn default_text(sql: &str) -> String {
    match parse_expression(sql) {
        Ok(expr) => Printer { table: None, pretty: false }.print(&expr).text,
        Err(_) => sql.to_owned(),
    }
}

/// How tightly a text holds together: whether it needs parentheses inside of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A name, a constant, a call.
    Simple,
    /// `a = b`.
    Operator,
    /// `a AND b`, `NOT a`, `a IS NULL`.
    Boolean,
    /// `a = ANY (…)`.
    Any,
}

struct Printed {
    text: String,
    /// `None`: not known.
    ty: Option<SqlType>,
    shape: Shape,
    constant: bool,
}

struct Printer<'a> {
    /// Whose columns an expression may read.
    table: Option<&'a Table>,
    pretty: bool,
}

fn simple(text: String, ty: Option<SqlType>) -> Printed {
    Printed { text, ty, shape: Shape::Simple, constant: false }
}

impl Printer<'_> {
    fn print(&self, expr: &Expr) -> Printed {
        match expr {
            Expr::Nested(inner) => self.print(inner),
            Expr::Identifier(name) => self.column(&folded(name)),
            Expr::CompoundIdentifier(parts) => self.column(&parts.last().map(folded).unwrap_or_default()),
            Expr::Value(value) => constant(&value.value),
            Expr::Cast { expr, data_type, .. } => self.cast(expr, data_type),
            Expr::Function(call) => self.call(call),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                let inner = self.print(expr);
                self.boolean(format!("NOT {}", self.operand(&inner)))
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.print(expr) {
                inner if inner.constant => {
                    Printed { text: format!("'-{}'::{}", inner.text, shown(&inner.ty)), ..inner }
                }
                inner => {
                    self.wrapped(format!("- {}", self.operand(&inner)), inner.ty.clone(), Shape::Operator)
                }
            },
            Expr::IsNull(inner) => self.test(inner, "IS NULL"),
            Expr::IsNotNull(inner) => self.test(inner, "IS NOT NULL"),
            Expr::IsTrue(inner) => self.test(inner, "IS TRUE"),
            Expr::IsNotTrue(inner) => self.test(inner, "IS NOT TRUE"),
            Expr::IsFalse(inner) => self.test(inner, "IS FALSE"),
            Expr::IsNotFalse(inner) => self.test(inner, "IS NOT FALSE"),
            Expr::Like { negated, expr, pattern, escape_char: None, any: false } => {
                self.operator(expr, if *negated { "!~~" } else { "~~" }, pattern)
            }
            Expr::ILike { negated, expr, pattern, escape_char: None, any: false } => {
                self.operator(expr, if *negated { "!~~*" } else { "~~*" }, pattern)
            }
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => match array_of(right) {
                Some(list) => self.in_list(left, list, false),
                None => simple(expr.to_string(), None),
            },
            other => simple(other.to_string(), None),
        }
    }

    fn column(&self, name: &str) -> Printed {
        let columns = self.table.map(live_columns).unwrap_or_default();
        let column = columns.into_iter().find(|column| column.name == name);
        simple(quote_ident(name), column.map(|column| column.ty.clone()))
    }

    /// Parentheses that `pretty` leaves out at the outside.
    fn wrapped(&self, text: String, ty: Option<SqlType>, shape: Shape) -> Printed {
        let text = if self.pretty { text } else { format!("({text})") };
        Printed { text, ty, shape, constant: false }
    }

    fn boolean(&self, text: String) -> Printed {
        self.wrapped(text, Some(SqlType::Bool), Shape::Boolean)
    }

    /// An operand of an operator.
    fn operand(&self, inner: &Printed) -> String {
        match inner.shape {
            Shape::Simple => inner.text.clone(),
            _ if self.pretty => format!("({})", inner.text),
            _ => inner.text.clone(),
        }
    }

    /// An operand of AND, OR and NOT, which bind looser than every operator.
    fn conjunct(&self, inner: &Printed) -> String {
        match inner.shape {
            Shape::Any => self.operand(inner),
            _ => inner.text.clone(),
        }
    }

    fn cast(&self, inner: &Expr, data_type: &DataType) -> Printed {
        let ty = sql_type(data_type).ok();
        let name = ty.as_ref().map_or_else(|| data_type.to_string().to_lowercase(), ToString::to_string);
        if let Expr::Value(value) = inner
            && let Some(text) = untyped(&value.value)
        {
            // The bare names would mean one bit and one character.
            let name = match &ty {
                Some(SqlType::Bit(None)) => "\"bit\"".to_owned(),
                Some(SqlType::Bpchar(None)) => "bpchar".to_owned(),
                _ => name,
            };
            return Printed { text: format!("{text}::{name}"), ty, shape: Shape::Simple, constant: true };
        }
        let inner = self.print(inner);
        simple(self.cast_text(&inner, &name), ty)
    }

    fn cast_text(&self, inner: &Printed, ty: &str) -> String {
        match (self.pretty, inner.shape) {
            (true, Shape::Simple) => format!("{}::{ty}", inner.text),
            (_, Shape::Simple) => format!("({})::{ty}", inner.text),
            (true, _) => format!("({})::{ty}", inner.text),
            // It has parentheses already.
            (false, _) => format!("{}::{ty}", inner.text),
        }
    }

    fn call(&self, call: &Function) -> Printed {
        // CURRENT_DATE and its kin.
        let FunctionArguments::List(list) = &call.args else {
            return simple(call.to_string().to_uppercase(), None);
        };
        let args: Vec<String> = list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    let printed = self.print(expr);
                    // Arguments are set off by commas.
                    typed(&printed, None, self.pretty)
                }
                other => other.to_string(),
            })
            .collect();
        let name = call.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        let ty = match name.as_str() {
            "lower" | "upper" | "btrim" | "substr" | "md5" => Some(SqlType::Text),
            "length" | "vector_dims" => Some(SqlType::Int4),
            _ => None,
        };
        simple(format!("{}({})", quote_ident(&name), args.join(", ")), ty)
    }

    fn binary(&self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Printed {
        match op {
            BinaryOperator::And | BinaryOperator::Or => {
                let mut parts = Vec::new();
                self.flatten(left, op, &mut parts);
                parts.push(self.part(right));
                let word = if *op == BinaryOperator::And { " AND " } else { " OR " };
                self.boolean(parts.join(word))
            }
            BinaryOperator::NotEq => self.operator(left, "<>", right),
            other => self.operator(left, &other.to_string(), right),
        }
    }

    /// `a AND b AND c` is one list; `a AND (b AND c)` is not.
    fn flatten(&self, expr: &Expr, op: &BinaryOperator, parts: &mut Vec<String>) {
        match expr {
            Expr::Nested(inner) => self.flatten(inner, op, parts),
            Expr::BinaryOp { left, op: own, right } if own == op => {
                self.flatten(left, op, parts);
                parts.push(self.part(right));
            }
            other => parts.push(self.part(other)),
        }
    }

    /// One part of such a list. AND binds tighter than OR without parentheses.
    fn part(&self, expr: &Expr) -> String {
        let printed = self.print(expr);
        let mut inner = expr;
        while let Expr::Nested(nested) = inner {
            inner = nested;
        }
        match inner {
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => self.operand(&printed),
            _ => self.conjunct(&printed),
        }
    }

    fn operator(&self, left: &Expr, op: &str, right: &Expr) -> Printed {
        let (left, right) = (self.print(left), self.print(right));
        let result = match op {
            "=" | "<>" | "<" | "<=" | ">" | ">=" | "~~" | "!~~" | "~~*" | "!~~*" | "@>" | "<@" | "?" => {
                Some(SqlType::Bool)
            }
            "->>" => Some(SqlType::Text),
            "->" => Some(SqlType::Jsonb),
            _ => left.ty.clone(),
        };
        let text = format!("{} {op} {}", self.side(&left, &right), self.side(&right, &left));
        self.wrapped(text, result, Shape::Operator)
    }

    /// One side of an operator, cast to what the other side makes of it.
    fn side(&self, own: &Printed, other: &Printed) -> String {
        let own_type = own.ty.as_ref();
        if own.constant {
            return typed(own, other.ty.as_ref(), self.pretty);
        }
        match own_type {
            // text's operators serve varchar.
            Some(SqlType::Varchar(_)) => self.cast_text(own, "text"),
            Some(SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
                if matches!(other.ty, Some(SqlType::Numeric(_))) =>
            {
                self.cast_text(own, "numeric")
            }
            _ => self.operand(own),
        }
    }

    fn test(&self, inner: &Expr, test: &str) -> Printed {
        let inner = self.print(inner);
        self.boolean(format!("{} {test}", self.operand(&inner)))
    }

    fn between(&self, expr: &Expr, negated: bool, low: &Expr, high: &Expr) -> Printed {
        let (first, second, word) = if negated { ("<", ">", " OR ") } else { (">=", "<=", " AND ") };
        let parts = [self.operator(expr, first, low).text, self.operator(expr, second, high).text];
        self.boolean(parts.join(word))
    }

    fn in_list(&self, expr: &Expr, list: &[Expr], negated: bool) -> Printed {
        let left = self.print(expr);
        let item = |item: &Expr| {
            let printed = self.print(item);
            match (&left.ty, printed.constant) {
                (Some(SqlType::Varchar(_)), true) => {
                    typed(&printed, Some(&SqlType::Varchar(None)), self.pretty)
                }
                (ty, _) => typed(&printed, ty.as_ref(), self.pretty),
            }
        };
        let items: Vec<String> = list.iter().map(item).collect();
        let (op, word) = if negated { ("<>", "ALL") } else { ("=", "ANY") };
        let (side, array) = match left.ty {
            Some(SqlType::Varchar(_)) => {
                (self.cast_text(&left, "text"), format!("(ARRAY[{}])::text[]", items.join(", ")))
            }
            _ => (self.operand(&left), format!("ARRAY[{}]", items.join(", "))),
        };
        self.wrapped(format!("{side} {op} {word} ({array})"), Some(SqlType::Bool), Shape::Any)
    }
}

/// The items of `ARRAY[…]`, cast or not.
fn array_of(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Array(array) => Some(&array.elem),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => array_of(inner),
        _ => None,
    }
}

fn shown(ty: &Option<SqlType>) -> String {
    ty.as_ref().map_or_else(|| "integer".to_owned(), ToString::to_string)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A string or NULL, which has the type that it is cast to.
fn untyped(value: &Value) -> Option<String> {
    match value {
        Value::SingleQuotedString(text) => Some(quoted(text)),
        Value::Null => Some("NULL".to_owned()),
        _ => None,
    }
}

fn constant(value: &Value) -> Printed {
    let (text, ty) = match value {
        Value::SingleQuotedByteStringLiteral(bits) => {
            (format!("{}::\"bit\"", quoted(bits)), Some(SqlType::Bit(None)))
        }
        Value::SingleQuotedString(text) => (quoted(text), Some(SqlType::Unknown)),
        Value::Number(text, _) if text.contains(['.', 'e', 'E']) => {
            (text.clone(), Some(SqlType::Numeric(None)))
        }
        Value::Number(text, _) => (text.clone(), Some(SqlType::Int4)),
        Value::Boolean(value) => (value.to_string(), Some(SqlType::Bool)),
        other => (other.to_string(), None),
    };
    Printed { text, ty, shape: Shape::Simple, constant: true }
}

/// A constant with its type, or with the one that its neighbour gives it.
fn typed(printed: &Printed, neighbour: Option<&SqlType>, pretty: bool) -> String {
    if !printed.constant {
        return printed.text.clone();
    }
    match (&printed.ty, neighbour) {
        (Some(SqlType::Unknown), Some(ty)) if !is_text(ty) => {
            format!("{}::{}", printed.text, without_modifier(ty))
        }
        (Some(SqlType::Unknown), Some(SqlType::Varchar(None))) => {
            format!("{}::character varying", printed.text)
        }
        (Some(SqlType::Unknown), Some(SqlType::Bpchar(_))) => format!("{}::bpchar", printed.text),
        (Some(SqlType::Unknown), _) => format!("{}::text", printed.text),
        (Some(SqlType::Int4 | SqlType::Numeric(_)), Some(ty @ (SqlType::Float4 | SqlType::Float8))) => {
            let ty = if *ty == SqlType::Float4 { SqlType::Float8 } else { ty.clone() };
            number_cast(&printed.text, &ty.to_string(), pretty)
        }
        (Some(SqlType::Int4), Some(SqlType::Numeric(_))) => number_cast(&printed.text, "numeric", pretty),
        _ => printed.text.clone(),
    }
}

fn number_cast(number: &str, ty: &str, pretty: bool) -> String {
    if pretty { format!("{number}::{ty}") } else { format!("({number})::{ty}") }
}
