//! Aggregates whose result is made of every row in order: json_agg and its kin over values that are JSON already, and string_agg.
//! They sort and sift their rows themselves, so that each of several in one query may have an order of its own.

use super::collected::{Collected, Shape, sort_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use quiver_base::SqlType;
use std::sync::Arc;

/// An aggregate by its name in lower case: ours, or DataFusion's by its name there.
pub(crate) fn aggregate(name: &str, engine: &SessionState) -> Option<Arc<AggregateUDF>> {
    if let Some(collect) = Collect::named(name) {
        return Some(Arc::new(AggregateUDF::new_from_impl(collect)));
    }
    if let Some(moment) = super::moments::moment(name) {
        return Some(moment);
    }
    let name = match name {
        "every" => "bool_and",
        other => other,
    };
    let found = engine.aggregate_functions().get(name).cloned()?;
    Some(match name {
        "sum" => super::sums::exact(found, false),
        "avg" => super::sums::exact(found, true),
        _ => found,
    })
}

/// `string_agg` of bytes.
pub(crate) fn bytes_collected() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Collect::of("string_agg", Shape::Bytes, SqlType::Bytea)))
}

/// Names of the aggregates here whose result is in the order of their rows.
pub(crate) fn is_collected(name: &str) -> bool {
    Collect::named(name).is_some()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collect {
    name: &'static str,
    shape: Shape,
    ty: SqlType,
    signature: Signature,
}

impl Collect {
    fn of(name: &'static str, shape: Shape, ty: SqlType) -> Collect {
        let count = if matches!(shape, Shape::Array { .. }) { 1 } else { 2 };
        Collect { name, shape, ty, signature: Signature::any(count, Volatility::Immutable) }
    }

    fn named(name: &str) -> Option<Collect> {
        const NAMES: [&str; 12] = [
            "json_collect",
            "jsonb_collect",
            "json_collect_strict",
            "jsonb_collect_strict",
            "json_object_collect",
            "jsonb_object_collect",
            "json_object_collect_strict",
            "jsonb_object_collect_strict",
            "json_object_collect_unique",
            "jsonb_object_collect_unique",
            "json_object_collect_unique_strict",
            "jsonb_object_collect_unique_strict",
        ];
        if name == "string_agg" {
            return Some(Collect::of("string_agg", Shape::Text, SqlType::Text));
        }
        let name = NAMES.into_iter().find(|known| *known == name)?;
        let (jsonb, strict) = (name.starts_with("jsonb"), name.ends_with("_strict"));
        let shape = match name.contains("object") {
            true => Shape::Object { jsonb, strict, unique: name.contains("_unique") },
            false => Shape::Array { jsonb, strict },
        };
        Some(Collect::of(name, shape, if jsonb { SqlType::Jsonb } else { SqlType::Json }))
    }
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.ty.arrow_type())
    }

    fn return_field(&self, _: &[FieldRef]) -> DfResult<FieldRef> {
        Ok(Arc::new(self.ty.field(self.name, true)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let keys = args.order_bys.iter().map(|key| key.expr.data_type(args.schema));
        let keys = keys.collect::<DfResult<Vec<_>>>()?;
        Ok(Box::new(Collected::new(self.shape, args.is_distinct, sort_options(args.order_bys), keys)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let list = |name: &str, item: DataType| {
            Arc::new(Field::new(name, DataType::new_list(item, true), true)) as FieldRef
        };
        let mut fields = vec![list("firsts", DataType::Binary), list("seconds", DataType::Binary)];
        let keys = args.ordering_fields.iter().enumerate();
        fields.extend(keys.map(|(at, key)| list(&format!("key_{at}"), key.data_type().clone())));
        Ok(fields)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> DfResult<Option<Arc<dyn AggregateUDFImpl>>> {
        // Rows that come in order stay in it.
        Ok(Some(self))
    }
}
