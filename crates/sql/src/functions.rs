//! PostgreSQL's general functions and operators that DataFusion lacks or defines differently. Those of the system catalogs
//! are in `catalog`.

mod advisory;
mod array;
mod bit_aggregate;
mod bits;
mod bytes;
mod collect;
mod collected;
mod containment;
mod date_parse;
mod date_trunc;
mod dates;
mod decimals;
mod deferred;
mod degrees;
mod digits;
mod encodings;
mod erf;
mod exact;
mod identifiers;
mod interval_extreme;
mod interval_mean;
mod json;
mod json_build;
mod json_edit;
mod json_key;
mod lists;
mod make_dates;
mod math;
mod misc;
mod moments;
mod nested_arrays;
mod number_format;
mod number_parse;
mod numeric_math;
mod numeric_mean;
mod ordered_sets;
mod ordering;
mod overlaps;
mod pattern;
mod real_sum;
mod regex;
mod sequence;
mod series;
mod session;
mod signal;
mod single;
mod sliding;
mod sums;
mod text;
mod time;
mod to_char;
mod vectors;
mod zones;

pub(crate) use advisory::WAITING;
pub(crate) use array::{Quantifier, compare_array};
pub(crate) use bit_aggregate::bit_aggregate;
pub(crate) use collect::{aggregate, bytes_collected, is_collected};
pub(crate) use dates::extract;
pub(crate) use deferred::{
    deferred, deferred_aggregate, deferred_as, labelled_aggregate, settled, settled_aggregate,
};
pub(crate) use interval_extreme::interval_extreme_aggregate;
pub(crate) use json::json_operator;
pub(crate) use math::{date_math, int_math};
pub(crate) use misc::EVERY_DIGIT;
pub(crate) use nested_arrays::{array_of_arrays, matching_arrays};
pub(crate) use numeric_math::numeric_division;
pub(crate) use ordering::{extreme, frame_key, has_key, has_several_forms, is_key, key, one_zero};
pub(crate) use pattern::{like_escape, similar_to_escape};
pub(crate) use real_sum::real_sum;
pub(crate) use regex::check_pattern;
pub(crate) use single::{array_of_nothing, single_value};
pub(crate) use sliding::windowed;
pub(crate) use sums::called;
pub(crate) use text::quote_ident;

