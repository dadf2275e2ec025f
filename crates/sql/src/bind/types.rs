//! SQL type names to [`SqlType`], with the errors that PostgreSQL gives for bad names and modifiers.

use crate::catalog::is_vector_like;
use arrow::datatypes::FieldRef;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, TimezoneInfo,
};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// Plans the types of casts.
#[derive(Debug)]
pub(crate) struct PgTypes;

impl TypePlanner for PgTypes {
    fn plan_type_field(&self, ty: &DataType) -> DfResult<Option<FieldRef>> {
        let ty = sql_type(ty).map_err(to_datafusion)?;
        Ok(Some(Arc::new(ty.field("", true))))
    }
}

/// The integer type under `smallserial`, `serial` and `bigserial`.
pub(crate) fn serial(ty: &DataType) -> Option<SqlType> {
    let DataType::Custom(name, _) = ty else { return None };
    match last_part(name)?.as_str() {
        "smallserial" | "serial2" => Some(SqlType::Int2),
        "serial" | "serial4" => Some(SqlType::Int4),
        "bigserial" | "serial8" => Some(SqlType::Int8),
        _ => None,
    }
}

/// The type that a name in a statement stands for; 42704 if there is none.
pub(crate) fn sql_type(ty: &DataType) -> Result<SqlType> {
    Ok(match ty {
        DataType::Boolean | DataType::Bool => SqlType::Bool,
        DataType::SmallInt(_) | DataType::Int2(_) => SqlType::Int2,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => SqlType::Int4,
        DataType::BigInt(_) | DataType::Int8(_) => SqlType::Int8,
        DataType::Real | DataType::Float4 => SqlType::Float4,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(ExactNumberInfo::None) => {
            SqlType::Float8
        }
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => SqlType::Float4,
        DataType::Float(_) => SqlType::Float8,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => SqlType::Text,
        DataType::Varchar(n) | DataType::CharacterVarying(n) | DataType::CharVarying(n) => {
            SqlType::Varchar(length("varchar", n.as_ref())?)
        }
        DataType::Char(n) | DataType::Character(n) => {
            SqlType::Bpchar(Some(length("char", n.as_ref())?.unwrap_or(1)))
        }
        DataType::Bit(n) => SqlType::Bit(Some(bit_length("bit", *n)?.unwrap_or(1))),
        DataType::BitVarying(n) | DataType::VarBit(n) => SqlType::Varbit(bit_length("varbit", *n)?),
        DataType::Bytea => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            SqlType::Time(second_digits(*p))
        }
        DataType::Timestamp(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            SqlType::Timestamp(second_digits(*p))
        }
        DataType::Timestamp(p, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            SqlType::Timestamptz(second_digits(*p))
        }
        DataType::Interval { fields: None, precision } => SqlType::Interval(second_digits(*precision)),
        DataType::Interval { .. } => SqlType::Interval(None),
        DataType::Uuid => SqlType::Uuid,
        DataType::JSON => SqlType::Json,
        DataType::JSONB => SqlType::Jsonb,
        DataType::Regclass => SqlType::Regclass,
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => match sql_type(item)? {
            // PostgreSQL does not tell arrays of arrays from arrays.
            array @ SqlType::Array(_) => array,
            // Items of arrays keep all digits of their seconds.
            item => SqlType::Array(Box::new(item.with_precision(None))),
        },
        DataType::Custom(name, modifiers) => return custom(name, modifiers),
        other => return Err(unknown(&other.to_string().to_lowercase())),
    })
}

/// The digits of seconds that a type keeps: six at most.
fn second_digits(precision: Option<u64>) -> Option<u8> {
    precision.map(|precision| u8::try_from(precision).unwrap_or(u8::MAX).min(6))
}

fn custom(name: &ObjectName, modifiers: &[String]) -> Result<SqlType> {
    let quoted = name.0.last().and_then(|part| part.as_ident()).is_some_and(|i| i.quote_style.is_some());
    let last = last_part(name).unwrap_or_default();
    Ok(match last.as_str() {
        "vector" => SqlType::Vector(short_dimensions("vector", modifiers)?),
        "halfvec" => SqlType::Halfvec(short_dimensions("halfvec", modifiers)?),
        "sparsevec" => SqlType::Sparsevec(dimensions("sparsevec", modifiers, SqlType::SPARSEVEC_DIM_MAX)?),
        // Only the bare word is short for bit(1).
        "bit" => SqlType::Bit(None),
        "varbit" => SqlType::Varbit(None),
        "char" if quoted => SqlType::Char,
        "name" => SqlType::Name,
        "oid" | "xid" | "cid" => SqlType::Oid,
        "bpchar" => SqlType::Bpchar(None),
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(None),
        "numeric" => SqlType::Numeric(None),
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => SqlType::Time(None),
        "timestamp" => SqlType::Timestamp(None),
        "timestamptz" => SqlType::Timestamptz(None),
        "interval" => SqlType::Interval(None),
        "uuid" => SqlType::Uuid,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        "regclass" => SqlType::Regclass,
        "regtype" => SqlType::Regtype,
        "regproc" => SqlType::Regproc,
        "regprocedure" => SqlType::Regprocedure,
        "regoper" => SqlType::Regoper,
        "regoperator" => SqlType::Regoperator,
        "regnamespace" => SqlType::Regnamespace,
        "regrole" => SqlType::Regrole,
        "int2vector" => SqlType::Int2Vector,
        "oidvector" => SqlType::OidVector,
        "unknown" => SqlType::Unknown,
        "smallserial" | "serial2" | "serial" | "serial4" | "bigserial" | "serial8" => {
            return Err(unknown(&last));
        }
        _ => {
            return Err(unknown(&name.to_string().replace('"', "")));
        }
    })
}

