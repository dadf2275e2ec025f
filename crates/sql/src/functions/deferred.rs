//! Functions that mean something else for vectors and bit strings, and those of the engine, which takes an untyped literal for
//! text: they stand in the plan until the types of their arguments are known, then the pass that types the plan puts the right
//! one there.

use crate::bind::without_modifier;
use crate::catalog::{Choice, chosen_function, is_open, is_vector_like};
use crate::oids::{type_of_oid, type_oid};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, GroupsAccumulator, ReturnFieldArgs,
    ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use quiver_base::{Error, SQL_TYPE_KEY, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// Stands for a scalar function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Deferred {
    /// The one for everything but bit strings.
    other: Arc<ScalarUDF>,
    /// How the statement calls it, where that is another name.
    called: Option<&'static str>,
    signature: Signature,
}

/// Stands for `other` or its overload for bit strings.
pub(crate) fn deferred(other: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    deferred_as(other, None)
}

/// The same, for a function that PostgreSQL has by another name than the engine.
pub(crate) fn deferred_as(other: Arc<ScalarUDF>, called: Option<&'static str>) -> Arc<ScalarUDF> {
    let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
    let signature = Signature::one_of(any, other.signature().volatility);
    Arc::new(ScalarUDF::new_from_impl(Deferred { other, called, signature }))
}

/// What PostgreSQL says that a call of these arguments returns, where that does not depend on them.
fn declared(name: &str, fields: &[FieldRef]) -> Option<SqlType> {
    let types = |text: SqlType| {
        let oid = move |field: &FieldRef| match SqlType::of_field(field) {
            // A literal without a type is text here.
            Some(SqlType::Text) => type_oid(&text),
            Some(ty) => type_oid(&without_modifier(&ty)),
            None => type_oid(&SqlType::Unknown),
        };
        fields.iter().map(oid).collect::<Vec<u32>>()
    };
    let choices = [SqlType::Text, SqlType::Unknown].map(|text| chosen_function(name, &types(text)));
    choices.into_iter().flatten().find_map(|choice| match choice {
        Choice::One(signature) if !is_open(signature.result) => type_of_oid(signature.result),
        _ => None,
    })
}

/// The function for everything but bit strings.
pub(crate) fn settled(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.inner().downcast_ref::<Deferred>() {
        Some(deferred) => deferred.other.clone(),
        None => function,
    }
}

fn unresolved() -> datafusion::error::DataFusionError {
    to_datafusion(Error::internal("an overload was not chosen"))
}

impl ScalarUDFImpl for Deferred {
    fn name(&self) -> &str {
        self.called.unwrap_or(self.other.name())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Err(unresolved())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types = args.arg_fields.iter().filter_map(|field| SqlType::of_field(field));
        let Some(ty) = types.into_iter().find(is_vector_like) else {
            // Arguments that do not meet are refused in PostgreSQL's words by the pass that types the plan.
            let Ok(arg_fields) = fields_with_udf(args.arg_fields, self.other.as_ref()) else {
                if let Some(ty) = declared(self.name(), args.arg_fields) {
                    return Ok(Arc::new(ty.field(self.name(), true)));
                }
                let first = args.arg_fields.first().ok_or_else(unresolved)?;
                return Ok(Arc::new(first.as_ref().clone().with_name(self.name()).with_nullable(true)));
            };
            return self.other.return_field_from_args(ReturnFieldArgs {
                arg_fields: &arg_fields,
                scalar_arguments: args.scalar_arguments,
            });
        };
        let ty = match self.name() {
            "strpos" => SqlType::Int4,
            "substring" => SqlType::Bit(None),
            _ => without_modifier(&ty),
        };
        Ok(Arc::new(ty.field(self.name(), true)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(unresolved())
    }
}

/// Stands for an aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DeferredAggregate {
    /// The one for everything but bit strings.
    other: Arc<AggregateUDF>,
    signature: Signature,
}

/// Stands for `other` or its overload for bit strings.
pub(crate) fn deferred_aggregate(other: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(DeferredAggregate { other, signature }))
}

/// The aggregate for everything but bit strings.
pub(crate) fn settled_aggregate(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match function.inner().downcast_ref::<DeferredAggregate>() {
        Some(deferred) => deferred.other.clone(),
        None => function,
    }
}

impl AggregateUDFImpl for DeferredAggregate {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> DfResult<String> {
        let name = self.other.schema_name(params)?;
        // By its own name a cast is what it casts: sums of two casts of one column would be one.
        let is_cast = params.args.iter().any(|arg| matches!(arg, Expr::Cast(_)));
        let args: Vec<String> = params.args.iter().map(ToString::to_string).collect();
        Ok(if is_cast { format!("{name} of {}", args.join(", ")) } else { name })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(args[0].clone())
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        Ok(Arc::new(args[0].as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Err(unresolved())
    }
}

/// `array_agg` whose result says what its items are, where their Arrow type alone does not.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Labelled {
    other: Arc<AggregateUDF>,
    ty: SqlType,
}

/// The reverse of an aggregate that wraps another.
pub(super) fn reversed(
    other: &AggregateUDF,
    wrap: impl FnOnce(Arc<AggregateUDF>) -> Arc<AggregateUDF>,
) -> ReversedUDAF {
    match other.reverse_udf() {
        ReversedUDAF::Reversed(other) => ReversedUDAF::Reversed(wrap(other)),
        same => same,
    }
}

/// An aggregate with the SQL type of its result.
pub(crate) fn labelled_aggregate(other: Arc<AggregateUDF>, ty: SqlType) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Labelled { other, ty }))
}

impl AggregateUDFImpl for Labelled {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn signature(&self) -> &Signature {
        self.other.signature()
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        self.other.return_type(args)
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        let field = self.other.return_field(args)?.as_ref().clone();
        let label = [(SQL_TYPE_KEY.to_owned(), self.ty.to_string())];
        Ok(Arc::new(field.with_metadata(label.into())))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        self.other.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.other.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.other.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        self.other.create_groups_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.other.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> DfResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let other = self.other.as_ref().clone().with_beneficial_ordering(beneficial_ordering)?;
        let labelled = |other| Labelled { other: Arc::new(other), ty: self.ty.clone() };
        Ok(other.map(|other| Arc::new(labelled(other)) as Arc<dyn AggregateUDFImpl>))
    }

    // Without it, the engine takes rows in the opposite order for rows in order.
    fn reverse_expr(&self) -> ReversedUDAF {
        reversed(&self.other, |other| labelled_aggregate(other, self.ty.clone()))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.other.inner().supports_null_handling_clause()
    }
}