use crate::bind::{CastContext, CastStyle, cast_array, is_unknown_field};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray};
use arrow::datatypes::{DataType, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::{Result, SqlType};
use quiver_exec::to_datafusion;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

pub(crate) use session::FunctionContext;

/// The result type, from the arguments' types.
type Returns = Arc<dyn Fn(&[SqlType]) -> Result<SqlType> + Send + Sync>;
/// The work.
type Body = Arc<dyn Fn(&Args<'_>) -> Result<ArrayRef> + Send + Sync>;

/// A scalar function made from a closure. Arguments come as they are; the body asks for the types it wants.
pub(crate) struct Function {
    name: String,
    /// How it prints as an operator between its arguments; a function otherwise.
    operator: Option<&'static str>,
    returns: Returns,
    /// The type of every call.
    fixed: Option<SqlType>,
    /// Gives NULL for any argument that is.
    strict: bool,
    body: Body,
    signature: Signature,
}

impl Function {
    /// A function that always returns the same type.
    pub(crate) fn new(
        name: &str,
        volatility: Volatility,
        returns: SqlType,
        body: impl Fn(&Args<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Function {
        let fixed = Some(returns.clone());
        Function { fixed, ..Self::typed(name, volatility, move |_| Ok(returns.clone()), body) }
    }

    /// A function whose type depends on its arguments'.
    pub(crate) fn typed(
        name: &str,
        volatility: Volatility,
        returns: impl Fn(&[SqlType]) -> Result<SqlType> + Send + Sync + 'static,
        body: impl Fn(&Args<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Function {
        Function {
            name: name.to_owned(),
            operator: None,
            returns: Arc::new(returns),
            fixed: None,
            strict: false,
            body: Arc::new(body),
            signature: Signature::variadic_any(volatility),
        }
    }

    /// Printed between its arguments.
    pub(crate) fn operator(mut self, operator: &'static str) -> Function {
        self.operator = Some(operator);
        self
    }

    /// As DataFusion wants it.
    pub(crate) fn udf(mut self) -> Arc<ScalarUDF> {
        // "variadic any" wants one argument at least.
        let volatility = self.signature.volatility;
        self.strict = crate::catalog::is_strict(self.name.strip_suffix("_list").unwrap_or(&self.name));
        self.signature = Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::VariadicAny,
                datafusion::logical_expr::TypeSignature::Nullary,
            ],
            volatility,
        );
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// The type of a call whatever its arguments are; `None` if it depends on them, or is not known here.
pub(crate) fn fixed_type(function: &ScalarUDF) -> Option<&SqlType> {
    function.inner().downcast_ref::<Function>()?.fixed.as_ref()
}

fn types(fields: &[FieldRef]) -> Vec<SqlType> {
    fields
        .iter()
        .map(|field| match is_unknown_field(field) {
            true => SqlType::Unknown,
            false => SqlType::of_field(field).unwrap_or(SqlType::Unknown).with_precision(None),
        })
        .collect()
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        let list: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(match (self.operator, list.as_slice()) {
            (Some(operator), [left, right]) => format!("({left} {operator} {right})"),
            _ => format!("{}({})", self.name, list.join(", ")),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let types: Vec<SqlType> =
            args.iter().map(|ty| SqlType::from_arrow(ty).unwrap_or(SqlType::Unknown)).collect();
        Ok((self.returns)(&types).map_err(to_datafusion)?.arrow_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let ty = (self.returns)(&types(args.arg_fields)).map_err(to_datafusion)?;
        Ok(Arc::new(ty.field(&self.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let once = constant && self.signature.volatility != Volatility::Volatile;
        let rows = if once { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let types = types(&args.arg_fields);
        let result = (self.body)(&Args { arrays: &arrays, types: &types, rows }).map_err(to_datafusion)?;
        // Items of lists carry their SQL type as metadata, which builders do not know.
        let promised = args.return_field.data_type();
        let mut result = relabelled(result, promised)?;
        if self.strict {
            result = null_where_any_is(result, &arrays)?;
        }
        if once {
            return Ok(ColumnarValue::Scalar(only_value(&result)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// NULL in every row where an argument is.
fn null_where_any_is(result: ArrayRef, arguments: &[ArrayRef]) -> DfResult<ArrayRef> {
    let mut nulls = None;
    for argument in arguments.iter().filter(|argument| argument.len() == result.len()) {
        nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), argument.logical_nulls().as_ref());
    }
    match nulls.filter(|nulls| nulls.null_count() > result.logical_null_count()) {
        Some(nulls) => Ok(arrow::compute::nullif(&result, &BooleanArray::new(!nulls.inner(), None))?),
        None => Ok(result),
    }
}

/// The value of an array of one row. A list keeps the metadata of its items, which ScalarValue's own way loses.
pub(crate) fn only_value(array: &ArrayRef) -> DfResult<ScalarValue> {
    match array.as_list_opt::<i32>() {
        Some(list) if list.len() == 1 => Ok(ScalarValue::List(Arc::new(list.clone()))),
        _ => ScalarValue::try_from_array(array, 0),
    }
}

/// The array with the type that was promised: the same but for metadata of list items, or cast.
fn relabelled(array: ArrayRef, promised: &DataType) -> DfResult<ArrayRef> {
    if array.data_type() == promised {
        return Ok(array);
    }
    if let (DataType::List(field), Some(list)) = (promised, array.as_list_opt::<i32>()) {
        let items = relabelled(list.values().clone(), field.data_type())?;
        let list = ListArray::try_new(field.clone(), list.offsets().clone(), items, list.nulls().cloned())?;
        return Ok(Arc::new(list));
    }
    Ok(arrow::compute::cast(&array, promised)?)
}

/// The same values with a type that Arrow's does not say.
pub(crate) fn typed_as(ty: &SqlType) -> Function {
    Function::new(&format!("as {ty}"), Volatility::Immutable, ty.clone(), |args| Ok(args.array(0).clone()))
}

/// Evaluated arguments.
pub(crate) struct Args<'a> {
    arrays: &'a [ArrayRef],
    types: &'a [SqlType],
    rows: usize,
}

impl Args<'_> {
    /// How many arguments.
    pub(crate) fn count(&self) -> usize {
        self.arrays.len()
    }

    /// How many rows to return.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// An argument as it came.
    pub(crate) fn array(&self, index: usize) -> &ArrayRef {
        &self.arrays[index]
    }

    /// An argument's type.
    pub(crate) fn ty(&self, index: usize) -> &SqlType {
        &self.types[index]
    }

    /// An argument cast to a type.
    pub(crate) fn cast(&self, index: usize, to: &SqlType) -> Result<ArrayRef> {
        let style = CastStyle::utc();
        cast_array(&self.arrays[index], &self.types[index], to, CastContext::Explicit, &style)
    }

    /// An argument as text.
    pub(crate) fn text(&self, index: usize) -> Result<StringArray> {
        let array = match &self.types[index] {
            SqlType::Json | SqlType::Jsonb => arrow::compute::cast(&self.arrays[index], &DataType::Utf8)?,
            _ => self.cast(index, &SqlType::Text)?,
        };
        Ok(array.as_string::<i32>().clone())
    }

    /// An argument as bigint.
    pub(crate) fn int8(&self, index: usize) -> Result<Int64Array> {
        Ok(self.cast(index, &SqlType::Int8)?.as_primitive::<Int64Type>().clone())
    }

    /// An argument as double precision.
    pub(crate) fn float8(&self, index: usize) -> Result<arrow::array::Float64Array> {
        Ok(self.cast(index, &SqlType::Float8)?.as_primitive::<Float64Type>().clone())
    }

    /// An argument as boolean.
    pub(crate) fn bool(&self, index: usize) -> Result<BooleanArray> {
        Ok(self.cast(index, &SqlType::Bool)?.as_boolean().clone())
    }
}

/// Functions that need nothing of the session, by name: made once.
fn fixed() -> &'static HashMap<String, Arc<ScalarUDF>> {
    static FIXED: OnceLock<HashMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    FIXED.get_or_init(|| {
        let lists = [
            array::functions(),
            containment::functions(),
            bytes::functions(),
            degrees::functions(),
            digits::functions(),
            encodings::functions(),
            exact::functions(),
            json::functions(),
            lists::functions(),
            math::functions(),
            regex::functions(),
            json_build::functions(),
            json_edit::functions(),
            misc::functions(),
            ordered_sets::functions(),
            vec![like_escape(), similar_to_escape(), number_parse::to_number(), identifiers::parse_ident()],
        ];
        let own_name = |function: &Function| {
            let shared = ["length", "bit_length", "octet_length", "substring", "overlay", "position"];
            !shared.contains(&function.name.as_str())
        };
        let bits = bits::functions().into_iter().filter(own_name);
        by_name(lists.into_iter().flatten().chain(vectors::functions()).chain(bits))
    })
}

/// A function of vectors or bit strings, also where text has one of the same name.
pub(crate) fn extension_function(name: &str) -> Option<Arc<ScalarUDF>> {
    static EXTENSION: OnceLock<HashMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    let all = EXTENSION.get_or_init(|| {
        let mut all = by_name(bits::functions().into_iter().chain(vectors::functions()));
        for function in quiver_exec::extension_functions() {
            for alias in function.aliases() {
                all.insert(alias.clone(), function.clone());
            }
            all.insert(function.name().to_owned(), function);
        }
        all
    });
    all.get(name).cloned()
}

/// One of the functions that stand for another one's exact form.
pub(crate) fn exact(name: &str) -> Option<Arc<ScalarUDF>> {
    fixed().get(name).cloned()
}

fn by_name(functions: impl Iterator<Item = Function>) -> HashMap<String, Arc<ScalarUDF>> {
    functions.map(|function| (function.name.clone(), function.udf())).collect()
}

/// Every scalar function that a statement may call, found by name: the session's, ours, DataFusion's and the vector
/// extension's.
#[derive(Debug)]
pub(crate) struct FunctionSet {
    context: Arc<FunctionContext>,
    /// Made when the first name is asked for that is none of the others.
    session: OnceLock<HashMap<String, Arc<ScalarUDF>>>,
    engine: Arc<SessionState>,
}

impl FunctionSet {
    /// The functions of one statement.
    pub(crate) fn new(context: Arc<FunctionContext>, engine: Arc<SessionState>) -> FunctionSet {
        FunctionSet { context, session: OnceLock::new(), engine }
    }

    /// A function by its name in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(function) = fixed().get(name) {
            return Some(function.clone());
        }
        let session = self.session.get_or_init(|| session_functions(&self.context));
        session.get(name).or_else(|| self.engine.scalar_functions().get(name)).cloned()
    }

    /// Whether it is the engine's own, and PostgreSQL has one of that name.
    pub(crate) fn is_of_engine(&self, function: &Arc<ScalarUDF>) -> bool {
        let known = self.engine.scalar_functions().get(function.name());
        known.is_some_and(|known| Arc::ptr_eq(known, function))
            && extension_function(function.name()).is_none()
            && crate::catalog::is_function(crate::bind::postgresql_name(function.name()))
    }

    /// All names, for suggestions.
    pub(crate) fn names(&self) -> Vec<String> {
        self.engine.scalar_functions().keys().chain(fixed().keys()).cloned().collect()
    }
}

fn session_functions(context: &Arc<FunctionContext>) -> HashMap<String, Arc<ScalarUDF>> {
    let lists = [
        session::functions(context),
        signal::functions(context),
        advisory::functions(context),
        sequence::functions(context),
        date_parse::functions(context),
        dates::functions(context),
        make_dates::functions(context),
        overlaps::functions(context),
        series::functions(context),
        time::functions(context),
        text::functions(context),
    ];
    by_name(lists.into_iter().flatten())
}
