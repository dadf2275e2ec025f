//! Access methods of CREATE INDEX, the operator classes they have, and their options.

use crate::bind::{folded, is_text, without_modifier};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, ObjectName, Value};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_index::{HnswParams, IvfParams, Metric, Quantization, VectorIndexKind};

/// An access method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Values in their order.
    BTree,
    /// Single values, for equality.
    Hash,
    /// Items of arrays, leaves and keys of jsonb.
    Gin,
    /// A graph of vectors.
    Hnsw,
    /// Lists of vectors.
    IvfFlat,
}

impl Method {
    /// By name; 42704 for names that PostgreSQL does not know, 0A000 for those that mean nothing here.
    pub(super) fn named(name: &str) -> Result<Method> {
        match name {
            "btree" => Ok(Method::BTree),
            "hash" => Ok(Method::Hash),
            "gin" => Ok(Method::Gin),
            "hnsw" => Ok(Method::Hnsw),
            "ivfflat" => Ok(Method::IvfFlat),
            "gist" | "spgist" | "brin" => Err(Error::unsupported(format!("access method \"{name}\""))
                .with_hint("Indexes are btree (the default), hash, gin, hnsw or ivfflat.")),
            other => Err(Error::new(
                SqlState::UNDEFINED_OBJECT,
                format!("access method \"{other}\" does not exist"),
            )),
        }
    }

    /// That of an index over vectors.
    pub(super) fn of_kind(kind: VectorIndexKind) -> Method {
        match kind {
            VectorIndexKind::Hnsw(_) => Method::Hnsw,
            VectorIndexKind::IvfFlat(_) => Method::IvfFlat,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Method::BTree => "btree",
            Method::Hash => "hash",
            Method::Gin => "gin",
            Method::Hnsw => "hnsw",
            Method::IvfFlat => "ivfflat",
        }
    }

    /// Whether it is over vectors.
    pub(super) fn is_vector(self) -> bool {
        matches!(self, Method::Hnsw | Method::IvfFlat)
    }

    /// `access method "…" does not support …`
    pub(super) fn refuses(self, what: &str) -> Error {
        Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("access method \"{}\" does not support {what}", self.name()),
        )
    }
}

/// An operator class for vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct VectorClass {
    name: &'static str,
    /// The type it is for, without dimensions.
    of: VectorType,
    /// What it measures.
    pub(super) metric: Metric,
    /// Whether ivfflat has it too.
    lists: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VectorType {
    Vector,
    Halfvec,
    Sparsevec,
    Bit,
}

impl VectorType {
    fn of(ty: &SqlType) -> Option<VectorType> {
        match ty {
            SqlType::Vector(_) => Some(VectorType::Vector),
            SqlType::Halfvec(_) => Some(VectorType::Halfvec),
            SqlType::Sparsevec(_) => Some(VectorType::Sparsevec),
            SqlType::Bit(_) => Some(VectorType::Bit),
            _ => None,
        }
    }
}

const fn class(name: &'static str, of: VectorType, metric: Metric, lists: bool) -> VectorClass {
    VectorClass { name, of, metric, lists }
}

const CLASSES: [VectorClass; 14] = [
    class("vector_l2_ops", VectorType::Vector, Metric::L2, true),
    class("vector_ip_ops", VectorType::Vector, Metric::InnerProduct, true),
    class("vector_cosine_ops", VectorType::Vector, Metric::Cosine, true),
    class("vector_l1_ops", VectorType::Vector, Metric::L1, false),
    class("halfvec_l2_ops", VectorType::Halfvec, Metric::L2, true),
    class("halfvec_ip_ops", VectorType::Halfvec, Metric::InnerProduct, true),
    class("halfvec_cosine_ops", VectorType::Halfvec, Metric::Cosine, true),
    class("halfvec_l1_ops", VectorType::Halfvec, Metric::L1, false),
    class("sparsevec_l2_ops", VectorType::Sparsevec, Metric::L2, false),
    class("sparsevec_ip_ops", VectorType::Sparsevec, Metric::InnerProduct, false),
    class("sparsevec_cosine_ops", VectorType::Sparsevec, Metric::Cosine, false),
    class("sparsevec_l1_ops", VectorType::Sparsevec, Metric::L1, false),
    // Bits are indexed as zeros and ones, whose Hamming distance is the square of L2.
    class("bit_hamming_ops", VectorType::Bit, Metric::L2, true),
    class("bit_jaccard_ops", VectorType::Bit, Metric::Jaccard, false),
];

/// `operator class "…" does not exist for access method "…"`
fn no_class(name: &str, method: Method) -> Error {
    Error::new(
        SqlState::UNDEFINED_OBJECT,
        format!("operator class \"{name}\" does not exist for access method \"{}\"", method.name()),
    )
}

/// `operator class "…" does not accept data type …`
fn wrong_type(name: &str, ty: &SqlType) -> Error {
    Error::new(
        SqlState::DATATYPE_MISMATCH,
        format!("operator class \"{name}\" does not accept data type {}", without_modifier(ty)),
    )
}

