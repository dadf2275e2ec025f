//! Functions that read the catalog: format_type, pg_get_indexdef, …_is_visible, sizes, privileges, the reg types' input and
//! output. Each is made for one statement and holds what that statement sees.

use super::context::CatalogContext;
use super::deparse::{constraint_definition, index_column_definition, index_definition};
use super::fixed::{PG_CATALOG, fixed};
use super::names;
use super::relations::{PG_CLASS, PG_CONSTRAINT};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use quiver_base::{ColumnId, Error, Result, SqlState, SqlType};
use quiver_cluster::{Constraint, Index, Table};
use std::sync::Arc;

/// The catalog function with this name, for one statement.
pub(crate) fn function(name: &str, context: &Arc<CatalogContext>) -> Option<Arc<ScalarUDF>> {
    let mut known = FUNCTIONS.iter().chain(super::describe::FUNCTIONS);
    let (name, returns, body) = known.find(|(known, _, _)| *known == name)?;
    Some(Arc::new(ScalarUDF::new_from_impl(CatalogFunction {
        name,
        returns: returns.sql_type(),
        body: *body,
        context: context.clone(),
        signature: Signature::one_of(
            vec![TypeSignature::VariadicAny, TypeSignature::Nullary],
            Volatility::Stable,
        ),
    })))
}

/// Arguments of one call, NULLs included.
pub(super) type Arguments<'a> = &'a [ScalarValue];
/// The work of a function.
pub(super) type Body = fn(&CatalogContext, Arguments<'_>) -> Result<Value>;

/// What one call gives.
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
}

/// What a function returns.
#[derive(Clone, Copy)]
pub(super) enum Returns {
    Bool,
    Int8,
    Text,
    Name,
    Regclass,
    Regtype,
    Regproc,
    Regnamespace,
    Regrole,
    Regprocedure,
    Regoper,
    Regoperator,
    Oid,
}

impl Returns {
    fn sql_type(self) -> SqlType {
        match self {
            Returns::Bool => SqlType::Bool,
            Returns::Int8 => SqlType::Int8,
            Returns::Text => SqlType::Text,
            Returns::Name => SqlType::Name,
            Returns::Regclass => SqlType::Regclass,
            Returns::Regtype => SqlType::Regtype,
            Returns::Regproc => SqlType::Regproc,
            Returns::Regnamespace => SqlType::Regnamespace,
            Returns::Regrole => SqlType::Regrole,
            Returns::Regprocedure => SqlType::Regprocedure,
            Returns::Regoper => SqlType::Regoper,
            Returns::Regoperator => SqlType::Regoperator,
            Returns::Oid => SqlType::Oid,
        }
    }
}

