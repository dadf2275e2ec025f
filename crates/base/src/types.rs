//! SQL types and the Arrow types that carry them. Arrow alone cannot tell jsonb from text, so a field carries
//! its SQL type as metadata; DataFusion keeps field metadata through plans.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Field metadata key whose value is [`SqlType`]'s display form, set where the Arrow type alone is ambiguous.
pub const SQL_TYPE_KEY: &str = "quiver.type";

/// Field metadata key for a stored column's [`crate::ColumnId`]; the key that Parquet files use for field ids.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// A SQL type of a column, parameter or result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are PostgreSQL's
pub enum SqlType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `numeric(precision, scale)`; without both, [`SqlType::NUMERIC_PRECISION_MAX`] digits, 20 after the point,
    /// trailing zeros not shown.
    Numeric(Option<(u8, i8)>),
    Text,
    /// `varchar(n)`, n in characters.
    Varchar(Option<u32>),
    /// `char(n)`, blank-padded.
    Bpchar(Option<u32>),
    Bytea,
    Date,
    /// With the digits of its seconds that are kept, as those below; serialized without: see [`stored`].
    Time(#[serde(skip)] Option<u8>),
    Timestamp(#[serde(skip)] Option<u8>),
    Timestamptz(#[serde(skip)] Option<u8>),
    Interval(#[serde(skip)] Option<u8>),
    Uuid,
    Json,
    Jsonb,
    /// `vector(n)`, or `vector` whose rows may differ in dimension.
    Vector(Option<u16>),
    /// `halfvec(n)`, or `halfvec` whose rows may differ in dimension.
    Halfvec(Option<u16>),
    /// `sparsevec(n)`, or `sparsevec` whose rows may differ in dimension; carried by the bytes of [`crate::sparse`].
    Sparsevec(Option<u32>),
    /// `bit(n)`, or `bit` of any length, as literals have it; carried by the bytes of [`crate::bits`].
    Bit(Option<u32>),
    /// `bit varying(n)`; carried as [`SqlType::Bit`] is.
    Varbit(Option<u32>),
    Array(Box<SqlType>),
    // Types of the system catalogs.
    Oid,
    /// The 63-byte identifier type.
    Name,
    /// The one-byte `"char"`.
    Char,
    Regclass,
    Regtype,
    Regproc,
    Regnamespace,
    Regrole,
    Regprocedure,
    Regoper,
    Regoperator,
    Int2Vector,
    OidVector,
    /// A literal whose type nobody has said yet.
    Unknown,
    Void,
}

impl SqlType {
    /// The most digits that a numeric can hold.
    pub const NUMERIC_PRECISION_MAX: u8 = 76;
    /// Digits after the point that a numeric without precision keeps.
    pub const NUMERIC_SCALE_DEFAULT: i8 = 20;
    /// The most dimensions of a vector, as in pgvector.
    pub const VECTOR_DIM_MAX: u16 = 16_000;
    /// The most dimensions of a sparsevec, as in pgvector.
    pub const SPARSEVEC_DIM_MAX: u32 = 1_000_000_000;
    /// The longest bit string that a column can be declared for, as in PostgreSQL.
    pub const BIT_LENGTH_MAX: u32 = 83_886_080;

    /// The Arrow type that carries it.
    pub fn arrow_type(&self) -> DataType {
        match self {
            SqlType::Bool => DataType::Boolean,
            SqlType::Int2 => DataType::Int16,
            SqlType::Int4 => DataType::Int32,
            SqlType::Int8 => DataType::Int64,
            SqlType::Float4 => DataType::Float32,
            SqlType::Float8 => DataType::Float64,
            SqlType::Numeric(None) => {
                DataType::Decimal256(Self::NUMERIC_PRECISION_MAX, Self::NUMERIC_SCALE_DEFAULT)
            }
            SqlType::Numeric(Some((p, s))) if *p <= 38 => DataType::Decimal128(*p, *s),
            SqlType::Numeric(Some((p, s))) => DataType::Decimal256(*p, *s),
            SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Bpchar(_)
            | SqlType::Json
            | SqlType::Jsonb
            | SqlType::Name
            | SqlType::Char
            | SqlType::Unknown
            | SqlType::Void => DataType::Utf8,
            SqlType::Bytea | SqlType::Sparsevec(_) | SqlType::Bit(_) | SqlType::Varbit(_) => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time(_) => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::Timestamptz(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            SqlType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Vector(Some(dim)) => DataType::FixedSizeList(Arc::new(vector_item()), i32::from(*dim)),
            SqlType::Vector(None) => DataType::List(Arc::new(vector_item())),
            SqlType::Halfvec(Some(dim)) => DataType::FixedSizeList(Arc::new(halfvec_item()), i32::from(*dim)),
            SqlType::Halfvec(None) => DataType::List(Arc::new(halfvec_item())),
            SqlType::Array(item) => DataType::List(Arc::new(item.field("item", true))),
            // oids are unsigned in PostgreSQL; Int64 holds them all and compares with integer literals.
            SqlType::Oid
            | SqlType::Regclass
            | SqlType::Regtype
            | SqlType::Regproc
            | SqlType::Regnamespace
            | SqlType::Regrole
            | SqlType::Regprocedure
            | SqlType::Regoper
            | SqlType::Regoperator => DataType::Int64,
            SqlType::Int2Vector => DataType::List(Arc::new(SqlType::Int2.field("item", true))),
            SqlType::OidVector => DataType::List(Arc::new(SqlType::Oid.field("item", true))),
        }
    }

    /// The digits of its seconds that a type of times keeps, if it says so.
    pub fn precision(&self) -> Option<u8> {
        match self {
            SqlType::Time(p) | SqlType::Timestamp(p) | SqlType::Timestamptz(p) | SqlType::Interval(p) => *p,
            _ => None,
        }
    }

    /// A type of times with other digits of its seconds; whatever else as it is.
    pub fn with_precision(self, precision: Option<u8>) -> SqlType {
        match self {
            SqlType::Time(_) => SqlType::Time(precision),
            SqlType::Timestamp(_) => SqlType::Timestamp(precision),
            SqlType::Timestamptz(_) => SqlType::Timestamptz(precision),
            SqlType::Interval(_) => SqlType::Interval(precision),
            other => other,
        }
    }

    /// A field of this type, with its SQL type in the metadata where Arrow's type does not say it.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow_type(), nullable);
        if Self::from_arrow(field.data_type()).as_ref() == Some(self) {
            return field;
        }
        field.with_metadata(HashMap::from([(SQL_TYPE_KEY.to_owned(), self.to_string())]))
    }

    /// The SQL type of a field: its metadata if it has some, else what the Arrow type stands for.
    /// `None` for Arrow types that no SQL type is carried by.
    pub fn of_field(field: &Field) -> Option<SqlType> {
        if let Some(ty) = field.metadata().get(SQL_TYPE_KEY).and_then(|text| SqlType::parse(text)) {
            return Some(ty);
        }
        Self::from_arrow(field.data_type())
    }

    /// The SQL type that an Arrow type stands for when nothing else is known.
    pub fn from_arrow(ty: &DataType) -> Option<SqlType> {
        Some(match ty {
            DataType::Boolean => SqlType::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => SqlType::Int2,
            DataType::Int32 | DataType::UInt16 => SqlType::Int4,
            DataType::Int64 | DataType::UInt32 => SqlType::Int8,
            DataType::UInt64 => SqlType::Numeric(Some((20, 0))),
            DataType::Float16 | DataType::Float32 => SqlType::Float4,
            DataType::Float64 => SqlType::Float8,
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
                if *p == Self::NUMERIC_PRECISION_MAX && *s == Self::NUMERIC_SCALE_DEFAULT {
                    SqlType::Numeric(None)
                } else {
                    SqlType::Numeric(Some((*p, *s)))
                }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => SqlType::Bytea,
            DataType::FixedSizeBinary(16) => SqlType::Uuid,
            DataType::FixedSizeBinary(_) => SqlType::Bytea,
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time(None),
            DataType::Timestamp(_, None) => SqlType::Timestamp(None),
            DataType::Timestamp(_, Some(_)) => SqlType::Timestamptz(None),
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval(None),
            DataType::FixedSizeList(item, dim) if *item.data_type() == DataType::Float32 => {
                SqlType::Vector(u16::try_from(*dim).ok())
            }
            DataType::FixedSizeList(item, dim) if *item.data_type() == DataType::Float16 => {
                SqlType::Halfvec(u16::try_from(*dim).ok())
            }
            // No array type is carried by half floats.
            DataType::List(item) if *item.data_type() == DataType::Float16 => SqlType::Halfvec(None),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                SqlType::Array(Box::new(SqlType::of_field(item)?))
            }
            DataType::Dictionary(_, value) => SqlType::from_arrow(value)?,
            DataType::Null => SqlType::Unknown,
            _ => return None,
        })
    }

    /// Reads the display form back, as kept in field metadata. Not a parser for SQL.
    pub fn parse(text: &str) -> Option<SqlType> {
        if let Some(item) = text.strip_suffix("[]") {
            return Some(SqlType::Array(Box::new(SqlType::parse(item)?)));
        }
        if let Some((name, zone)) = text.split_once(") ") {
            let (name, precision) = name.split_once('(')?;
            let precision = precision.parse().ok()?;
            return Some(SqlType::parse(&format!("{name} {zone}"))?.with_precision(Some(precision)));
        }
        let (name, args) = match text.split_once('(') {
            Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
            None => (text, None),
        };
        Some(match (name, args) {
            ("boolean", None) => SqlType::Bool,
            ("smallint", None) => SqlType::Int2,
            ("integer", None) => SqlType::Int4,
            ("bigint", None) => SqlType::Int8,
            ("real", None) => SqlType::Float4,
            ("double precision", None) => SqlType::Float8,
            ("numeric", None) => SqlType::Numeric(None),
            ("numeric", Some(args)) => {
                let (p, s) = args.split_once(',')?;
                SqlType::Numeric(Some((p.parse().ok()?, s.parse().ok()?)))
            }
            ("text", None) => SqlType::Text,
            ("character varying", None) => SqlType::Varchar(None),
            ("character varying", Some(n)) => SqlType::Varchar(Some(n.parse().ok()?)),
            ("character", None) => SqlType::Bpchar(None),
            ("character", Some(n)) => SqlType::Bpchar(Some(n.parse().ok()?)),
            ("bytea", None) => SqlType::Bytea,
            ("date", None) => SqlType::Date,
            ("time without time zone", None) => SqlType::Time(None),
            ("timestamp without time zone", None) => SqlType::Timestamp(None),
            ("timestamp with time zone", None) => SqlType::Timestamptz(None),
            ("interval", None) => SqlType::Interval(None),
            ("interval", Some(p)) => SqlType::Interval(Some(p.parse().ok()?)),
            ("uuid", None) => SqlType::Uuid,
            ("json", None) => SqlType::Json,
            ("jsonb", None) => SqlType::Jsonb,
            ("vector", None) => SqlType::Vector(None),
            ("vector", Some(n)) => SqlType::Vector(Some(n.parse().ok()?)),
            ("halfvec", None) => SqlType::Halfvec(None),
            ("halfvec", Some(n)) => SqlType::Halfvec(Some(n.parse().ok()?)),
            ("sparsevec", None) => SqlType::Sparsevec(None),
            ("sparsevec", Some(n)) => SqlType::Sparsevec(Some(n.parse().ok()?)),
            ("bit", None) => SqlType::Bit(None),
            ("bit", Some(n)) => SqlType::Bit(Some(n.parse().ok()?)),
            ("bit varying", None) => SqlType::Varbit(None),
            ("bit varying", Some(n)) => SqlType::Varbit(Some(n.parse().ok()?)),
            ("oid", None) => SqlType::Oid,
            ("name", None) => SqlType::Name,
            ("\"char\"", None) => SqlType::Char,
            ("regclass", None) => SqlType::Regclass,
            ("regtype", None) => SqlType::Regtype,
            ("regproc", None) => SqlType::Regproc,
            ("regnamespace", None) => SqlType::Regnamespace,
            ("regrole", None) => SqlType::Regrole,
            ("regprocedure", None) => SqlType::Regprocedure,
            ("regoper", None) => SqlType::Regoper,
            ("regoperator", None) => SqlType::Regoperator,
            ("int2vector", None) => SqlType::Int2Vector,
            ("oidvector", None) => SqlType::OidVector,
            ("unknown", None) => SqlType::Unknown,
            ("void", None) => SqlType::Void,
            _ => return None,
        })
    }
}

/// A type as catalogs keep it: the same as before there were digits of seconds, unless it has some.
pub mod stored {
    use super::SqlType;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Rounded { rounded: SqlType, precision: u8 },
        Plain(SqlType),
    }

    /// Writes one.
    ///
    /// # Errors
    /// What the serializer says.
    pub fn serialize<S: Serializer>(ty: &SqlType, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = match ty.precision() {
            Some(precision) => Stored::Rounded { rounded: ty.clone(), precision },
            None => Stored::Plain(ty.clone()),
        };
        stored.serialize(serializer)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What the deserializer says.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SqlType, D::Error> {
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Rounded { rounded, precision } => rounded.with_precision(Some(precision)),
            Stored::Plain(ty) => ty,
        })
    }
}