fn no_default(ty: &SqlType, method: Method) -> Error {
    Error::new(
        SqlState::UNDEFINED_OBJECT,
        format!(
            "data type {} has no default operator class for access method \"{}\"",
            without_modifier(ty),
            method.name()
        ),
    )
    .with_hint("You must specify an operator class for the index or define a default operator class for the data type.")
}

/// The name of an operator class without its schema.
pub(super) fn class_name(class: &ObjectName) -> String {
    class.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}

/// The class of a vector index's key; with the name to keep, if it is not the default one.
pub(super) fn vector_class(
    method: Method,
    class: Option<&ObjectName>,
    ty: &SqlType,
) -> Result<(VectorClass, Option<String>)> {
    let exists = |class: &&VectorClass| method == Method::Hnsw || class.lists;
    let Some(class) = class else {
        let default = CLASSES.iter().find(|class| class.name == "vector_l2_ops");
        return match (method, VectorType::of(ty), default) {
            (Method::IvfFlat, Some(VectorType::Vector), Some(class)) => Ok((*class, None)),
            _ => Err(no_default(ty, method)),
        };
    };
    let name = class_name(class);
    let found = CLASSES.iter().filter(exists).find(|class| class.name == name);
    let found = found.ok_or_else(|| no_class(&name, method))?;
    if VectorType::of(ty) != Some(found.of) {
        return Err(wrong_type(&name, ty));
    }
    let is_default = method == Method::IvfFlat && name == "vector_l2_ops";
    Ok((*found, (!is_default).then_some(name)))
}

/// The class of a gin index's key, kept if it is not the default one.
fn gin_class(class: Option<&ObjectName>, ty: &SqlType) -> Result<Option<String>> {
    let default = match ty {
        SqlType::Array(_) => Some("array_ops"),
        SqlType::Jsonb => Some("jsonb_ops"),
        _ => None,
    };
    let Some(class) = class else {
        return default.map(|_| None).ok_or_else(|| no_default(ty, Method::Gin));
    };
    let name = class_name(class);
    match name.as_str() {
        "jsonb_path_ops" if *ty == SqlType::Jsonb => Ok(Some(name)),
        _ if default == Some(&name) => Ok(None),
        "array_ops" | "jsonb_ops" | "jsonb_path_ops" => Err(wrong_type(&name, ty)),
        _ => Err(no_class(&name, Method::Gin)),
    }
}

/// The class of a btree's, a hash or a gin index's key: checked, and kept if it is one of those that compare text by bytes, which is how text is compared here
/// in any case.
pub(super) fn key_class(method: Method, class: Option<&ObjectName>, ty: &SqlType) -> Result<Option<String>> {
    if method == Method::Gin {
        return gin_class(class, ty);
    }
    let Some(class) = class else {
        return if matches!(ty, SqlType::Json) { Err(no_default(ty, method)) } else { Ok(None) };
    };
    let name = class_name(class);
    match name.as_str() {
        "text_pattern_ops" | "varchar_pattern_ops" | "text_ops" | "varchar_ops" => {
            if !is_text(ty) || matches!(ty, SqlType::Bpchar(_)) {
                return Err(wrong_type(&name, ty));
            }
            Ok(name.ends_with("_pattern_ops").then_some(name))
        }
        "bpchar_pattern_ops" | "bpchar_ops" => match ty {
            SqlType::Bpchar(_) => Ok(name.ends_with("_pattern_ops").then_some(name)),
            _ => Err(wrong_type(&name, ty)),
        },
        _ if default_key_class(ty).is_some_and(|default| default == name) => Ok(None),
        _ if KEY_CLASSES.contains(&name.as_str()) => Err(wrong_type(&name, ty)),
        _ => Err(no_class(&name, method)),
    }
}

const KEY_CLASSES: [&str; 17] = [
    "bool_ops",
    "int2_ops",
    "int4_ops",
    "int8_ops",
    "float4_ops",
    "float8_ops",
    "numeric_ops",
    "bytea_ops",
    "date_ops",
    "time_ops",
    "timestamp_ops",
    "timestamptz_ops",
    "interval_ops",
    "uuid_ops",
    "jsonb_ops",
    "vector_ops",
    "array_ops",
];

fn default_key_class(ty: &SqlType) -> Option<&'static str> {
    Some(match ty {
        SqlType::Bool => "bool_ops",
        SqlType::Int2 => "int2_ops",
        SqlType::Int4 => "int4_ops",
        SqlType::Int8 => "int8_ops",
        SqlType::Float4 => "float4_ops",
        SqlType::Float8 => "float8_ops",
        SqlType::Numeric(_) => "numeric_ops",
        SqlType::Bytea => "bytea_ops",
        SqlType::Date => "date_ops",
        SqlType::Time(_) => "time_ops",
        SqlType::Timestamp(_) => "timestamp_ops",
        SqlType::Timestamptz(_) => "timestamptz_ops",
        SqlType::Interval(_) => "interval_ops",
        SqlType::Uuid => "uuid_ops",
        SqlType::Jsonb => "jsonb_ops",
        SqlType::Vector(_) => "vector_ops",
        SqlType::Array(_) => "array_ops",
        _ => return None,
    })
}