/// Names are PostgreSQL's; `regclassin` and the like are its own names for the casts' functions.
const FUNCTIONS: &[(&str, Returns, Body)] = &[
    ("format_type", Returns::Text, format_type),
    ("pg_get_expr", Returns::Text, |_, args| {
        Ok(text(args, 0).map_or(Value::Null, |it| Value::Text(it.to_owned())))
    }),
    ("pg_get_indexdef", Returns::Text, pg_get_indexdef),
    ("pg_get_constraintdef", Returns::Text, pg_get_constraintdef),
    ("pg_get_userbyid", Returns::Name, |context, args| {
        Ok(on_oid(args, |oid| Value::Text(context.role_name(oid))))
    }),
    ("pg_encoding_to_char", Returns::Name, |_, args| {
        Ok(on_oid(args, |it| Value::Text(if it == 6 { "UTF8" } else { "" }.to_owned())))
    }),
    ("pg_char_to_encoding", Returns::Int8, |_, args| {
        let is_utf8 = text(args, 0).is_some_and(|it| it.eq_ignore_ascii_case("utf8"));
        Ok(Value::Int(if is_utf8 { 6 } else { -1 }))
    }),
    ("pg_table_is_visible", Returns::Bool, pg_table_is_visible),
    ("pg_type_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_type", "typnamespace")),
    ("pg_function_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_proc", "pronamespace")),
    ("pg_operator_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_operator", "oprnamespace")),
    ("pg_opclass_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_opclass", "opcnamespace")),
    ("pg_opfamily_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_opfamily", "opfnamespace")),
    ("pg_collation_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_collation", "collnamespace")),
    ("pg_conversion_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_conversion", "connamespace")),
    ("pg_ts_config_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_ts_config", "cfgnamespace")),
    ("pg_statistics_obj_is_visible", Returns::Bool, |_, _| Ok(Value::Null)),
    ("pg_get_function_result", Returns::Text, pg_get_function_result),
    ("pg_get_function_arguments", Returns::Text, pg_get_function_arguments),
    ("pg_get_function_identity_arguments", Returns::Text, pg_get_function_arguments),
    ("pg_relation_is_publishable", Returns::Bool, |context, args| {
        Ok(on_oid(args, |oid| Value::Bool(user_table(context, oid).is_some())))
    }),
    ("pg_get_statisticsobjdef_columns", Returns::Text, |_, _| Ok(Value::Null)),
    ("pg_get_triggerdef", Returns::Text, |_, _| Ok(Value::Null)),
    ("pg_get_viewdef", Returns::Text, |context, args| {
        let oid = match (oid(args, 0), text(args, 0)) {
            (Some(oid), _) => Some(oid),
            (None, Some(name)) => names::regclass(context, name)?,
            (None, None) => None,
        };
        let view = oid.and_then(|oid| context.database.views.values().find(|view| view.id.0 == oid));
        Ok(view.map_or(Value::Null, |view| Value::Text(super::views::definition(view))))
    }),
    ("pg_get_ruledef", Returns::Text, |_, _| Ok(Value::Null)),
    ("pg_get_partkeydef", Returns::Text, |_, _| Ok(Value::Null)),
    ("pg_get_serial_sequence", Returns::Text, pg_get_serial_sequence),
    ("pg_table_size", Returns::Int8, relation_size),
    ("pg_relation_size", Returns::Int8, relation_size),
    ("pg_total_relation_size", Returns::Int8, relation_size),
    ("pg_indexes_size", Returns::Int8, |_, _| Ok(Value::Int(0))),
    ("pg_database_size", Returns::Int8, pg_database_size),
    ("pg_size_pretty", Returns::Text, pg_size_pretty),
    ("pg_tablespace_location", Returns::Text, |_, _| Ok(Value::Text(String::new()))),
    ("has_database_privilege", Returns::Bool, always),
    ("has_schema_privilege", Returns::Bool, always),
    ("has_table_privilege", Returns::Bool, always),
    ("has_column_privilege", Returns::Bool, always),
    ("has_any_column_privilege", Returns::Bool, always),
    ("has_sequence_privilege", Returns::Bool, always),
    ("has_function_privilege", Returns::Bool, always),
    ("has_type_privilege", Returns::Bool, always),
    ("pg_has_role", Returns::Bool, always),
    ("pg_is_in_recovery", Returns::Bool, |_, _| Ok(Value::Bool(false))),
    ("obj_description", Returns::Text, obj_description),
    ("col_description", Returns::Text, col_description),
    ("shobj_description", Returns::Text, |_, _| Ok(Value::Null)),
    ("to_regclass", Returns::Regclass, |context, args| optional_name(context, args, &SqlType::Regclass)),
    ("to_regtype", Returns::Regtype, |context, args| optional_name(context, args, &SqlType::Regtype)),
    ("to_regproc", Returns::Regproc, |context, args| optional_name(context, args, &SqlType::Regproc)),
    ("to_regnamespace", Returns::Regnamespace, |context, args| {
        optional_name(context, args, &SqlType::Regnamespace)
    }),
    ("to_regrole", Returns::Regrole, |context, args| optional_name(context, args, &SqlType::Regrole)),
    ("to_regprocedure", Returns::Regprocedure, |context, args| {
        optional_name(context, args, &SqlType::Regprocedure)
    }),
    ("to_regoper", Returns::Regoper, |context, args| optional_name(context, args, &SqlType::Regoper)),
    ("to_regoperator", Returns::Regoperator, |context, args| {
        optional_name(context, args, &SqlType::Regoperator)
    }),
    ("quote_ident", Returns::Text, |_, args| {
        Ok(text(args, 0).map_or(Value::Null, |it| Value::Text(names::quote_ident(it))))
    }),
];

/// Any value that is a number, or a number in text.
pub(super) fn oid(args: Arguments<'_>, position: usize) -> Option<u32> {
    match args.get(position)? {
        ScalarValue::Int16(it) => u32::try_from((*it)?).ok(),
        ScalarValue::Int32(it) => u32::try_from((*it)?).ok(),
        ScalarValue::Int64(it) => u32::try_from((*it)?).ok(),
        ScalarValue::UInt32(it) => *it,
        ScalarValue::UInt64(it) => u32::try_from((*it)?).ok(),
        ScalarValue::Utf8(it) | ScalarValue::Utf8View(it) | ScalarValue::LargeUtf8(it) => {
            it.as_ref()?.trim().parse().ok()
        }
        _ => None,
    }
}

