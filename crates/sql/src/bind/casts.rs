//! Casts as expressions: folded for literals, DataFusion's own where it means the same, a function with PostgreSQL's rules
//! otherwise.

use super::cast_kernel::{CastContext, CastStyle, can_cast, cast_array};
use super::types::{is_integer, is_oid, without_modifier};
use crate::catalog::{Reach, can_coerce, is_vector_like};
use crate::oids::type_oid;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::{from_datafusion, to_datafusion};
use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// `CAST(x AS t)` by PostgreSQL's rules.
#[derive(Debug)]
pub(crate) struct PgCast {
    from: SqlType,
    to: SqlType,
    context: CastContext,
    style: Arc<CastStyle>,
    signature: Signature,
}

impl PartialEq for PgCast {
    fn eq(&self, other: &Self) -> bool {
        self.from == other.from && self.to == other.to && self.context == other.context
    }
}

impl Eq for PgCast {}

impl Hash for PgCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.from.hash(state);
        self.to.hash(state);
        self.context.hash(state);
    }
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &str {
        "cast"
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("CAST({} AS {})", args[0], self.to))
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("CAST({} AS {})", args[0].schema_name(), self.to))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(self.to.arrow_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(self.to.field("cast", true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let rows = if scalar { 1 } else { args.number_rows };
        let array = args.args[0].to_array(rows)?;
        let style = if is_time(&self.to) { self.style.at_run() } else { Cow::Borrowed(&*self.style) };
        let result = cast_array(&array, &self.from, &self.to, self.context, &style).map_err(to_datafusion)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(crate::functions::only_value(&result)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// A literal that knows its SQL type even where Arrow's type does not say it, and that is not taken for an untyped one.
pub(crate) fn literal(value: ScalarValue, ty: &SqlType) -> Expr {
    let mut field = ty.field("", true);
    // Digits have a precision of their own: what was cast to one says so.
    if matches!(ty, SqlType::Text | SqlType::Numeric(Some(_))) {
        field = field.with_metadata([(quiver_base::SQL_TYPE_KEY.to_owned(), ty.to_string())].into());
    }
    let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(&field));
    Expr::Literal(value, metadata)
}

/// A literal of one type as one of another.
pub(crate) fn cast_scalar(
    value: &ScalarValue,
    from: &SqlType,
    to: &SqlType,
    context: CastContext,
    style: &CastStyle,
) -> Result<ScalarValue> {
    let array = value.to_array().map_err(from_datafusion)?;
    let result = cast_array(&array, from, to, context, style)?;
    crate::functions::only_value(&result).map_err(from_datafusion)
}

/// The expression cast from one type to another; the expression itself if nothing is to do.
pub(crate) fn cast_expr(
    expr: Expr,
    from: &SqlType,
    to: &SqlType,
    context: CastContext,
    style: &Arc<CastStyle>,
) -> Result<Expr> {
    if from == to {
        return Ok(match expr {
            // It may say how many digits of its seconds are kept.
            Expr::Literal(value, Some(_)) if is_time(to) => literal(value, to),
            expr => expr,
        });
    }
    if !can_cast(from, to) {
        return Err(cannot_cast(from, to));
    }
    if let Expr::Literal(value, _) = &expr {
        let value = cast_scalar(value, from, to, context, style)?;
        return Ok(literal(value, to));
    }
    if is_lossless(from, to) {
        return Ok(Expr::Cast(Cast::new(Box::new(expr), to.arrow_type())));
    }
    let function = PgCast {
        from: from.clone(),
        to: to.clone(),
        context,
        style: style.clone(),
        signature: Signature::any(1, volatility(from, to)),
    };
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        vec![expr],
    )))
}

/// Text of dates, times and names behind oids means something only in a session; so does a date in a time zone.
fn volatility(from: &SqlType, to: &SqlType) -> Volatility {
    let depends = |ty: &SqlType| is_oid(ty) || is_time(ty);
    if depends(from) || depends(to) { Volatility::Stable } else { Volatility::Immutable }
}

fn is_time(ty: &SqlType) -> bool {
    match ty {
        SqlType::Date
        | SqlType::Time(_)
        | SqlType::Timestamp(_)
        | SqlType::Timestamptz(_)
        | SqlType::Interval(_) => true,
        SqlType::Array(item) => is_time(item) || is_oid(item),
        _ => false,
    }
}

/// An array whose items say what they are, whatever made it.
pub(super) fn relabelled(expr: Expr, ty: &SqlType, style: &Arc<CastStyle>) -> Expr {
    let function = PgCast {
        from: ty.clone(),
        to: ty.clone(),
        context: CastContext::Explicit,
        style: style.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![expr]))
}

/// Says what SQL type its argument is, where DataFusion's own expressions do not; the value stays as it is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    ty: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        LABEL
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(args[0].to_string())
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(args[0].schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(args[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let label = [(quiver_base::SQL_TYPE_KEY.to_owned(), self.ty.to_string())];
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_nullable(true).with_metadata(label.into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

/// The name of the function that only says a type.
pub(super) const LABEL: &str = "label";

/// An expression of the engine's own, with the SQL type that its field does not say.
pub(super) fn labelled(expr: Expr, ty: &SqlType) -> Expr {
    let function = Label { ty: ty.clone(), signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![expr]))
}

/// Items of vectors and bit strings say what they are, as the arrays they come from do.
pub(super) fn label_unnested(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let LogicalPlan::Unnest(mut unnest) = plan else { return Ok(plan) };
    let input = unnest.input.schema().clone();
    let label = |at: usize, field: &FieldRef| {
        let from = unnest.dependency_indices.get(at).map(|from| input.field(*from));
        match from.and_then(|from| SqlType::of_field(from)) {
            Some(SqlType::Array(item))
                if is_vector_like(&item) && item.arrow_type() == *field.data_type() =>
            {
                Arc::new(item.field(field.name(), true))
            }
            _ => field.clone(),
        }
    };
    let fields = unnest.schema.iter().enumerate();
    let fields = fields.map(|(at, (relation, field))| (relation.cloned(), label(at, field))).collect();
    let schema = DFSchema::new_with_metadata(fields, unnest.schema.metadata().clone())?;
    unnest.schema = Arc::new(schema);
    Ok(LogicalPlan::Unnest(unnest))
}

/// 42846.
pub(crate) fn cannot_cast(from: &SqlType, to: &SqlType) -> Error {
    let (from, to) = (without_modifier(from), without_modifier(to));
    Error::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
}

/// DataFusion's cast gives the same values, so that it may push it around and compare through it.
fn is_lossless(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    match (from, to) {
        (Int2, Int4 | Int8 | Float4 | Float8) | (Int4, Int8 | Float8) => true,
        (Int8, Float8) | (Int8 | Int4, Float4) | (Float4, Float8) => true,
        (from, Numeric(Some((p, s)))) if is_integer(from) => i32::from(*p) - i32::from(*s) >= 19,
        _ => false,
    }
}

/// Whether a value of one type may stand where the other is stored, without being asked to.
pub(crate) fn can_assign(from: &SqlType, to: &SqlType) -> bool {
    from == to || can_coerce(type_oid(from), type_oid(to), Reach::Assignment)
}
