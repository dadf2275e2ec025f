//! What an expression's SQL type is, and how untyped literals and parameters get one: the rules of PostgreSQL's parser,
//! applied to DataFusion's expressions.

use super::cast_kernel::{CastContext, CastStyle};
use super::casts::{cast_expr, literal};
use super::moments;
use super::overloads::alike;
use super::params::Params;
use super::types::{is_float, is_lost_in_choice, is_number, is_oid, is_text, without_modifier};
use crate::catalog::{Choice, Reach, can_coerce, chosen_operator, common, is_vector_like};
use crate::decode::value_from_text;
use crate::functions::fixed_type;
use crate::oids::{type_of_oid, type_oid};
use arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{ExprSchema, ScalarValue};
use datafusion::logical_expr::expr::{Alias, Cast, Placeholder};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use quiver_base::{Error, Result, SQL_TYPE_KEY, SqlState, SqlType};
use quiver_exec::from_datafusion;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A field that an untyped literal made.
pub(crate) fn is_unknown_field(field: &Field) -> bool {
    field.data_type() == &DataType::Null
}

/// Marks a literal of a select list that was untyped: text for the client, of any type where it meets others or is stored.
const UNTYPED: &str = "quiver.untyped";

/// Whether a literal with this metadata was untyped.
pub(super) fn is_untyped(metadata: Option<&FieldMetadata>) -> bool {
    metadata.is_none_or(|metadata| metadata.inner().contains_key(UNTYPED))
}

/// Types expressions over one schema.
pub(crate) struct Typing<'a> {
    /// Columns in scope.
    pub schema: &'a dyn ExprSchema,
    /// The statement's parameters.
    pub params: &'a Params,
    /// Text forms.
    pub style: &'a Arc<CastStyle>,
}