/// An integer argument.
pub(super) fn int(args: Arguments<'_>, position: usize) -> Option<i64> {
    match args.get(position)? {
        ScalarValue::Int16(it) => it.map(i64::from),
        ScalarValue::Int32(it) => it.map(i64::from),
        ScalarValue::Int64(it) => *it,
        ScalarValue::UInt64(it) => it.and_then(|it| i64::try_from(it).ok()),
        ScalarValue::Decimal128(it, _, 0) => it.and_then(|it| i64::try_from(it).ok()),
        _ => None,
    }
}

/// A text argument.
pub(super) fn text(args: Arguments<'_>, position: usize) -> Option<&str> {
    match args.get(position)? {
        ScalarValue::Utf8(it) | ScalarValue::Utf8View(it) | ScalarValue::LargeUtf8(it) => it.as_deref(),
        _ => None,
    }
}

fn on_oid(args: Arguments<'_>, body: impl FnOnce(u32) -> Value) -> Value {
    oid(args, 0).map_or(Value::Null, body)
}

/// Every role may do everything, until privileges exist.
pub(super) fn always(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    Ok(if args.iter().any(ScalarValue::is_null) { Value::Null } else { Value::Bool(true) })
}

fn user_table(context: &CatalogContext, oid: u32) -> Option<&Arc<Table>> {
    context.tables().find(|table| table.id.0 == oid)
}

fn format_type(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let modifier = int(args, 1).and_then(|it| i32::try_from(it).ok());
    Ok(on_oid(args, |oid| Value::Text(names::format_type(oid, modifier))))
}

fn find_index(context: &CatalogContext, oid: u32) -> Option<(&Table, &Index)> {
    context.tables().find_map(|table| {
        let index = table.indexes.iter().find(|it| it.id.0 == oid)?;
        Some((table.as_ref(), index))
    })
}

fn pg_get_indexdef(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let Some((table, index)) = oid(args, 0).and_then(|oid| find_index(context, oid)) else {
        return Ok(Value::Null);
    };
    let pretty = matches!(args.get(2), Some(ScalarValue::Boolean(Some(true))));
    Ok(match int(args, 1).and_then(|it| usize::try_from(it).ok()) {
        None | Some(0) => Value::Text(index_definition(context, table, index, pretty)),
        Some(column) => index_column_definition(table, index, column, pretty)
            .map_or(Value::Text(String::new()), Value::Text),
    })
}

fn find_constraint(context: &CatalogContext, oid: u32) -> Option<(&Table, &Constraint)> {
    context.tables().find_map(|table| {
        let constraint = table.constraints.iter().find(|it| it.id == oid)?;
        Some((table.as_ref(), constraint))
    })
}

fn pg_get_constraintdef(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let found = oid(args, 0).and_then(|oid| find_constraint(context, oid));
    let pretty = matches!(args.get(1), Some(ScalarValue::Boolean(Some(true))));
    Ok(found.map_or(Value::Null, |(table, constraint)| {
        Value::Text(constraint_definition(table, constraint, pretty))
    }))
}

fn pg_table_is_visible(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    Ok(on_oid(args, |oid| match names::relation(context, oid) {
        Some((schema, name)) => Value::Bool(context.is_visible(schema, &name)),
        None => Value::Null,
    }))
}

/// Fixed objects are visible in pg_catalog, and the extension's in public, which is in every sensible search path.
pub(super) fn is_visible(args: Arguments<'_>, catalog: &str, schema_column: &str) -> Result<Value> {
    let (Some(oid), Some(table)) = (oid(args, 0), fixed().tables.get(catalog)) else {
        return Ok(Value::Null);
    };
    let oid = oid.to_string();
    let row = table.rows.iter().find(|row| table.value(row, "oid") == Some(&oid));
    let hidden = names::information_schema_oid().to_string();
    Ok(row.map_or(Value::Null, |row| Value::Bool(table.value(row, schema_column) != Some(&hidden))))
}