fn unknown(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}

fn last_part(name: &ObjectName) -> Option<String> {
    let ident = name.0.last()?.as_ident()?;
    Some(match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    })
}

fn short_dimensions(name: &str, modifiers: &[String]) -> Result<Option<u16>> {
    let dim = dimensions(name, modifiers, SqlType::VECTOR_DIM_MAX.into())?;
    Ok(dim.and_then(|dim| u16::try_from(dim).ok()))
}

fn dimensions(name: &str, modifiers: &[String], max: u32) -> Result<Option<u32>> {
    let invalid = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    match modifiers {
        [] => Ok(None),
        [one] => {
            let dim = crate::decode::parse_int(
                one.trim_matches('\''),
                "integer",
                i32::MIN.into(),
                i32::MAX.into(),
            )?;
            match u32::try_from(dim) {
                Ok(0) | Err(_) => Err(invalid(format!("dimensions for type {name} must be at least 1"))),
                Ok(dim) if dim > max => {
                    Err(invalid(format!("dimensions for type {name} cannot exceed {max}")))
                }
                Ok(dim) => Ok(Some(dim)),
            }
        }
        _ => Err(invalid("invalid type modifier".to_owned())),
    }
}

fn bit_length(name: &str, length: Option<u64>) -> Result<Option<u32>> {
    let invalid = |message: String| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    match length.map(u32::try_from) {
        None => Ok(None),
        Some(Ok(0)) => invalid(format!("length for type {name} must be at least 1")),
        Some(Ok(n)) if n <= SqlType::BIT_LENGTH_MAX => Ok(Some(n)),
        Some(_) => invalid(format!("length for type {name} cannot exceed {}", SqlType::BIT_LENGTH_MAX)),
    }
}

fn length(name: &str, length: Option<&CharacterLength>) -> Result<Option<u32>> {
    let Some(CharacterLength::IntegerLength { length, .. }) = length else { return Ok(None) };
    match u32::try_from(*length) {
        Ok(0) => Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("length for type {name} must be at least 1"),
        )),
        Ok(n) if n <= 10_485_760 => Ok(Some(n)),
        _ => Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("length for type {name} cannot exceed 10485760"),
        )),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        ));
    }
    let max = u64::from(SqlType::NUMERIC_PRECISION_MAX);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p), Ok(s)) if precision <= max && i64::from(s) <= i64::from(p) && s >= 0 => {
            Ok(SqlType::Numeric(Some((p, s))))
        }
        _ => Err(Error::unsupported(format!(
            "numeric({precision},{scale}) (at most {max} digits, scale within them)"
        ))),
    }
}

/// Text-like types: carried by strings, compared as strings.
pub(crate) fn is_text(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Bpchar(_) | SqlType::Name | SqlType::Char)
}

/// smallint, integer, bigint.
pub(crate) fn is_integer(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
}

/// Integers, floats and numeric.
pub(crate) fn is_number(ty: &SqlType) -> bool {
    is_integer(ty) || matches!(ty, SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_))
}

/// Numbers with a binary fraction.
pub(crate) fn is_float(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Float4 | SqlType::Float8)
}

/// Types carried by an oid.
pub(crate) fn is_oid(ty: &SqlType) -> bool {
    matches!(
        ty,
        SqlType::Oid
            | SqlType::Regclass
            | SqlType::Regtype
            | SqlType::Regproc
            | SqlType::Regnamespace
            | SqlType::Regrole
            | SqlType::Regprocedure
            | SqlType::Regoper
            | SqlType::Regoperator
    )
}

/// Whether DataFusion's own expressions lose what a value is, since its Arrow type carries something else as well.
pub(crate) fn needs_label(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(item) => needs_label(item),
        ty => is_oid(ty) || is_vector_like(ty) || matches!(ty, SqlType::Json | SqlType::Jsonb),
    }
}

/// Whether an expression that chooses among values of the type is to say what it is: strings of other types than text too.
pub(crate) fn is_lost_in_choice(ty: &SqlType) -> bool {
    needs_label(ty) || matches!(ty, SqlType::Varchar(_) | SqlType::Bpchar(_))
}

/// The type without its modifier, as parameters and operators see it.
pub(crate) fn without_modifier(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Varchar(_) => SqlType::Varchar(None),
        SqlType::Bpchar(_) => SqlType::Bpchar(None),
        SqlType::Vector(_) => SqlType::Vector(None),
        SqlType::Halfvec(_) => SqlType::Halfvec(None),
        SqlType::Sparsevec(_) => SqlType::Sparsevec(None),
        SqlType::Bit(_) => SqlType::Bit(None),
        SqlType::Varbit(_) => SqlType::Varbit(None),
        SqlType::Array(item) => SqlType::Array(Box::new(without_modifier(item))),
        other => other.clone().with_precision(None),
    }
}
