//! Binary operators, subscripts and array literals with PostgreSQL's types: what DataFusion asks an [`ExprPlanner`].

use super::cast_kernel::CastStyle;
use super::casts::cast_expr;
use super::overloads::{comparison, operator_call};
use super::params::Params;
use super::resolve;
use super::types::{is_float, is_integer, is_number, is_oid, is_text};
use super::typing::{Typing, no_operator, wider};
use super::{CastContext, without_modifier};
use crate::catalog::is_vector_like;
use crate::functions::{self, Function, FunctionSet};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Like, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, GetFieldAccess, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator as Op;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// Plans operators for one statement.
#[derive(Debug)]
pub(crate) struct PgOperators {
    /// The statement's parameters.
    pub params: Arc<Params>,
    /// Text forms.
    pub style: Arc<CastStyle>,
    /// The vector extension's and our own functions, by name.
    pub functions: Arc<FunctionSet>,
}

impl ExprPlanner for PgOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let planned = self.binary(&op, left, right, schema).map_err(to_datafusion)?;
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawFieldAccessExpr>> {
        let typing = Typing { schema, params: &self.params, style: &self.style };
        let int = |expr: Expr| {
            let expr = typing.settle(expr)?;
            typing.adapt(expr, &SqlType::Int4)
        };
        let (name, args) = match expr.field_access {
            GetFieldAccess::ListIndex { key } => {
                ("array_subscript", vec![expr.expr, int(*key).map_err(to_datafusion)?])
            }
            GetFieldAccess::ListRange { start, stop, .. } => (
                "array_slice_pg",
                vec![expr.expr, int(*start).map_err(to_datafusion)?, int(*stop).map_err(to_datafusion)?],
            ),
            field_access => {
                return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr: expr.expr }));
            }
        };
        self.call(name, args).map(PlannerResult::Planned).map_err(to_datafusion)
    }

    fn plan_substring(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        self.deferred("substr", Some("substring"), args).map(PlannerResult::Planned).map_err(to_datafusion)
    }

    fn plan_position(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        self.deferred("strpos", None, args).map(PlannerResult::Planned).map_err(to_datafusion)
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        let [Expr::Literal(ScalarValue::Utf8(Some(field)), _), _] = args.as_slice() else {
            return Ok(PlannerResult::Original(args));
        };
        let function = functions::extract(field, self.style.input.time_zone);
        Ok(PlannerResult::Planned(udf(function, args[1..].to_vec())))
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, schema: &DFSchema) -> DfResult<PlannerResult<Vec<Expr>>> {
        let typing = Typing { schema, params: &self.params, style: &self.style };
        Ok(PlannerResult::Original(typing.unify(exprs, "ARRAY").map_err(to_datafusion)?))
    }
}

fn udf(function: Function, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), args))
}