fn procedure(oid: u32, column: &str) -> Option<String> {
    let table = fixed().tables.get("pg_proc")?;
    let oid = oid.to_string();
    let row = table.rows.iter().find(|row| table.value(row, "oid") == Some(&oid))?;
    Some(table.value(row, column)?.to_owned())
}

/// What a fixed function returns.
pub(super) fn function_result(oid: u32) -> Option<String> {
    let ty = procedure(oid, "prorettype")?.parse().ok()?;
    let set = if procedure(oid, "proretset").as_deref() == Some("t") { "SETOF " } else { "" };
    Some(format!("{set}{}", names::format_type(ty, None)))
}

fn pg_get_function_result(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    Ok(oid(args, 0).and_then(function_result).map_or(Value::Null, Value::Text))
}

/// A fixed function's arguments, those that go out too.
pub(super) fn function_arguments(oid: u32) -> Option<String> {
    let list = |column| {
        let text = procedure(oid, column)?;
        Some(text.trim_matches(['{', '}']).split(',').map(str::to_owned).collect::<Vec<_>>())
    };
    let types = match list("proallargtypes") {
        Some(all) => all,
        None => procedure(oid, "proargtypes")?.split_ascii_whitespace().map(str::to_owned).collect(),
    };
    let (named, modes) = (list("proargnames").unwrap_or_default(), list("proargmodes").unwrap_or_default());
    let types = types.iter().enumerate().filter_map(|(position, ty)| {
        let ty = names::format_type(ty.parse().unwrap_or(0), None);
        let mode = match modes.get(position).map_or("i", String::as_str) {
            "o" => "OUT ",
            "b" => "INOUT ",
            "v" => "VARIADIC ",
            // Columns of a table that is returned.
            "t" => return None,
            _ => "",
        };
        Some(match named.get(position).filter(|it| !it.is_empty() && *it != "\"\"") {
            Some(name) => format!("{mode}{name} {ty}"),
            None => format!("{mode}{ty}"),
        })
    });
    Some(types.collect::<Vec<_>>().join(", "))
}

fn pg_get_function_arguments(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    Ok(oid(args, 0).and_then(function_arguments).map_or(Value::Null, Value::Text))
}

fn pg_get_serial_sequence(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let (Some(relation), Some(column)) = (text(args, 0), text(args, 1)) else { return Ok(Value::Null) };
    let oid = names::regclass(context, relation)?
        .ok_or_else(|| missing(SqlState::UNDEFINED_TABLE, "relation", relation))?;
    let Some(table) = user_table(context, oid) else { return Ok(Value::Null) };
    let id = table.columns.iter().find(|it| it.name == column && !it.dropped).map(|it| it.id).ok_or_else(
        || {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
            Error::new(SqlState::UNDEFINED_COLUMN, message)
        },
    )?;
    let owned = context.database.sequences.values().find(|it| it.owned_by == Some((table.id, id)));
    Ok(owned.map_or(Value::Null, |sequence| {
        let schema = names::quote_ident(&context.schema_name(sequence.schema));
        Value::Text(format!("{schema}.{}", names::quote_ident(&sequence.name)))
    }))
}

