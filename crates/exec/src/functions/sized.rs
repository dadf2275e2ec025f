//! Functions of text whose result may be far longer than what they are given: they are refused past PostgreSQL's longest value,
//! and reserve memory before they allocate.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use quiver_base::{Error, MemoryBudget, SqlState};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The longest value, in bytes, as in PostgreSQL.
const MAX_VALUE: usize = 0x3fff_ffff;

/// The longest character of UTF-8, by which PostgreSQL reckons what padding takes.
const MAX_CHARACTER: usize = 4;

/// What stands in the place of DataFusion's `repeat`, `lpad` and `rpad`, which allocate whatever they are asked for.
pub(crate) fn all(memory: &Arc<MemoryBudget>) -> Vec<Arc<ScalarUDF>> {
    use datafusion::functions::{string, unicode};
    [string::repeat(), unicode::lpad(), unicode::rpad()]
        .into_iter()
        .map(|inner| Arc::new(ScalarUDF::new_from_impl(Sized { inner, memory: memory.clone() })))
        .collect()
}

#[derive(Debug)]
struct Sized {
    inner: Arc<ScalarUDF>,
    memory: Arc<MemoryBudget>,
}

impl PartialEq for Sized {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Sized {}

impl Hash for Sized {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Sized {
    /// Bytes of all results, at least; or the error of one that is too long.
    fn bytes(&self, args: &ScalarFunctionArgs) -> Result<usize> {
        let [text, count, ..] = args.args.as_slice() else { return Ok(0) };
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let lengths = bigints(&length(&text.to_array(rows)?)?)?;
        let counts = bigints(&count.to_array(rows)?)?;
        let (lengths, counts) = (lengths.as_primitive::<Int64Type>(), counts.as_primitive::<Int64Type>());
        let is_repeat = self.inner.name() == "repeat";
        let mut total = 0_usize;
        for row in (0..rows).filter(|row| lengths.is_valid(*row) && counts.is_valid(*row)) {
            let count = usize::try_from(counts.value(row)).unwrap_or(0);
            let length = usize::try_from(lengths.value(row)).unwrap_or(0);
            let (least, most) = match is_repeat {
                true => (length.saturating_mul(count), length.saturating_mul(count)),
                false => (count, count.saturating_mul(MAX_CHARACTER)),
            };
            if most > MAX_VALUE {
                let error = Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large");
                return Err(crate::to_datafusion(error));
            }
            total = total.saturating_add(least);
        }
        // The offsets of a batch of texts are of 32 bits.
        if total > i32::MAX as usize {
            let error = Error::new(SqlState::OUT_OF_MEMORY, "out of memory")
                .with_detail(format!("{} needs {total} bytes for {rows} rows.", self.inner.name()));
            return Err(crate::to_datafusion(error));
        }
        Ok(total)
    }
}

fn bigints(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(array, &DataType::Int64)?)
}

impl ScalarUDFImpl for Sized {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.bytes(&args)?;
        let held = self.memory.try_reserve(self.inner.name(), bytes).map_err(crate::to_datafusion)?;
        let result = self.inner.invoke_with_args(args);
        drop(held);
        result
    }
}