impl Typing<'_> {
    /// The SQL type; `Unknown` for untyped strings, NULL and parameters. Operators and functions take types of times without the
    /// digits that they keep.
    pub(crate) fn of(&self, expr: &Expr) -> Result<SqlType> {
        Ok(self.carried(expr)?.with_precision(None))
    }

    fn carried(&self, expr: &Expr) -> Result<SqlType> {
        match expr {
            Expr::Alias(Alias { expr, .. }) => self.of(expr),
            Expr::Literal(ScalarValue::Utf8(_), None) | Expr::Literal(ScalarValue::Null, _) => {
                Ok(SqlType::Unknown)
            }
            Expr::Placeholder(Placeholder { field: Some(field), .. }) => {
                Ok(SqlType::of_field(field).unwrap_or(SqlType::Unknown))
            }
            Expr::Placeholder(Placeholder { id, field: None }) => {
                Ok(self.params.get(id).unwrap_or(SqlType::Unknown))
            }
            Expr::Cast(Cast { field, .. }) => Ok(SqlType::of_field(field).unwrap_or(SqlType::Unknown)),
            // Short cuts: DataFusion's way goes down the whole tree and prints it at each level.
            Expr::ScalarFunction(call) => match fixed_type(&call.func) {
                Some(ty) => Ok(ty.clone()),
                None if call.func.name() == "coalesce" => self.of_choice(expr, call.args.iter()),
                None => self.of_field(expr),
            },
            Expr::BinaryExpr(binary) => match binary.op {
                Operator::And
                | Operator::Or
                | Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq => Ok(SqlType::Bool),
                Operator::StringConcat => Ok(SqlType::Text),
                _ => self.of_field(expr),
            },
            // DataFusion's CASE does not say what its Arrow type stands for.
            Expr::Case(case) => {
                let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
                let types = results.map(|result| self.of(result)).collect::<Result<Vec<_>>>()?;
                match types.into_iter().find(|ty| *ty != SqlType::Unknown) {
                    Some(ty) if is_lost_in_choice(&ty) => Ok(ty),
                    _ => {
                        let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
                        self.of_choice(expr, results.map(|result| &**result))
                    }
                }
            }
            _ => self.of_field(expr),
        }
    }

    /// Of one of several values. Before they are brought to one type the engine takes a float beside a numeric for a numeric.
    fn of_choice<'e>(&self, expr: &Expr, values: impl Iterator<Item = &'e Expr>) -> Result<SqlType> {
        let types = values.map(|value| self.of(value)).collect::<Result<Vec<_>>>()?;
        let numbers = types.iter().all(|ty| is_number(ty) || *ty == SqlType::Unknown);
        match numbers && types.iter().any(is_float) {
            true => Ok(types.into_iter().fold(SqlType::Unknown, wider)),
            false => self.of_field(expr),
        }
    }

    fn of_field(&self, expr: &Expr) -> Result<SqlType> {
        let (_, field) = expr.to_field(self.schema).map_err(from_datafusion)?;
        SqlType::of_field(&field)
            .ok_or_else(|| Error::internal(format!("no SQL type is carried by {}", field.data_type())))
    }

    /// Gives an untyped operand a type; others stay as they are.
    pub(crate) fn adapt(&self, expr: Expr, to: &SqlType) -> Result<Expr> {
        match expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), None) => self.literal(&text, to),
            Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(None), None) => {
                Ok(literal(ScalarValue::try_from(&to.arrow_type()).map_err(from_datafusion)?, to))
            }
            Expr::Placeholder(Placeholder { id, field: None }) => {
                let ty = self.params.infer(&id, to);
                let field = Arc::new(ty.field(&id, true));
                Ok(Expr::Placeholder(Placeholder::new_with_field(id, Some(field))))
            }
            Expr::Alias(alias) => {
                let inner = self.adapt(*alias.expr, to)?;
                Ok(Expr::Alias(Alias { expr: Box::new(inner), ..alias }))
            }
            other => Ok(other),
        }
    }

    /// What a select list shows of an expression: an untyped one is text.
    pub(crate) fn output(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Alias(alias) => {
                let inner = self.output(*alias.expr)?;
                Ok(Expr::Alias(Alias { expr: Box::new(inner), ..alias }))
            }
            Expr::Literal(value @ (ScalarValue::Utf8(_) | ScalarValue::Null), None) => {
                let value = if let ScalarValue::Utf8(text) = value { text } else { None };
                let mark = |key: &str, value: &str| (key.to_owned(), value.to_owned());
                let marks = [mark(SQL_TYPE_KEY, "text"), mark(UNTYPED, "")];
                Ok(Expr::Literal(ScalarValue::Utf8(value), Some(FieldMetadata::from(BTreeMap::from(marks)))))
            }
            other => self.adapt(other, &SqlType::Text),
        }
    }

    fn literal(&self, text: &str, to: &SqlType) -> Result<Expr> {
        if is_oid(to) || is_text(to) {
            let value = ScalarValue::Utf8(Some(text.to_owned()));
            return cast_expr(
                Expr::Literal(value, None),
                &SqlType::Unknown,
                &without_modifier(to),
                CastContext::Explicit,
                self.style,
            );
        }
        Ok(match to {
            SqlType::Numeric(_) => numeric_literal(text, to, self.style)?,
            _ => literal(value_from_text(to, text, &self.style.input)?, to),
        })
    }

    /// Casts to a type as an implicit or explicit cast would.
    pub(crate) fn cast(&self, expr: Expr, to: &SqlType) -> Result<Expr> {
        if let Expr::Placeholder(Placeholder { id, field: None }) = &expr {
            let had = self.params.get(id);
            let ty = self.params.infer(id, &without_modifier(to));
            let field = Arc::new(ty.field(id, true));
            let expr = Expr::Placeholder(Placeholder::new_with_field(id.clone(), Some(field)));
            if had.is_none() && ty == *to {
                return Ok(expr);
            }
            return cast_expr(expr, &ty, to, CastContext::Explicit, self.style);
        }
        let from = self.of(&expr)?;
        if from == SqlType::Unknown && matches!(&expr, Expr::Literal(ScalarValue::Null, _)) {
            return self.adapt(expr, to);
        }
        cast_expr(expr, &from, to, CastContext::Explicit, self.style)
    }

    /// An explicit cast of the statement, its operand's casts first.
    pub(crate) fn lower_cast(&self, cast: Cast) -> Result<Expr> {
        let to = SqlType::of_field(&cast.field)
            .ok_or_else(|| Error::unsupported(format!("a cast to {}", cast.field.data_type())))?;
        let inner = match *cast.expr {
            Expr::Cast(inner) => self.lower_cast(inner)?,
            other => other,
        };
        self.cast(inner, &to)
    }

    /// Casts done, so that literals are literals.
    pub(crate) fn settle(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Cast(cast) => self.lower_cast(cast),
            // Also where the engine took it for what it stands beside: lists and bounds.
            Expr::Placeholder(Placeholder { id, field }) => match self.params.get(&id) {
                Some(ty) => {
                    let field = Arc::new(ty.field(&id, true));
                    Ok(Expr::Placeholder(Placeholder::new_with_field(id, Some(field))))
                }
                None => Ok(Expr::Placeholder(Placeholder { id, field })),
            },
            other => Ok(other),
        }
    }

    /// Makes two operands of a comparison comparable: an untyped one takes the other's type.
    pub(crate) fn pair(
        &self,
        left: Expr,
        right: Expr,
        operator: &str,
    ) -> Result<(Expr, Expr, SqlType, SqlType)> {
        let (left, right) = (super::keys::bare(self.settle(left)?), super::keys::bare(self.settle(right)?));
        let (a, b) = (self.of(&left)?, self.of(&right)?);
        let (left, right) = match (&a, &b) {
            (SqlType::Unknown, SqlType::Unknown) => {
                (self.adapt(left, &SqlType::Text)?, self.adapt(right, &SqlType::Text)?)
            }
            (SqlType::Unknown, _) => (self.adapt(left, &operand_type(&b))?, right),
            (_, SqlType::Unknown) => {
                let right = self.adapt(right, &operand_type(&a))?;
                (left, right)
            }
            _ => (left, right),
        };
        let (a, b) = (self.of(&left)?, self.of(&right)?);
        if !comparable(operator, &a, &b) {
            return Err(no_operator(operator, &a, &b));
        }
        if a != b && is_vector_like(&a) && is_vector_like(&b) {
            let mut both = alike(vec![left, right], self)?.into_iter();
            let (Some(left), Some(right)) = (both.next(), both.next()) else {
                return Err(Error::internal("two operands are two"));
            };
            let (a, b) = (self.of(&left)?, self.of(&right)?);
            return Ok((left, right, a, b));
        }
        if a != b && is_number(&a) && is_number(&b) && (is_float(&a) || is_float(&b)) {
            // The engine compares a float with a numeric as numerics, and a real with an integer as reals.
            let (left, right) = (self.cast(left, &SqlType::Float8)?, self.cast(right, &SqlType::Float8)?);
            return Ok((left, right, SqlType::Float8, SqlType::Float8));
        }
        if a != b && is_moment(&a) && is_moment(&b) {
            // The engine's own way goes through nanoseconds, which end in 2262.
            let both = wider(a, b);
            let (left, right) =
                (moments::as_bound(left, &both, self)?, moments::as_bound(right, &both, self)?);
            return Ok((left, right, both.clone(), both));
        }
        if let Some((left, right)) = super::keys::both(&left, &right, operator, (&a, &b)) {
            return Ok((left, right, a, b));
        }
        // Beside a `char(n)` a varchar is one, and a text is none.
        let padded = |ty: &SqlType| matches!(ty, SqlType::Bpchar(_));
        let like = |expr: Expr, ty: SqlType, other: bool| match ty {
            SqlType::Varchar(_) if other => {
                Ok((self.cast(expr, &SqlType::Bpchar(None))?, SqlType::Bpchar(None)))
            }
            ty => Ok::<_, Error>((expr, ty)),
        };
        let (a_padded, b_padded) = (padded(&a), padded(&b));
        let ((left, a), (right, b)) = (like(left, a, b_padded)?, like(right, b, a_padded)?);
        let (left, a) = self.without_padding(left, a)?;
        let (right, b) = self.without_padding(right, b)?;
        Ok((left, right, a, b))
    }

    /// Blanks at the end of a `char(n)` mean nothing to operators: it becomes text, which has none.
    pub(crate) fn without_padding(&self, expr: Expr, ty: SqlType) -> Result<(Expr, SqlType)> {
        match ty {
            SqlType::Bpchar(_) => Ok((self.cast(expr, &SqlType::Text)?, SqlType::Text)),
            ty => Ok((expr, ty)),
        }
    }

    /// Brings several expressions to one type, as CASE, COALESCE, VALUES and UNION do; 42804 in the name of `construct`.
    pub(crate) fn unify(&self, exprs: Vec<Expr>, construct: &str) -> Result<Vec<Expr>> {
        let exprs = exprs.into_iter().map(|expr| self.settle(expr)).collect::<Result<Vec<_>>>()?;
        let types = exprs.iter().map(|expr| self.of(expr)).collect::<Result<Vec<_>>>()?;
        let mut target = meeting(&types, construct)?;
        // Strings of different lengths meet in one of any length.
        let strings = |ty: &SqlType| matches!(ty, SqlType::Varchar(_) | SqlType::Bpchar(_));
        let null = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Null, _));
        let may_be_null = construct == "COALESCE";
        let one_length =
            exprs.iter().zip(&types).all(|(expr, ty)| *ty == target || (may_be_null && null(expr)));
        if strings(&target) && !one_length {
            target = without_modifier(&target);
        }
        // Numerics of different scales meet in the one that holds every scale.
        let differs = |ty: &SqlType| *ty != target && *ty != SqlType::Unknown;
        if matches!(target, SqlType::Numeric(Some(_))) && types.iter().any(differs) {
            target = SqlType::Numeric(None);
        }
        let typed = exprs
            .into_iter()
            .map(|expr| {
                let ty = self.of(&expr)?;
                if ty == SqlType::Unknown {
                    let as_it_is = matches!(target, SqlType::Numeric(_)) || (strings(&target) && null(&expr));
                    let to = if as_it_is { target.clone() } else { without_modifier(&target) };
                    return self.adapt(expr, &to);
                }
                let any_length = strings(&target) && without_modifier(&target) == target;
                let open = (target == SqlType::Numeric(None) || any_length) && ty != target;
                match open || without_modifier(&ty) != without_modifier(&target) {
                    true => self.cast(expr, &without_modifier(&target)),
                    false => Ok(expr),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        if is_vector_like(&target) { alike(typed, self) } else { Ok(typed) }
    }
}

fn is_moment(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Date | SqlType::Timestamp(_) | SqlType::Timestamptz(_))
}

