//! sum and avg with the types PostgreSQL gives them: the sum of bigints and the mean of integers are numeric.

use super::interval_mean::{self, IntervalMean};
use super::numeric_mean::{NumericMean, NumericMeans};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    Volatility,
};
use quiver_base::SqlType;
use std::sync::Arc;

/// What plans call sum.
const TOTAL: &str = "total";

/// The name by which statements call an aggregate of a plan.
pub(crate) fn called(name: &str) -> &str {
    if name == TOTAL { "sum" } else { name }
}

/// DataFusion's aggregate over arguments brought to an exact type first.
pub(super) fn exact(inner: Arc<AggregateUDF>, mean: bool) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Exact { inner, mean, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    inner: Arc<AggregateUDF>,
    mean: bool,
    signature: Signature,
}

impl Exact {
    /// Whether it is avg of numerics, which divides as PostgreSQL does.
    fn is_over_numerics(&self, input: Option<&DataType>) -> bool {
        self.mean && input.is_some_and(DataType::is_decimal)
    }

    /// Whether it is avg of intervals, which DataFusion lacks.
    fn is_over_intervals(&self, ty: Option<&DataType>) -> bool {
        self.mean && matches!(ty, Some(DataType::Interval(_)))
    }
}

impl Exact {
    /// What DataFusion's mean of numerics would return; `None` of anything else.
    fn field_of_inner(&self, args: &AccumulatorArgs<'_>) -> DfResult<Option<FieldRef>> {
        let over_numerics = self.is_over_numerics(args.expr_fields.first().map(|field| field.data_type()));
        if over_numerics { self.inner.return_field(args.expr_fields).map(Some) } else { Ok(None) }
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        // Not by the name "sum": DataFusion would add up sums of integers as bigints are added.
        if self.mean { self.inner.name() } else { TOTAL }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        use DataType::{Int8, Int16, Int32, Int64, UInt64};
        let wanted = match (self.mean, types) {
            (true, [interval @ DataType::Interval(_)]) => interval.clone(),
            (true, [Int8 | Int16 | Int32 | Int64 | UInt64]) => SqlType::Numeric(None).arrow_type(),
            // Ten more digits are left for the sum.
            (false, [Int64 | UInt64]) => DataType::Decimal128(20, 0),
            _ => {
                let inner = self.inner.signature();
                return match inner.type_signature {
                    datafusion::logical_expr::TypeSignature::UserDefined => self.inner.coerce_types(types),
                    _ => datafusion::logical_expr::type_coercion::functions::fields_with_udf(
                        &types
                            .iter()
                            .map(|ty| Arc::new(Field::new("", ty.clone(), true)))
                            .collect::<Vec<FieldRef>>(),
                        self.inner.as_ref(),
                    )
                    .map(|fields| fields.iter().map(|field| field.data_type().clone()).collect()),
                };
            }
        };
        Ok(vec![wanted])
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        if self.is_over_intervals(types.first()) {
            return Ok(types[0].clone());
        }
        if self.is_over_numerics(types.first()) {
            return Ok(SqlType::Numeric(None).arrow_type());
        }
        self.inner.return_type(types)
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        if self.is_over_intervals(args.first().map(|field| field.data_type())) {
            return Ok(Arc::new(args[0].as_ref().clone().with_name(self.name()).with_nullable(true)));
        }
        if self.is_over_numerics(args.first().map(|field| field.data_type())) {
            return Ok(Arc::new(SqlType::Numeric(None).field(self.name(), true)));
        }
        self.inner.return_field(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        if self.is_over_intervals(Some(args.return_type())) {
            return Ok(Box::new(IntervalMean::default()));
        }
        if let Some(field) = self.field_of_inner(&args)? {
            let inner = self.inner.accumulator(AccumulatorArgs { return_field: field, ..args })?;
            return Ok(Box::new(NumericMean(inner)));
        }
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        if self.is_over_intervals(Some(args.return_type())) {
            return Ok(interval_mean::state_fields());
        }
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        if self.is_over_intervals(Some(args.return_type())) {
            return false;
        }
        match self.field_of_inner(&args) {
            Ok(Some(field)) => {
                self.inner.groups_accumulator_supported(AccumulatorArgs { return_field: field, ..args })
            }
            _ => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        if let Some(field) = self.field_of_inner(&args)? {
            let args = AccumulatorArgs { return_field: field, ..args };
            return Ok(Box::new(NumericMeans(self.inner.create_groups_accumulator(args)?)));
        }
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        if self.is_over_intervals(Some(args.return_type())) {
            return Ok(Box::new(IntervalMean::default()));
        }
        if let Some(field) = self.field_of_inner(&args)? {
            let args = AccumulatorArgs { return_field: field, ..args };
            return Ok(Box::new(NumericMean(self.inner.create_sliding_accumulator(args)?)));
        }
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, ty: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(ty)
    }
}
