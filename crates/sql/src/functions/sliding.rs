//! Aggregates over a moving frame: those that cannot take a row back are computed anew from the rows of each frame. Says too
//! what the result's type is, where DataFusion's aggregate does not.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use quiver_base::SqlType;
use std::collections::VecDeque;
use std::sync::Arc;

/// An aggregate for windows; `ty` is what its result is, where it does not say it.
pub(crate) fn windowed(other: Arc<AggregateUDF>, ty: Option<SqlType>) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Windowed { other, ty }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Windowed {
    other: Arc<AggregateUDF>,
    ty: Option<SqlType>,
}

impl AggregateUDFImpl for Windowed {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn signature(&self) -> &Signature {
        self.other.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.other.coerce_types(types)
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        self.other.return_type(args)
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        match &self.ty {
            Some(ty) => Ok(Arc::new(ty.field(self.name(), true))),
            None => self.other.return_field(args),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        self.other.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.other.state_fields(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let maker = Maker::new(self.other.clone(), &args);
        let own = self.other.create_sliding_accumulator(args)?;
        match own.supports_retract_batch() {
            true => Ok(own),
            false => Ok(Box::new(Replayed { maker, rows: VecDeque::new() })),
        }
    }

    fn default_value(&self, ty: &DataType) -> DfResult<ScalarValue> {
        self.other.default_value(ty)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.other.inner().supports_null_handling_clause()
    }
}

/// Makes accumulators for one call.
#[derive(Debug)]
struct Maker {
    aggregate: Arc<AggregateUDF>,
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    name: String,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Maker {
    fn new(aggregate: Arc<AggregateUDF>, args: &AccumulatorArgs<'_>) -> Maker {
        Maker {
            aggregate,
            return_field: args.return_field.clone(),
            schema: args.schema.clone(),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            name: args.name.to_owned(),
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
        }
    }

    fn accumulator(&self) -> DfResult<Box<dyn Accumulator>> {
        self.aggregate.accumulator(AccumulatorArgs {
            return_field: self.return_field.clone(),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: false,
            name: &self.name,
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The rows of the frame, in batches as they came.
#[derive(Debug)]
struct Replayed {
    maker: Maker,
    rows: VecDeque<Vec<ArrayRef>>,
}

impl Accumulator for Replayed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        if values.first().is_some_and(|array| !array.is_empty()) {
            self.rows.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        // Rows leave in the order in which they came.
        let mut count = values.first().map_or(0, |array| array.len());
        while count > 0
            && let Some(mut batch) = self.rows.pop_front()
        {
            let length = batch[0].len();
            if length > count {
                batch.iter_mut().for_each(|array| *array = array.slice(count, length - count));
                self.rows.push_front(batch);
            }
            count = count.saturating_sub(length);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let mut own = self.maker.accumulator()?;
        self.rows.iter().try_for_each(|batch| own.update_batch(batch))?;
        own.evaluate()
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> DfResult<()> {
        datafusion::common::internal_err!("a window is not put together from parts")
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        datafusion::common::internal_err!("a window is not put together from parts")
    }

    fn size(&self) -> usize {
        let arrays = self.rows.iter().flatten();
        size_of::<Self>() + arrays.map(|array| array.get_array_memory_size()).sum::<usize>()
    }
}