fn native(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

impl PgOperators {
    fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let function = self.functions.get(name).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
        })?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }

    /// A call of a function that bit strings have as well as text.
    fn deferred(&self, name: &str, called: Option<&'static str>, args: Vec<Expr>) -> Result<Expr> {
        let Expr::ScalarFunction(call) = self.call(name, args)? else {
            return Err(Error::internal("a call is a call"));
        };
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
            functions::deferred_as(call.func, called),
            call.args,
        )))
    }

    fn binary(&self, op: &Op, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        let typing = Typing { schema, params: &self.params, style: &self.style };
        let custom;
        let op = match op {
            Op::PGCustomBinaryOperator(parts) => {
                let name = parts.last().map(String::as_str).unwrap_or_default();
                custom = by_name(name).ok_or_else(|| {
                    Error::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {name}"))
                })?;
                &custom
            }
            other => other,
        };
        let (left, right) = resolve::operands(&op.to_string(), left, right, &typing)?;
        let (left, right) = match symbol(op) {
            Some(symbol) => match operator_call(symbol, left, right, &typing)? {
                Ok(call) => return Ok(call),
                Err(operands) => operands,
            },
            None => (left, right),
        };
        if let Some(op) = by_bytes(&op.to_string()) {
            return self.compare(&typing, left, op, right);
        }
        match op {
            Op::And | Op::Or => {
                let left = typing.adapt(typing.settle(left)?, &SqlType::Bool)?;
                let right = typing.adapt(typing.settle(right)?, &SqlType::Bool)?;
                Ok(native(left, if *op == Op::And { Operator::And } else { Operator::Or }, right))
            }
            Op::Eq => self.compare(&typing, left, Operator::Eq, right),
            Op::NotEq => self.compare(&typing, left, Operator::NotEq, right),
            Op::Lt => self.compare(&typing, left, Operator::Lt, right),
            Op::LtEq => self.compare(&typing, left, Operator::LtEq, right),
            Op::Gt => self.compare(&typing, left, Operator::Gt, right),
            Op::GtEq => self.compare(&typing, left, Operator::GtEq, right),
            Op::Plus => self.arithmetic(&typing, left, "+", Operator::Plus, right),
            Op::Minus => self.arithmetic(&typing, left, "-", Operator::Minus, right),
            Op::Multiply => self.arithmetic(&typing, left, "*", Operator::Multiply, right),
            Op::Divide => self.arithmetic(&typing, left, "/", Operator::Divide, right),
            Op::Modulo => self.arithmetic(&typing, left, "%", Operator::Modulo, right),
            Op::StringConcat => self.concat(&typing, left, right),
            Op::PGExp => {
                let (left, right) = self.powers(&typing, left, right)?;
                self.call("power", vec![left, right])
            }
            Op::PGRegexMatch => self.regex(&typing, left, Operator::RegexMatch, right),
            Op::PGRegexIMatch => self.regex(&typing, left, Operator::RegexIMatch, right),
            Op::PGRegexNotMatch => self.regex(&typing, left, Operator::RegexNotMatch, right),
            Op::PGRegexNotIMatch => self.regex(&typing, left, Operator::RegexNotIMatch, right),
            Op::PGLikeMatch => self.like(&typing, left, right, false, false),
            Op::PGILikeMatch => self.like(&typing, left, right, false, true),
            Op::PGNotLikeMatch => self.like(&typing, left, right, true, false),
            Op::PGNotILikeMatch => self.like(&typing, left, right, true, true),
            Op::BitwiseAnd => self.bits(&typing, left, Operator::BitwiseAnd, right),
            Op::BitwiseOr => self.bits(&typing, left, Operator::BitwiseOr, right),
            Op::PGBitwiseXor => self.bits(&typing, left, Operator::BitwiseXor, right),
            Op::PGBitwiseShiftLeft => self.bits(&typing, left, Operator::BitwiseShiftLeft, right),
            Op::PGBitwiseShiftRight => self.bits(&typing, left, Operator::BitwiseShiftRight, right),
            Op::AtArrow | Op::ArrowAt | Op::PGOverlap => self.contains(&typing, op, left, right),
            Op::PGStartsWith => self.call("starts_with", vec![typing.settle(left)?, typing.settle(right)?]),
            other => self.json(&typing, other, left, right),
        }
    }

    fn compare(&self, typing: &Typing<'_>, left: Expr, op: Operator, right: Expr) -> Result<Expr> {
        let (left, right) = (typing.settle(left)?, typing.settle(right)?);
        if is_vector_like(&typing.of(&left)?) || is_vector_like(&typing.of(&right)?) {
            return comparison(op, left, right, typing);
        }
        let (left, right, a, b) = typing.pair(left, right, &op.to_string())?;
        // An oid beside an integer or another kind of oid: both are carried by bigint.
        if is_oid(&a) != is_oid(&b) && is_number(&b) {
            let right = cast_expr(right, &b, &SqlType::Int8, CastContext::Explicit, &self.style)?;
            return Ok(native(left, op, right));
        }
        if is_oid(&b) && is_number(&a) && !is_oid(&a) {
            let left = cast_expr(left, &a, &SqlType::Int8, CastContext::Explicit, &self.style)?;
            return Ok(native(left, op, right));
        }
        Ok(native(left, op, right))
    }

    /// The operands of `^`: numerics if one is and none is a float, doubles otherwise.
    fn powers(&self, typing: &Typing<'_>, left: Expr, right: Expr) -> Result<(Expr, Expr)> {
        let (left, right, a, b) = typing.pair(left, right, "^")?;
        if !is_number(&a) || !is_number(&b) {
            return Err(no_operator("^", &a, &b));
        }
        let exact =
            [&a, &b].iter().any(|ty| matches!(ty, SqlType::Numeric(_))) && !is_float(&a) && !is_float(&b);
        let ty = if exact { SqlType::Numeric(None) } else { SqlType::Float8 };
        Ok((typing.cast(left, &ty)?, typing.cast(right, &ty)?))
    }

    fn arithmetic(
        &self,
        typing: &Typing<'_>,
        left: Expr,
        symbol: &'static str,
        op: Operator,
        right: Expr,
    ) -> Result<Expr> {
        let (left, right) = (typing.settle(left)?, typing.settle(right)?);
        let (a, b) = (typing.of(&left)?, typing.of(&right)?);
        let (left, right, a, b) = match (&a, &b) {
            (SqlType::Unknown, SqlType::Unknown) => {
                return Err(Error::new(
                    SqlState::AMBIGUOUS_FUNCTION,
                    format!("operator is not unique: unknown {symbol} unknown"),
                )
                .with_hint(
                    "Could not choose a best candidate operator. You might need to add explicit type casts.",
                ));
            }
            (SqlType::Unknown, other) => {
                let ty = unknown_operand(other, symbol);
                (typing.adapt(left, &ty)?, right, ty, b)
            }
            (other, SqlType::Unknown) => {
                let ty = unknown_operand(other, symbol);
                let right = typing.adapt(right, &ty)?;
                let ty = typing.of(&right)?;
                (left, right, a, ty)
            }
            _ => (left, right, a, b),
        };
        if is_integer(&a) && is_integer(&b) {
            let ty = match (&a, &b) {
                (SqlType::Int8, _) | (_, SqlType::Int8) => SqlType::Int8,
                (SqlType::Int4, _) | (_, SqlType::Int4) => SqlType::Int4,
                _ => SqlType::Int2,
            };
            let function = functions::int_math(symbol, &ty);
            return Ok(udf(function, vec![left, right]));
        }
        if is_number(&a) && is_number(&b) {
            return self.inexact(typing, left, &a, symbol, op, right, &b);
        }
        if let Some(function) = functions::date_math(symbol, &a, &b) {
            return Ok(udf(function, vec![left, right]));
        }
        self.temporal(typing, (left, &a), (symbol, op), (right, &b))
    }

    fn temporal(
        &self,
        typing: &Typing<'_>,
        (left, a): (Expr, &SqlType),
        (symbol, op): (&str, Operator),
        (right, b): (Expr, &SqlType),
    ) -> Result<Expr> {
        use SqlType::*;
        match (a, symbol, b) {
            (Date, "+" | "-", Interval(_)) => Ok(native(typing.cast(left, &Timestamp(None))?, op, right)),
            (Interval(_), "+", Date) => Ok(native(typing.cast(right, &Timestamp(None))?, op, left)),
            (Interval(_), "+", Timestamp(_) | Timestamptz(_)) => Ok(native(right, op, left)),
            (Timestamp(_) | Timestamptz(_) | Interval(_), "+" | "-", Interval(_)) => {
                Ok(native(left, op, right))
            }
            (Int2 | Int4 | Int8, "+", Date) => {
                let function = functions::date_math("+", b, a).ok_or_else(|| no_operator(symbol, a, b))?;
                Ok(udf(function, vec![right, left]))
            }
            (Time(_), "-", Time(_)) => self.call("time_mi", vec![left, right]),
            (Time(_), "+" | "-", Interval(_)) => {
                let sign =
                    super::literal(ScalarValue::Int32(Some(if symbol == "+" { 1 } else { -1 })), &Int4);
                self.call("time_shift", vec![left, right, sign])
            }
            (Interval(_), "+", Time(_)) => {
                let sign = super::literal(ScalarValue::Int32(Some(1)), &Int4);
                self.call("time_shift", vec![right, left, sign])
            }
            (Date, "+", Time(_)) => self.call("date_add_time", vec![left, right]),
            (Time(_), "+", Date) => self.call("date_add_time", vec![right, left]),
            (Date, "-", Timestamp(_) | Timestamptz(_))
            | (Timestamp(_) | Timestamptz(_), "-", Date | Timestamp(_) | Timestamptz(_)) => {
                let ty = if matches!((a, b), (Timestamptz(_), _) | (_, Timestamptz(_))) {
                    Timestamptz(None)
                } else {
                    Timestamp(None)
                };
                let function =
                    functions::date_math("-", &ty, &ty).ok_or_else(|| no_operator(symbol, a, b))?;
                Ok(udf(function, vec![typing.cast(left, &ty)?, typing.cast(right, &ty)?]))
            }
            (Interval(_), "*" | "/", ty) if is_number(ty) => {
                let name = if symbol == "*" { "interval_mul" } else { "interval_div" };
                self.call(name, vec![left, typing.cast(right, &Float8)?])
            }
            (ty, "*", Interval(_)) if is_number(ty) => {
                self.call("interval_mul", vec![right, typing.cast(left, &Float8)?])
            }
            (Jsonb, "-", _) => Ok(udf(functions::json_operator("-")?, vec![left, right])),
            _ => Err(no_operator(symbol, a, b)),
        }
    }

    #[allow(clippy::too_many_arguments)] // an operator and two typed operands
    fn inexact(
        &self,
        typing: &Typing<'_>,
        left: Expr,
        a: &SqlType,
        symbol: &'static str,
        op: Operator,
        right: Expr,
        b: &SqlType,
    ) -> Result<Expr> {
        if is_float(a) || is_float(b) {
            let ty = match (a, b) {
                (SqlType::Float4, SqlType::Float4) => SqlType::Float4,
                _ => SqlType::Float8,
            };
            let (left, right) = (typing.cast(left, &ty)?, typing.cast(right, &ty)?);
            return Ok(match op {
                Operator::Divide | Operator::Multiply => {
                    udf(functions::int_math(symbol, &ty), vec![left, right])
                }
                _ => native(left, op, right),
            });
        }
        // numeric: exact, in the widest form where scales would grow without end.
        let open = |ty: &SqlType| matches!(ty, SqlType::Numeric(None));
        let wide = open(a) || open(b) || matches!(op, Operator::Divide | Operator::Modulo);
        if !wide {
            return Ok(native(left, op, right));
        }
        let number = SqlType::Numeric(None);
        let (left, right) = (typing.cast(left, &number)?, typing.cast(right, &number)?);
        if op == Operator::Divide {
            return Ok(udf(functions::numeric_division(), vec![left, right]));
        }
        let result = native(left, op, right);
        let ty = typing.of(&result)?;
        cast_expr(result, &ty, &number, CastContext::Explicit, &self.style)
    }

    fn concat(&self, typing: &Typing<'_>, left: Expr, right: Expr) -> Result<Expr> {
        let (left, right) = (typing.settle(left)?, typing.settle(right)?);
        let (a, b) = (typing.of(&left)?, typing.of(&right)?);
        match (&a, &b) {
            (SqlType::Array(item), other) | (other, SqlType::Array(item)) => {
                let array = SqlType::Array(item.clone());
                // Numbers of two types meet in the wider, arrays of them too.
                let both = match other {
                    SqlType::Array(other) => wider((**item).clone(), (**other).clone()),
                    other => wider((**item).clone(), other.clone()),
                };
                let adapt = |expr: Expr, ty: &SqlType| match ty {
                    SqlType::Unknown => typing.adapt(expr, &array),
                    SqlType::Array(item) if is_number(item) && **item != both => {
                        typing.cast(expr, &SqlType::Array(Box::new(both.clone())))
                    }
                    ty if is_number(ty) && *ty != both => typing.cast(expr, &both),
                    _ => Ok(expr),
                };
                let name = match (&a, other) {
                    (_, SqlType::Array(_) | SqlType::Unknown) => "array_concat",
                    (SqlType::Array(_), _) => "array_append",
                    _ => "array_prepend",
                };
                self.call(name, vec![adapt(left, &a)?, adapt(right, &b)?])
            }
            (SqlType::Jsonb, _) | (_, SqlType::Jsonb) => {
                let left = typing.adapt(left, &SqlType::Jsonb)?;
                let right = typing.adapt(right, &SqlType::Jsonb)?;
                Ok(udf(functions::json_operator("||")?, vec![left, right]))
            }
            (SqlType::Bytea, SqlType::Bytea) => self.call("bytea_concat", vec![left, right]),
            _ => {
                let text = |expr: Expr, ty: &SqlType| match ty {
                    SqlType::Unknown => typing.adapt(expr, &SqlType::Text),
                    ty if is_text(ty) => Ok(typing.without_padding(expr, ty.clone())?.0),
                    _ => typing.cast(expr, &SqlType::Text),
                };
                Ok(native(text(left, &a)?, Operator::StringConcat, text(right, &b)?))
            }
        }
    }

    fn text_pair(&self, typing: &Typing<'_>, left: Expr, right: Expr, symbol: &str) -> Result<(Expr, Expr)> {
        let left = typing.adapt(typing.settle(left)?, &SqlType::Text)?;
        let right = typing.adapt(typing.settle(right)?, &SqlType::Text)?;
        let (a, b) = (typing.of(&left)?, typing.of(&right)?);
        if !is_text(&a) || !is_text(&b) {
            return Err(no_operator(symbol, &a, &b));
        }
        Ok((left, right))
    }

    fn regex(&self, typing: &Typing<'_>, left: Expr, op: Operator, right: Expr) -> Result<Expr> {
        let (left, right) = self.text_pair(typing, left, right, &op.to_string())?;
        if let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = &right {
            functions::check_pattern(pattern)?;
        }
        Ok(native(left, op, right))
    }

    fn like(&self, typing: &Typing<'_>, left: Expr, right: Expr, negated: bool, fold: bool) -> Result<Expr> {
        if !fold && typing.of(&left)? == SqlType::Bytea {
            let found = self.call("bytea_like", vec![left, right])?;
            return Ok(if negated { Expr::Not(Box::new(found)) } else { found });
        }
        let (left, right) = self.text_pair(typing, left, right, if fold { "~~*" } else { "~~" })?;
        Ok(Expr::Like(Like::new(negated, Box::new(left), Box::new(right), None, fold)))
    }

    fn bits(&self, typing: &Typing<'_>, left: Expr, op: Operator, right: Expr) -> Result<Expr> {
        let is_shift = matches!(op, Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight);
        if is_shift && typing.of(&left)? == SqlType::Int2 {
            let name = if op == Operator::BitwiseShiftLeft { "int2shl" } else { "int2shr" };
            return self.call(name, vec![left, right]);
        }
        let (left, right, a, b) = typing.pair(left, right, &op.to_string())?;
        if !is_integer(&a) || !is_integer(&b) {
            return Err(no_operator(&op.to_string(), &a, &b));
        }
        Ok(native(left, op, right))
    }

    fn contains(&self, typing: &Typing<'_>, op: &Op, left: Expr, right: Expr) -> Result<Expr> {
        let (left, right) = (typing.settle(left)?, typing.settle(right)?);
        let (a, b) = (typing.of(&left)?, typing.of(&right)?);
        let array = match (&a, &b) {
            (SqlType::Array(_), _) => Some(a.clone()),
            (_, SqlType::Array(_)) => Some(b.clone()),
            _ => None,
        };
        let Some(array) = array else { return self.json(typing, op, left, right) };
        let (left, right) = (typing.adapt(left, &array)?, typing.adapt(right, &array)?);
        let call = match op {
            Op::AtArrow => self.call("arraycontains", vec![left, right]),
            Op::ArrowAt => self.call("arraycontains", vec![right, left]),
            _ => self.call("arrayoverlap", vec![left, right]),
        };
        resolve::strict(call?, None, typing)
    }

    fn json(&self, typing: &Typing<'_>, op: &Op, left: Expr, right: Expr) -> Result<Expr> {
        let symbol = op.to_string();
        let (left, right) = (typing.settle(left)?, typing.settle(right)?);
        let a = typing.of(&left)?;
        let b = typing.of(&right)?;
        if !matches!(a, SqlType::Json | SqlType::Jsonb | SqlType::Unknown) && !matches!(b, SqlType::Jsonb) {
            return Err(no_operator(&symbol, &a, &b));
        }
        let left = typing.adapt(left, &SqlType::Jsonb)?;
        let operand = match op {
            Op::AtArrow | Op::ArrowAt => SqlType::Jsonb,
            Op::HashArrow | Op::HashLongArrow | Op::HashMinus | Op::QuestionAnd | Op::QuestionPipe => {
                SqlType::Array(Box::new(SqlType::Text))
            }
            _ => SqlType::Text,
        };
        let right = typing.adapt(right, &operand)?;
        Ok(udf(functions::json_operator(&symbol)?, vec![left, right]))
    }
}

