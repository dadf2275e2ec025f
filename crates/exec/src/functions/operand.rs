//! Arguments of the extension's functions, whichever of its types carries them.

use crate::vector::{Vectors, sparse_values};
use arrow::array::{Array, BinaryArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use quiver_base::bits::BitsRef;
use quiver_base::sparse::SparseRef;
use quiver_base::{Error, Result, SqlState};

/// Values of a column that are bytes: sparsevec, bit.
#[derive(Debug)]
pub(super) struct Bytes {
    array: BinaryArray,
    constant: bool,
}

impl Bytes {
    pub(super) fn new(value: &ColumnarValue) -> Result<Bytes> {
        let array = value.to_array(1).map_err(crate::from_datafusion)?;
        let constant = matches!(value, ColumnarValue::Scalar(_));
        Ok(Bytes { array: sparse_values(&array)?.clone(), constant })
    }

    fn row(&self, row: usize) -> Option<&[u8]> {
        let row = if self.constant { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    pub(super) fn sparse(&self, row: usize) -> Result<Option<SparseRef<'_>>> {
        self.row(row).map(SparseRef::read).transpose()
    }

    pub(super) fn bits(&self, row: usize) -> Result<Option<BitsRef<'_>>> {
        self.row(row).map(BitsRef::read).transpose()
    }
}

/// A vector of any of the three types.
#[derive(Debug)]
pub(super) enum Operand {
    Dense(Vectors),
    Sparse(Bytes),
}

impl Operand {
    pub(super) fn new(value: &ColumnarValue) -> Result<Operand> {
        Ok(match value.data_type() {
            DataType::Binary => Operand::Sparse(Bytes::new(value)?),
            _ => Operand::Dense(Vectors::new(value)?),
        })
    }
}

/// The type of an argument, as errors name it.
pub(super) fn type_name(ty: &DataType) -> &'static str {
    match ty {
        DataType::Binary => "sparsevec",
        _ if is_half(ty) => "halfvec",
        _ => "vector",
    }
}

/// Whether a type is `halfvec`'s.
pub(super) fn is_half(ty: &DataType) -> bool {
    match ty {
        DataType::FixedSizeList(item, _) | DataType::List(item) => *item.data_type() == DataType::Float16,
        _ => false,
    }
}

/// Two operands must have as many dimensions.
pub(super) fn check_same_dim(name: &str, a: usize, b: usize) -> Result<()> {
    if a == b {
        return Ok(());
    }
    Err(Error::new(SqlState::DATA_EXCEPTION, format!("different {name} dimensions {a} and {b}")))
}
