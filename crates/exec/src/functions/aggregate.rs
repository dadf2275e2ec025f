//! `avg(vector)` and `sum(vector)` beside the numeric ones: one function of each name, which asks its argument's type.

use super::operand::{check_same_dim, is_half};
use super::{list_of_any_dim, out_of_range, vector_field};
use crate::vector::{Dense, Vectors, check_expected_dim, dense_column, halves};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, Volatility,
};
use std::sync::Arc;

pub(super) fn all(builtin: &[Arc<AggregateUDF>]) -> Vec<Arc<AggregateUDF>> {
    builtin
        .iter()
        .filter(|function| matches!(function.name(), "avg" | "sum"))
        .map(|function| {
            Arc::new(AggregateUDF::new_from_impl(VectorOr {
                mean: function.name() == "avg",
                other: function.clone(),
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

/// An aggregate of vectors, or `other` for every other type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct VectorOr {
    mean: bool,
    other: Arc<AggregateUDF>,
    signature: Signature,
}

fn is_vector(ty: &DataType) -> bool {
    match ty {
        DataType::FixedSizeList(item, _) | DataType::List(item) => {
            matches!(item.data_type(), DataType::Float32 | DataType::Float16)
        }
        _ => false,
    }
}

fn over_vectors(args: &AccumulatorArgs<'_>) -> bool {
    args.expr_fields.first().is_some_and(|field| is_vector(field.data_type()))
}

impl AggregateUDFImpl for VectorOr {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn aliases(&self) -> &[String] {
        self.other.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if let [ty] = arg_types
            && is_vector(ty)
        {
            return Ok(vec![ty.clone()]);
        }
        let fields: Vec<FieldRef> =
            arg_types.iter().map(|ty| Arc::new(Field::new("arg", ty.clone(), true))).collect();
        let coerced = datafusion::logical_expr::type_coercion::functions::fields_with_udf(
            &fields,
            self.other.as_ref(),
        )?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [ty] if is_vector(ty) => Ok(list_of_any_dim(arg_types)),
            _ => self.other.return_type(arg_types),
        }
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        match arg_fields {
            [field] if is_vector(field.data_type()) => {
                Ok(vector_field(self.name(), list_of_any_dim(&[field.data_type().clone()])))
            }
            _ => self.other.return_field(arg_fields),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if over_vectors(&args) {
            let ty = args.return_field.data_type().clone();
            let kind = if is_half(&ty) { Dense::Halfvec } else { Dense::Vector };
            return Ok(Box::new(VectorSum { mean: self.mean, kind, ty, count: 0, sum: Vec::new() }));
        }
        self.other.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if args.input_fields.first().is_some_and(|field| is_vector(field.data_type())) {
            let sums = DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
            return Ok(vec![
                Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
                Arc::new(Field::new(format!("{}[sum]", args.name), sums, true)),
            ]);
        }
        self.other.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !over_vectors(&args) && self.other.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.other.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if over_vectors(&args) { self.accumulator(args) } else { self.other.create_sliding_accumulator(args) }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.other.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.other.simplify()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if is_vector(data_type) {
            ScalarValue::try_from(data_type)
        } else {
            self.other.default_value(data_type)
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.other.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        if is_vector(data_type) {
            SetMonotonicity::NotMonotonic
        } else {
            self.other.inner().set_monotonicity(data_type)
        }
    }
}

/// Means are summed in double precision, sums in the type's own, as pgvector does.
#[derive(Debug)]
struct VectorSum {
    mean: bool,
    kind: Dense,
    ty: DataType,
    count: i64,
    sum: Vec<f64>,
}

impl VectorSum {
    fn add(&mut self, count: i64, values: impl ExactSizeIterator<Item = f64>) -> quiver_base::Result<()> {
        if self.count == 0 {
            self.sum = vec![0.0; values.len()];
        }
        match self.mean {
            true => check_expected_dim(self.sum.len(), values.len())?,
            false => check_same_dim(self.kind.name(), self.sum.len(), values.len())?,
        }
        self.count += count;
        for (sum, value) in self.sum.iter_mut().zip(values) {
            *sum = match self.mean {
                true => *sum + value,
                false => f64::from(self.kind.rounded((*sum + value) as f32)),
            };
            if sum.is_infinite() {
                return Err(out_of_range("overflow"));
            }
        }
        Ok(())
    }
}

impl Accumulator for VectorSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let vectors = Vectors::from_array(&values[0]).map_err(crate::to_datafusion)?;
        for vector in (0..values[0].len()).filter_map(|row| vectors.row(row)) {
            self.add(1, vector.iter().map(|value| f64::from(*value))).map_err(crate::to_datafusion)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.ty);
        }
        let divisor = if self.mean { self.count as f64 } else { 1.0 };
        let values: Vec<f32> = self.sum.iter().map(|sum| (sum / divisor) as f32).collect();
        let column = |_| -> quiver_base::Result<Option<Vec<f32>>> {
            let values = if self.kind == Dense::Halfvec { halves(&values)? } else { values.clone() };
            values.iter().try_for_each(|value| self.kind.check_element(*value))?;
            Ok(Some(values))
        };
        let column = dense_column(&self.ty, 1, column).map_err(crate::to_datafusion)?;
        ScalarValue::try_from_array(&column, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sum.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sums: Vec<ScalarValue> = self.sum.iter().map(|sum| ScalarValue::from(*sum)).collect();
        let sums = ScalarValue::new_list(&sums, &DataType::Float64, true);
        Ok(vec![ScalarValue::from(self.count), ScalarValue::List(sums)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (counts, sums) = (states[0].as_primitive::<Int64Type>(), states[1].as_list::<i32>());
        for row in (0..counts.len()).filter(|row| counts.value(*row) > 0) {
            let values = sums.value(row);
            let values = values.as_primitive::<Float64Type>().values();
            self.add(counts.value(row), values.iter().copied()).map_err(crate::to_datafusion)?;
        }
        Ok(())
    }
}