/// What an untyped operand of arithmetic becomes.
fn unknown_operand(other: &SqlType, symbol: &str) -> SqlType {
    match other {
        SqlType::Timestamp(_) | SqlType::Timestamptz(_) if symbol == "+" => SqlType::Interval(None),
        SqlType::Date if symbol == "+" => SqlType::Interval(None),
        SqlType::Jsonb => SqlType::Text,
        other => without_modifier(other),
    }
}

/// How an operator that vectors or bit strings have is written.
fn symbol(op: &Op) -> Option<&str> {
    Some(match op {
        Op::Plus => "+",
        Op::Minus => "-",
        Op::Multiply => "*",
        Op::Divide => "/",
        Op::Modulo => "%",
        Op::PGExp => "^",
        Op::StringConcat => "||",
        Op::BitwiseAnd => "&",
        Op::BitwiseOr => "|",
        Op::PGBitwiseXor => "#",
        Op::PGBitwiseShiftLeft => "<<",
        Op::PGBitwiseShiftRight => ">>",
        Op::Spaceship => "<=>",
        Op::LtDashGt => "<->",
        Op::Custom(name) => name,
        _ => return None,
    })
}

/// The operators that compare texts byte by byte, as all comparisons here do.
fn by_bytes(symbol: &str) -> Option<Operator> {
    Some(match symbol {
        "~<~" => Operator::Lt,
        "~<=~" => Operator::LtEq,
        "~>~" => Operator::Gt,
        "~>=~" => Operator::GtEq,
        _ => return None,
    })
}