fn vector_item() -> Field {
    Field::new("item", DataType::Float32, true)
}

fn halfvec_item() -> Field {
    Field::new("item", DataType::Float16, true)
}

/// PostgreSQL's `format_type` form.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            SqlType::Bool => "boolean",
            SqlType::Int2 => "smallint",
            SqlType::Int4 => "integer",
            SqlType::Int8 => "bigint",
            SqlType::Float4 => "real",
            SqlType::Float8 => "double precision",
            SqlType::Numeric(None) => "numeric",
            SqlType::Numeric(Some((p, s))) => return write!(f, "numeric({p},{s})"),
            SqlType::Text => "text",
            SqlType::Varchar(None) => "character varying",
            SqlType::Varchar(Some(n)) => return write!(f, "character varying({n})"),
            SqlType::Bpchar(None) => "character",
            SqlType::Bpchar(Some(n)) => return write!(f, "character({n})"),
            SqlType::Bytea => "bytea",
            SqlType::Date => "date",
            SqlType::Time(None) => "time without time zone",
            SqlType::Time(Some(p)) => return write!(f, "time({p}) without time zone"),
            SqlType::Timestamp(None) => "timestamp without time zone",
            SqlType::Timestamp(Some(p)) => return write!(f, "timestamp({p}) without time zone"),
            SqlType::Timestamptz(None) => "timestamp with time zone",
            SqlType::Timestamptz(Some(p)) => return write!(f, "timestamp({p}) with time zone"),
            SqlType::Interval(None) => "interval",
            SqlType::Interval(Some(p)) => return write!(f, "interval({p})"),
            SqlType::Uuid => "uuid",
            SqlType::Json => "json",
            SqlType::Jsonb => "jsonb",
            SqlType::Vector(None) => "vector",
            SqlType::Vector(Some(n)) => return write!(f, "vector({n})"),
            SqlType::Halfvec(None) => "halfvec",
            SqlType::Halfvec(Some(n)) => return write!(f, "halfvec({n})"),
            SqlType::Sparsevec(None) => "sparsevec",
            SqlType::Sparsevec(Some(n)) => return write!(f, "sparsevec({n})"),
            SqlType::Bit(None) => "bit",
            SqlType::Bit(Some(n)) => return write!(f, "bit({n})"),
            SqlType::Varbit(None) => "bit varying",
            SqlType::Varbit(Some(n)) => return write!(f, "bit varying({n})"),
            SqlType::Array(item) => return write!(f, "{item}[]"),
            SqlType::Oid => "oid",
            SqlType::Name => "name",
            SqlType::Char => "\"char\"",
            SqlType::Regclass => "regclass",
            SqlType::Regtype => "regtype",
            SqlType::Regproc => "regproc",
            SqlType::Regnamespace => "regnamespace",
            SqlType::Regrole => "regrole",
            SqlType::Regprocedure => "regprocedure",
            SqlType::Regoper => "regoper",
            SqlType::Regoperator => "regoperator",
            SqlType::Int2Vector => "int2vector",
            SqlType::OidVector => "oidvector",
            SqlType::Unknown => "unknown",
            SqlType::Void => "void",
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_its_field() {
        let types = [
            SqlType::Bool,
            SqlType::Int2,
            SqlType::Int4,
            SqlType::Int8,
            SqlType::Float4,
            SqlType::Float8,
            SqlType::Numeric(None),
            SqlType::Numeric(Some((10, 2))),
            SqlType::Numeric(Some((60, 5))),
            SqlType::Text,
            SqlType::Varchar(None),
            SqlType::Varchar(Some(7)),
            SqlType::Bpchar(Some(3)),
            SqlType::Bytea,
            SqlType::Date,
            SqlType::Time(None),
            SqlType::Timestamp(None),
            SqlType::Timestamptz(None),
            SqlType::Interval(None),
            SqlType::Time(Some(0)),
            SqlType::Timestamp(Some(3)),
            SqlType::Timestamptz(Some(6)),
            SqlType::Interval(Some(2)),
            SqlType::Uuid,
            SqlType::Json,
            SqlType::Jsonb,
            SqlType::Vector(None),
            SqlType::Vector(Some(384)),
            SqlType::Halfvec(None),
            SqlType::Halfvec(Some(384)),
            SqlType::Sparsevec(None),
            SqlType::Sparsevec(Some(30_000)),
            SqlType::Bit(None),
            SqlType::Bit(Some(8)),
            SqlType::Varbit(None),
            SqlType::Varbit(Some(70_000)),
            SqlType::Array(Box::new(SqlType::Vector(None))),
            SqlType::Array(Box::new(SqlType::Halfvec(None))),
            SqlType::Array(Box::new(SqlType::Sparsevec(None))),
            SqlType::Array(Box::new(SqlType::Bit(None))),
            SqlType::Array(Box::new(SqlType::Jsonb)),
            SqlType::Array(Box::new(SqlType::Float4)),
            SqlType::Oid,
            SqlType::Name,
            SqlType::Char,
            SqlType::Regclass,
            SqlType::Int2Vector,
            SqlType::OidVector,
            SqlType::Unknown,
            SqlType::Void,
        ];
        for ty in types {
            assert_eq!(SqlType::of_field(&ty.field("x", true)), Some(ty.clone()), "{ty}");
            assert_eq!(SqlType::parse(&ty.to_string()), Some(ty));
        }
    }

    #[test]
    fn a_type_of_times_is_stored_with_its_digits() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Column(#[serde(with = "stored")] SqlType);
        let read = |bytes: &[u8]| rmp_serde::from_slice::<Column>(bytes).ok();
        for ty in
            [SqlType::Timestamp(Some(3)), SqlType::Timestamp(None), SqlType::Varchar(Some(7)), SqlType::Text]
        {
            let bytes = rmp_serde::to_vec_named(&Column(ty.clone())).unwrap_or_default();
            assert_eq!(read(&bytes), Some(Column(ty.clone())));
            // What was stored before there were digits is the type itself.
            let plain = ty.with_precision(None);
            let bytes = rmp_serde::to_vec_named(&plain).unwrap_or_default();
            assert_eq!(read(&bytes), Some(Column(plain)));
        }
    }
}
