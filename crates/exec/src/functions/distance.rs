//! Distance functions. The top-k rule recognises them by type.

use super::measure::sparse_distance;
use super::operand::{Operand, check_same_dim, type_name};
use super::{coerce_vector, columnar, no_function, rows_of};
use crate::vector::parse;
use arrow::array::Float64Builder;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::Error;
use quiver_index::Metric;
use std::sync::Arc;

/// A distance of two vectors as double precision.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Distance {
    name: &'static str,
    metric: Metric,
    negated: bool,
    signature: Signature,
}

impl Distance {
    fn function(name: &'static str, metric: Metric, negated: bool) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Distance {
            name,
            metric,
            negated,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    }

    /// What it measures.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Whether a larger result means nearer: `inner_product` is minus the metric's distance.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    fn at(
        &self,
        name: &str,
        row: usize,
        left: &Operand,
        right: &Operand,
    ) -> quiver_base::Result<Option<f64>> {
        let distance = match (left, right) {
            (Operand::Dense(left), Operand::Dense(right)) => {
                let Some((a, b)) = left.row(row).zip(right.row(row)) else { return Ok(None) };
                check_same_dim(name, a.len(), b.len())?;
                self.metric.distance_between(a, b)
            }
            (Operand::Sparse(left), Operand::Sparse(right)) => {
                let Some((a, b)) = left.sparse(row)?.zip(right.sparse(row)?) else { return Ok(None) };
                check_same_dim(name, a.dim() as usize, b.dim() as usize)?;
                sparse_distance(self.metric, &a, &b)
            }
            // NULL without a type is read as a dense vector.
            (Operand::Dense(none), _) | (_, Operand::Dense(none)) if none.row(row).is_none() => {
                return Ok(None);
            }
            _ => return Err(Error::internal(format!("{} of different types", self.name))),
        };
        // One NaN: sorting would tell a negative one from a positive one.
        let distance = if distance.is_nan() { f64::NAN } else { distance };
        Ok(Some(if self.negated { -distance } else { distance }))
    }
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Distance::function("l2_distance", Metric::L2, false),
        Distance::function("inner_product", Metric::InnerProduct, true),
        Distance::function("vector_negative_inner_product", Metric::InnerProduct, false),
        Distance::function("halfvec_negative_inner_product", Metric::InnerProduct, false),
        Distance::function("sparsevec_negative_inner_product", Metric::InnerProduct, false),
        Distance::function("cosine_distance", Metric::Cosine, false),
        Distance::function("l1_distance", Metric::L1, false),
    ]
}

impl ScalarUDFImpl for Distance {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, _] = arg_types else {
            return Err(no_function(self.name, arg_types));
        };
        arg_types.iter().map(|ty| coerce_vector(self.name, ty)).collect()
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name, DataType::Float64, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    /// Reads a query vector given as text once, not once a batch.
    fn simplify(&self, mut args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        for arg in &mut args {
            if let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = arg {
                let vector = parse(text).map_err(crate::to_datafusion)?;
                *arg = Expr::Literal(crate::vector::scalar(&vector), metadata.clone());
            }
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (constant, rows) = rows_of(&args.args, args.number_rows);
        let name = type_name(&args.args[0].data_type());
        let operand = |at: usize| Operand::new(&args.args[at]).map_err(crate::to_datafusion);
        let (left, right) = (operand(0)?, operand(1)?);
        let mut out = Float64Builder::with_capacity(rows);
        for row in 0..rows {
            out.append_option(self.at(name, row, &left, &right).map_err(crate::to_datafusion)?);
        }
        columnar(Arc::new(out.finish()), constant)
    }
}