/// `OPERATOR(pg_catalog.~)`.
fn by_name(name: &str) -> Option<Op> {
    Some(match name {
        "=" => Op::Eq,
        "<>" | "!=" => Op::NotEq,
        "<" => Op::Lt,
        "<=" => Op::LtEq,
        ">" => Op::Gt,
        ">=" => Op::GtEq,
        "+" => Op::Plus,
        "-" => Op::Minus,
        "*" => Op::Multiply,
        "/" => Op::Divide,
        "%" => Op::Modulo,
        "||" => Op::StringConcat,
        "~" => Op::PGRegexMatch,
        "~*" => Op::PGRegexIMatch,
        "!~" => Op::PGRegexNotMatch,
        "!~*" => Op::PGRegexNotIMatch,
        "~~" => Op::PGLikeMatch,
        "~~*" => Op::PGILikeMatch,
        "!~~" => Op::PGNotLikeMatch,
        "!~~*" => Op::PGNotILikeMatch,
        "<->" => Op::LtDashGt,
        "<=>" => Op::Spaceship,
        "<#>" | "<+>" | "<~>" | "<%>" => Op::Custom(name.to_owned()),
        "&" => Op::BitwiseAnd,
        "|" => Op::BitwiseOr,
        "#" => Op::PGBitwiseXor,
        "<<" => Op::PGBitwiseShiftLeft,
        ">>" => Op::PGBitwiseShiftRight,
        "@>" => Op::AtArrow,
        "<@" => Op::ArrowAt,
        "&&" => Op::PGOverlap,
        "->" => Op::Arrow,
        "->>" => Op::LongArrow,
        "#>" => Op::HashArrow,
        "#>>" => Op::HashLongArrow,
        "?" => Op::Question,
        "?|" => Op::QuestionPipe,
        "?&" => Op::QuestionAnd,
        _ => return None,
    })
}