/// The type in which values of these types meet, with the modifier of the first of it.
pub(super) fn meeting(types: &[SqlType], construct: &str) -> Result<SqlType> {
    let oids: Vec<u32> = types.iter().map(type_oid).collect();
    let named = |oid: u32| types[oids.iter().position(|it| *it == oid).unwrap_or(0)].clone();
    let target = common(&oids).map_err(|(a, b)| {
        let (a, b) = (without_modifier(&named(a)), without_modifier(&named(b)));
        Error::new(SqlState::DATATYPE_MISMATCH, format!("{construct} types {a} and {b} cannot be matched"))
    })?;
    for (ty, oid) in types.iter().zip(&oids) {
        if !can_coerce(*oid, target, Reach::Implicit) {
            let (from, to) = (without_modifier(ty), without_modifier(&named(target)));
            return Err(Error::new(
                SqlState::CANNOT_COERCE,
                format!("{construct} could not convert type {from} to {to}"),
            ));
        }
    }
    Ok(match oids.iter().position(|oid| *oid == target) {
        Some(at) => types[at].clone(),
        None => type_of_oid(target).unwrap_or(SqlType::Text),
    })
}

/// What an untyped operand becomes beside an operand of type `ty`.
pub(crate) fn operand_type(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Varchar(_) | SqlType::Char => SqlType::Text,
        SqlType::Numeric(_) => ty.clone(),
        other => without_modifier(other),
    }
}

