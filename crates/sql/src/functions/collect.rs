//! Aggregates that DataFusion lacks: values that are JSON already, collected as an array or an object.

use crate::decode::{canonical_jsonb, put_string};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use quiver_base::{Error, SqlState, SqlType};
use quiver_exec::to_datafusion;
use std::collections::HashSet;
use std::sync::Arc;

/// An aggregate by its name in lower case: ours, or DataFusion's by its name there.
pub(crate) fn aggregate(name: &str, engine: &SessionState) -> Option<Arc<AggregateUDF>> {
    let (object, ty) = match name {
        "json_collect" => (false, SqlType::Json),
        "jsonb_collect" => (false, SqlType::Jsonb),
        "json_object_collect" => (true, SqlType::Json),
        "jsonb_object_collect" => (true, SqlType::Jsonb),
        _ => {
            if let Some(moment) = super::moments::moment(name) {
                return Some(moment);
            }
            let name = match name {
                "every" => "bool_and",
                other => other,
            };
            let found = engine.aggregate_functions().get(name).cloned()?;
            return Some(match name {
                "sum" => super::sums::exact(found, false),
                "avg" => super::sums::exact(found, true),
                _ => found,
            });
        }
    };
    let signature = Signature::any(if object { 2 } else { 1 }, Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(Collect { object, ty, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collect {
    object: bool,
    ty: SqlType,
    signature: Signature,
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &str {
        match (self.object, &self.ty) {
            (false, SqlType::Json) => "json_collect",
            (false, _) => "jsonb_collect",
            (true, SqlType::Json) => "json_object_collect",
            (true, _) => "jsonb_object_collect",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field(&self, _: &[FieldRef]) -> DfResult<FieldRef> {
        Ok(Arc::new(self.ty.field(self.name(), true)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Collected {
            object: self.object,
            canonical: self.ty == SqlType::Jsonb,
            seen: args.is_distinct.then(HashSet::new),
            parts: String::new(),
            any: false,
        }))
    }

    fn state_fields(&self, _: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new("parts", DataType::Utf8, true))])
    }
}

/// The parts between the brackets.
#[derive(Debug)]
struct Collected {
    object: bool,
    canonical: bool,
    /// Of a DISTINCT aggregate: what has come already.
    seen: Option<HashSet<String>>,
    parts: String,
    any: bool,
}

impl Collected {
    fn push(&mut self, part: &str) {
        if let Some(seen) = &mut self.seen
            && !seen.insert(part.to_owned())
        {
            return;
        }
        if self.any {
            self.parts.push_str(", ");
        }
        self.any = true;
        self.parts.push_str(part);
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        // After the arguments come the keys of an ORDER BY.
        let value = usize::from(self.object);
        let texts = arrow::compute::cast(&values[value], &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let keys = match self.object {
            true => Some(arrow::compute::cast(&values[0], &DataType::Utf8)?),
            false => None,
        };
        for row in 0..texts.len() {
            let value = if texts.is_null(row) { "null" } else { texts.value(row) };
            let Some(keys) = &keys else {
                self.push(value);
                continue;
            };
            let keys = keys.as_string::<i32>();
            if keys.is_null(row) {
                let message = "field name must not be null";
                return Err(to_datafusion(Error::new(SqlState::INVALID_PARAMETER_VALUE, message)));
            }
            let mut part = String::new();
            put_string(keys.value(row), &mut part);
            part.push_str(" : ");
            part.push_str(value);
            self.push(&part);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for parts in states[0].as_string::<i32>().iter().flatten() {
            self.push(parts);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        if !self.any {
            return Ok(ScalarValue::Utf8(None));
        }
        let text = match self.object {
            true => format!("{{ {} }}", self.parts),
            false => format!("[{}]", self.parts),
        };
        let text = if self.canonical { canonical_jsonb(&text).map_err(to_datafusion)? } else { text };
        Ok(ScalarValue::Utf8(Some(text)))
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Utf8(self.any.then(|| self.parts.clone()))])
    }

    fn size(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.iter().map(String::len).sum());
        size_of::<Self>() + self.parts.capacity() + seen
    }
}