/// Options as they are kept: names, and values as given.
pub(super) type Options = Vec<(String, String)>;

/// Reads `WITH (…)` of a vector index.
pub(super) fn vector_options(method: Method, with: &[Expr]) -> Result<(VectorIndexKind, Options)> {
    let options = options_of(with)?;
    let mut hnsw = HnswParams::default();
    let mut lists = IvfParams::default();
    for (name, value) in &options {
        match (method, name.as_str()) {
            (Method::Hnsw, "m") => hnsw.m = bounded(name, value, 2, 100)?,
            (Method::Hnsw, "ef_construction") => hnsw.ef_construction = bounded(name, value, 4, 1000)?,
            (Method::Hnsw, "quantization") => hnsw.quantization = value.parse()?,
            (Method::IvfFlat, "lists") => lists.lists = bounded(name, value, 1, 32_768)?,
            _ => return Err(unrecognized(name)),
        }
    }
    match method {
        Method::IvfFlat => Ok((VectorIndexKind::IvfFlat(lists), options)),
        _ => Ok((VectorIndexKind::Hnsw(hnsw), options)),
    }
}

/// What pgvector checks only when it builds, after everything else, and whether codes of that kind can be.
pub(super) fn check_params(kind: VectorIndexKind, metric: Metric, ty: &SqlType) -> Result<()> {
    let VectorIndexKind::Hnsw(params) = kind else { return Ok(()) };
    if params.ef_construction < 2 * params.m {
        let message = "ef_construction must be greater than or equal to 2 * m";
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    // They are in inverted lists, not in a graph.
    let is_coded = !matches!(params.quantization, Quantization::Auto | Quantization::None);
    if is_coded && matches!(ty, SqlType::Sparsevec(_)) {
        return Err(Error::unsupported(format!("quantization \"{}\" of sparsevec", params.quantization)));
    }
    params.check(metric)
}

/// Reads `WITH (…)` of a btree, a hash or a gin index, whose options change nothing here.
pub(super) fn key_options(method: Method, with: &[Expr]) -> Result<Options> {
    let options = options_of(with)?;
    for (name, value) in &options {
        match name.as_str() {
            "fastupdate" if method == Method::Gin => boolean(name, value)?,
            "gin_pending_list_limit" if method == Method::Gin => {
                bounded::<i64>(name, value, 64, 2_147_483_647)?;
            }
            "fillfactor" if method != Method::Gin => {
                bounded::<i64>(name, value, 10, 100)?;
            }
            "deduplicate_items" if method == Method::BTree => {}
            _ => return Err(unrecognized(name)),
        }
    }
    Ok(options)
}

fn options_of(with: &[Expr]) -> Result<Options> {
    let mut options: Options = Vec::new();
    for option in with {
        let (name, value) = option_of(option)?;
        if options.iter().any(|(other, _)| *other == name) {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("parameter \"{name}\" specified more than once"),
            ));
        }
        options.push((name, value));
    }
    Ok(options)
}

fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\""))
}

/// `name = value`.
fn option_of(option: &Expr) -> Result<(String, String)> {
    match option {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match left.as_ref() {
            Expr::Identifier(name) => Ok((folded(name), value_of(right))),
            Expr::CompoundIdentifier(names) => {
                let namespace = names.first().map(folded).unwrap_or_default();
                Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("unrecognized parameter namespace \"{namespace}\""),
                ))
            }
            other => Err(unrecognized(&other.to_string())),
        },
        Expr::Identifier(name) => Ok((folded(name), "true".to_owned())),
        other => Err(unrecognized(&other.to_string())),
    }
}

fn value_of(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(name) => folded(name),
        other => other.to_string().replace(' ', ""),
    }
}

fn boolean(name: &str, text: &str) -> Result<()> {
    let known = ["on", "off", "true", "false", "yes", "no", "1", "0"];
    if known.contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let message = format!("invalid value for boolean option \"{name}\": {text}");
    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
}

/// A whole number; a fraction is rounded, as PostgreSQL does with settings.
fn bounded<T: TryFrom<i64>>(name: &str, text: &str, min: i64, max: i64) -> Result<T> {
    let text = text.trim();
    let whole = text.parse::<i64>().ok();
    let rounded = || {
        let number: f64 = text.parse().ok()?;
        // Saturates, and what is not finite is refused.
        number.is_finite().then(|| number.round_ties_even() as i64)
    };
    let value = whole.or_else(rounded).ok_or_else(|| {
        Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for integer option \"{name}\": {text}"),
        )
    })?;
    match T::try_from(value) {
        Ok(fits) if (min..=max).contains(&value) => Ok(fits),
        _ => Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("value {text} out of bounds for option \"{name}\""),
        )
        .with_detail(format!("Valid values are between \"{min}\" and \"{max}\"."))),
    }
}