fn table_bytes(context: &CatalogContext, table: &Table) -> i64 {
    let stats = context.cluster.table_stats(table);
    let bytes: u64 = stats.shards.iter().map(|it| it.object_bytes + it.memtable_bytes).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Of a table by oid or name: its live objects and unflushed rows. Indexes are in the table's objects: 0 of their own.
fn relation_size(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let oid = match (oid(args, 0), text(args, 0)) {
        (Some(oid), _) => oid,
        (None, Some(name)) => names::regclass(context, name)?
            .ok_or_else(|| missing(SqlState::UNDEFINED_TABLE, "relation", name))?,
        (None, None) => return Ok(Value::Null),
    };
    Ok(match user_table(context, oid) {
        Some(table) => Value::Int(table_bytes(context, table)),
        None if names::relation(context, oid).is_some() => Value::Int(0),
        None => Value::Null,
    })
}

fn pg_database_size(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let is_own = match (oid(args, 0), text(args, 0)) {
        (Some(oid), _) => oid == context.database.id.0,
        (None, name) => name == Some(context.database.name.as_str()),
    };
    // Another database's tables are not in this session's view.
    Ok(Value::Int(if is_own { database_bytes(context) } else { 0 }))
}

/// The bytes of every table of the database.
pub(super) fn database_bytes(context: &CatalogContext) -> i64 {
    context.tables().map(|table| table_bytes(context, table)).sum()
}

/// As PostgreSQL rounds: a unit is used until ten thousand and some of it.
fn pg_size_pretty(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let Some(bytes) = int(args, 0) else { return Ok(Value::Null) };
    const LIMIT: i64 = 10 * 1024;
    if bytes.abs() < LIMIT {
        return Ok(Value::Text(format!("{bytes} bytes")));
    }
    // One bit more than the unit is kept, to round half up at the end.
    let mut doubled = bytes >> 9;
    for unit in ["kB", "MB", "GB", "TB"] {
        if doubled.abs() < 2 * LIMIT - 1 {
            return Ok(Value::Text(format!("{} {unit}", (doubled + doubled.signum()) / 2)));
        }
        doubled >>= 10;
    }
    Ok(Value::Text(format!("{} PB", (doubled + doubled.signum()) / 2)))
}

fn comment(context: &CatalogContext, class: u32, object: u32, column: u32) -> Option<String> {
    if let Some(text) = context.database.comments.get(&(class, object, column)) {
        return Some(text.clone());
    }
    let table = fixed().tables.get("pg_description")?;
    let (class, object, column) = (class.to_string(), object.to_string(), column.to_string());
    let row = table.rows.iter().find(|row| {
        table.value(row, "objoid") == Some(&object)
            && table.value(row, "classoid") == Some(&class)
            && table.value(row, "objsubid") == Some(&column)
    })?;
    Some(table.value(row, "description")?.to_owned())
}

fn obj_description(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let Some(object) = oid(args, 0) else { return Ok(Value::Null) };
    let class = match text(args, 1) {
        None => PG_CLASS,
        Some("pg_constraint") => PG_CONSTRAINT,
        Some(name) => match names::relation_in(context, PG_CATALOG, name) {
            Some(oid) => oid,
            None => return Ok(Value::Null),
        },
    };
    Ok(comment(context, class, object, 0).map_or(Value::Null, Value::Text))
}

fn col_description(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let (Some(object), Some(column)) = (oid(args, 0), int(args, 1).and_then(|it| u16::try_from(it).ok()))
    else {
        return Ok(Value::Null);
    };
    let column = ColumnId(column);
    Ok(comment(context, PG_CLASS, object, column.0.into()).map_or(Value::Null, Value::Text))
}

/// to_regclass and its kin: NULL where a cast would fail for want of the object.
fn optional_name(context: &CatalogContext, args: Arguments<'_>, ty: &SqlType) -> Result<Value> {
    let Some(name) = text(args, 0) else { return Ok(Value::Null) };
    if name.trim().parse::<u32>().is_ok() {
        return Ok(Value::Null);
    }
    Ok(super::references::find(context, ty, name)?.map_or(Value::Null, |oid| Value::Int(oid.into())))
}

/// `kind "name" does not exist`.
pub(super) fn missing(state: SqlState, kind: &str, name: &str) -> Error {
    Error::new(state, format!("{kind} \"{name}\" does not exist"))
}

/// One of [`FUNCTIONS`], with what the statement sees.
struct CatalogFunction {
    name: &'static str,
    returns: SqlType,
    body: Body,
    context: Arc<CatalogContext>,
    signature: Signature,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for CatalogFunction {}

impl std::hash::Hash for CatalogFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl CatalogFunction {
    fn call(&self, args: &[ScalarValue]) -> DataFusionResult<ScalarValue> {
        let value =
            (self.body)(&self.context, args).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(match value {
            Value::Null => ScalarValue::try_from(&self.returns.arrow_type())?,
            Value::Bool(it) => ScalarValue::Boolean(Some(it)),
            Value::Int(it) => ScalarValue::Int64(Some(it)),
            Value::Text(it) => ScalarValue::Utf8(Some(it)),
        })
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.returns.arrow_type())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.returns.field(self.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalars: Option<Vec<ScalarValue>> = args
            .args
            .iter()
            .map(|it| match it {
                ColumnarValue::Scalar(scalar) => Some(scalar.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(ColumnarValue::Scalar(self.call(&scalars)?));
        }
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut values = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let scalars = arrays.iter().map(|it: &ArrayRef| ScalarValue::try_from_array(it, row));
            values.push(self.call(&scalars.collect::<DataFusionResult<Vec<_>>>()?)?);
        }
        match values.is_empty() {
            true => Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.returns.arrow_type()))),
            false => Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?)),
        }
    }
}