/// The type of the two that holds the other's values.
pub(crate) fn wider(a: SqlType, b: SqlType) -> SqlType {
    let rank = |ty: &SqlType| match ty {
        SqlType::Int2 => 1,
        SqlType::Int4 => 2,
        SqlType::Int8 => 3,
        SqlType::Numeric(_) => 4,
        SqlType::Float4 => 5,
        SqlType::Float8 => 6,
        SqlType::Timestamp(_) => 1,
        SqlType::Timestamptz(_) => 2,
        _ => 0,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// Reads a number exactly: in the other operand's type if it fits there, so that columns need no cast.
fn numeric_literal(text: &str, to: &SqlType, style: &Arc<CastStyle>) -> Result<Expr> {
    let wide = value_from_text(&SqlType::Numeric(None), text, &style.input)?;
    if let (SqlType::Numeric(Some(_)), Ok(value)) = (to, value_from_text(to, text, &style.input)) {
        let back =
            super::casts::cast_scalar(&value, to, &SqlType::Numeric(None), CastContext::Explicit, style)?;
        if back == wide {
            return Ok(literal(value, to));
        }
    }
    Ok(literal(wide, &SqlType::Numeric(None)))
}

/// A vector value of a column's dimension.
pub(crate) fn fixed_size(value: ScalarValue, dim: u16) -> Result<ScalarValue> {
    let array = value.to_array().map_err(from_datafusion)?;
    let found = match &value {
        ScalarValue::List(list) => usize::try_from(list.value_length(0)).unwrap_or(0),
        ScalarValue::FixedSizeList(list) => usize::try_from(list.value_length()).unwrap_or(0),
        _ => usize::from(dim),
    };
    if value.is_null() {
        return ScalarValue::try_from(&SqlType::Vector(Some(dim)).arrow_type()).map_err(from_datafusion);
    }
    if found != usize::from(dim) {
        return Err(Error::new(
            SqlState::DATA_EXCEPTION,
            format!("different vector dimensions {dim} and {found}"),
        ));
    }
    let array = arrow::compute::cast(&array, &SqlType::Vector(Some(dim)).arrow_type())?;
    crate::functions::only_value(&array).map_err(from_datafusion)
}

/// Whether PostgreSQL has such an operator for two types.
pub(super) fn comparable(operator: &str, a: &SqlType, b: &SqlType) -> bool {
    let (a, b) = (without_modifier(a), without_modifier(b));
    // What reads system catalogs may compare a list of theirs with an array.
    let list = |ty: &SqlType| matches!(ty, SqlType::Int2Vector | SqlType::OidVector);
    if list(&a) || list(&b) {
        return true;
    }
    matches!(chosen_operator(operator, &[type_oid(&a), type_oid(&b)]), None | Some(Choice::One(_)))
}

/// 42883 with PostgreSQL's hint.
pub(crate) fn no_operator(operator: &str, a: &SqlType, b: &SqlType) -> Error {
    let (a, b) = (without_modifier(a), without_modifier(b));
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {a} {operator} {b}")).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}
