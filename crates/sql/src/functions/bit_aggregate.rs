//! `bit_and`, `bit_or` and `bit_xor` of bit strings.

use super::bits::combine;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use quiver_base::bits::BitsRef;
use quiver_base::{Result, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// By its name; `None` for others.
pub(crate) fn bit_aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    let (name, word, of): (_, _, fn(u8, u8) -> u8) = match name {
        "bit_and" => ("bit_and", "AND", |a, b| a & b),
        "bit_or" => ("bit_or", "OR", |a, b| a | b),
        "bit_xor" => ("bit_xor", "XOR", |a, b| a ^ b),
        _ => return None,
    };
    let signature = Signature::any(1, Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(BitAggregate { name, word, of: Operation(of), signature })))
}

/// What two bytes become.
#[derive(Clone, Copy, Debug)]
struct Operation(fn(u8, u8) -> u8);

#[derive(Debug)]
struct BitAggregate {
    name: &'static str,
    word: &'static str,
    of: Operation,
    signature: Signature,
}

impl PartialEq for BitAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for BitAggregate {}

impl std::hash::Hash for BitAggregate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for BitAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Binary)
    }

    fn return_field(&self, _args: &[FieldRef]) -> DfResult<FieldRef> {
        Ok(Arc::new(SqlType::Bit(None).field(self.name, true)))
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Bits { word: self.word, of: self.of, value: None }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(SqlType::Bit(None).field(args.name, true))])
    }
}

#[derive(Debug)]
struct Bits {
    word: &'static str,
    of: Operation,
    value: Option<Vec<u8>>,
}

impl Bits {
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.value = Some(match &self.value {
            None => bytes.to_vec(),
            Some(value) => combine(self.word, BitsRef::read(value)?, BitsRef::read(bytes)?, self.of.0)?,
        });
        Ok(())
    }
}

impl Accumulator for Bits {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(values) = values[0].as_binary_opt::<i32>() else { return Ok(()) };
        values.iter().flatten().try_for_each(|bytes| self.add(bytes).map_err(to_datafusion))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Binary(self.value.clone()))
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.value.clone())])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.as_ref().map_or(0, Vec::capacity)
    }
}
