//! Casts as expressions: folded for literals, DataFusion's own where it means the same, a function with PostgreSQL's rules
//! otherwise.

use super::cast_kernel::{CastContext, CastStyle, can_cast, cast_array};
use super::types::{is_integer, is_text};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::{from_datafusion, to_datafusion};
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
        let result =
            cast_array(&array, &self.from, &self.to, self.context, &self.style).map_err(to_datafusion)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(crate::functions::only_value(&result)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// A literal that knows its SQL type even where Arrow's type does not say it, and that is not taken for an untyped one.
pub(crate) fn literal(value: ScalarValue, ty: &SqlType) -> Expr {
    let mut field = ty.field("", true);
    if *ty == SqlType::Text {
        field = field.with_metadata([(quiver_base::SQL_TYPE_KEY.to_owned(), "text".to_owned())].into());
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
        return Ok(expr);
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
        signature: Signature::any(1, Volatility::Stable),
    };
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        vec![expr],
    )))
}

/// 42846.
pub(crate) fn cannot_cast(from: &SqlType, to: &SqlType) -> Error {
    Error::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
}

/// DataFusion's cast gives the same values, so that it may push it around and compare through it.
fn is_lossless(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    match (from, to) {
        (Int2, Int4 | Int8 | Float4 | Float8) | (Int4, Int8 | Float8) => true,
        (Int8, Float8) | (Int8 | Int4, Float4) | (Float4, Float8) => true,
        (from, Numeric(Some((p, s)))) if is_integer(from) => i32::from(*p) - i32::from(*s) >= 19,
        (Date, Timestamp) => true,
        _ => false,
    }
}

/// Whether a value of one type may stand where the other is stored, without being asked to.
pub(crate) fn can_assign(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    if from == to || *from == Unknown || (is_text(to) && !matches!(to, Char)) {
        return true;
    }
    if is_text(from) {
        return false;
    }
    match (from, to) {
        (Bool, Int4) | (Int4, Bool) => false,
        (Jsonb, _) => matches!(to, Json),
        _ => can_cast(from, to),
    }
}
