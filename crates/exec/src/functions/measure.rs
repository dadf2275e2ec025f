//! Distances of sparse vectors and bit strings, and those distances that only indexes ask for, with pgvector's arithmetic.

use super::operand::{Bytes, Operand, check_same_dim, type_name};
use super::{coerce_vector, columnar, no_function, rows_of};
use arrow::array::Float64Builder;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::bits::BitsRef;
use quiver_base::sparse::SparseRef;
use quiver_base::{Error, SqlState};
use quiver_index::{Metric, distance};
use std::cmp::Ordering;
use std::sync::Arc;

/// The distance of two sparse vectors of one dimension.
pub(super) fn sparse_distance(metric: Metric, a: &SparseRef<'_>, b: &SparseRef<'_>) -> f64 {
    let sum = |term: fn(f32, f32) -> f32| pairs(a, b).map(|(a, b)| term(a, b)).sum::<f32>();
    let squares =
        |value: &SparseRef<'_>| f64::from(value.iter().map(|(_, value)| value * value).sum::<f32>());
    match metric {
        Metric::L2 => f64::from(sum(|a, b| (a - b) * (a - b))).sqrt(),
        Metric::InnerProduct => -f64::from(sum(|a, b| a * b)),
        Metric::L1 => f64::from(sum(|a, b| (a - b).abs())),
        // Nothing measures what sparse vectors have in common.
        Metric::Cosine | Metric::Jaccard => {
            let similarity = f64::from(sum(|a, b| a * b)) / (squares(a) * squares(b)).sqrt();
            1.0 - similarity.clamp(-1.0, 1.0)
        }
    }
}

/// Elements at every place where one of two vectors has one.
fn pairs<'a>(a: &SparseRef<'a>, b: &SparseRef<'a>) -> impl Iterator<Item = (f32, f32)> + use<'a> {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let a = if order != Ordering::Greater { left.next() } else { None };
        let b = if order != Ordering::Less { right.next() } else { None };
        Some((a.map_or(0.0, |(_, value)| value), b.map_or(0.0, |(_, value)| value)))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Hamming,
    Jaccard,
    L2Squared,
    Spherical,
}

/// A distance of bits, or one that no search is planned for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Measure {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    [
        ("hamming_distance", Kind::Hamming),
        ("jaccard_distance", Kind::Jaccard),
        ("vector_l2_squared_distance", Kind::L2Squared),
        ("halfvec_l2_squared_distance", Kind::L2Squared),
        ("sparsevec_l2_squared_distance", Kind::L2Squared),
        ("vector_spherical_distance", Kind::Spherical),
        ("halfvec_spherical_distance", Kind::Spherical),
    ]
    .map(|(name, kind)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Measure { name, kind, signature }))
    })
    .to_vec()
}

impl Measure {
    /// What orders bits as it does, taken as zeros and ones; `None` for what measures no bits.
    pub(crate) fn of_zeros_and_ones(&self) -> Option<Metric> {
        match self.kind {
            Kind::Hamming => Some(Metric::L2),
            Kind::Jaccard => Some(Metric::Jaccard),
            Kind::L2Squared | Kind::Spherical => None,
        }
    }

    fn compute(&self, args: &[ColumnarValue], rows: usize) -> quiver_base::Result<Float64Builder> {
        let mut out = Float64Builder::with_capacity(rows);
        if matches!(self.kind, Kind::Hamming | Kind::Jaccard) {
            let (left, right) = (Bytes::new(&args[0])?, Bytes::new(&args[1])?);
            for row in 0..rows {
                out.append_option(match (left.bits(row)?, right.bits(row)?) {
                    (Some(a), Some(b)) => Some(self.of_bits(&a, &b)?),
                    _ => None,
                });
            }
            return Ok(out);
        }
        let name = type_name(&args[0].data_type());
        let (left, right) = (Operand::new(&args[0])?, Operand::new(&args[1])?);
        for row in 0..rows {
            let distance = match (&left, &right) {
                (Operand::Dense(left), Operand::Dense(right)) => match (left.row(row), right.row(row)) {
                    (Some(a), Some(b)) => {
                        check_same_dim(name, a.len(), b.len())?;
                        Some(self.of_dense(a, b))
                    }
                    _ => None,
                },
                (Operand::Sparse(left), Operand::Sparse(right)) => {
                    match (left.sparse(row)?, right.sparse(row)?) {
                        (Some(a), Some(b)) => {
                            check_same_dim(name, a.dim() as usize, b.dim() as usize)?;
                            Some(f64::from(pairs(&a, &b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()))
                        }
                        _ => None,
                    }
                }
                _ => return Err(Error::internal(format!("{} of different types", self.name))),
            };
            out.append_option(distance);
        }
        Ok(out)
    }

    fn of_dense(&self, a: &[f32], b: &[f32]) -> f64 {
        match self.kind {
            Kind::L2Squared => f64::from(Metric::L2.score(a, b)),
            _ => {
                (-Metric::InnerProduct.distance_between(a, b)).clamp(-1.0, 1.0).acos() / std::f64::consts::PI
            }
        }
    }

    fn of_bits(&self, a: &BitsRef<'_>, b: &BitsRef<'_>) -> quiver_base::Result<f64> {
        if a.len() != b.len() {
            let message = format!("different bit lengths {} and {}", a.len(), b.len());
            return Err(Error::new(SqlState::DATA_EXCEPTION, message));
        }
        if self.kind == Kind::Hamming {
            return Ok(distance::hamming(a.bytes(), b.bytes()).into());
        }
        let (both, either) = distance::common_bits(a.bytes(), b.bytes());
        Ok(Metric::jaccard(both.into(), either.into()))
    }
}

impl ScalarUDFImpl for Measure {
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

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (constant, rows) = rows_of(&args.args, args.number_rows);
        let mut out = self.compute(&args.args, rows).map_err(crate::to_datafusion)?;
        columnar(Arc::new(out.finish()), constant)
    }
}
