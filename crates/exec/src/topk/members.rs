//! Rows of a search that a semi-join chooses: `WHERE tenant IN (SELECT …) ORDER BY distance LIMIT k`. The subquery runs first, its
//! values become a filter of the search.

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::Schema;
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::InListExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// What an expression over the table must be one of.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    /// Over the table's columns.
    pub(super) key: Arc<dyn PhysicalExpr>,
    /// Puts out the values.
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Over the plan's output.
    pub(super) value: Arc<dyn PhysicalExpr>,
}

impl Members {
    /// The semi-join's side that is not searched, with the key of the other, over that one's output. `None` if it is another join, or
    /// one with more to its condition.
    pub(super) fn of(join: &HashJoinExec) -> Option<Members> {
        let [(key, value)] = join.on() else { return None };
        let is_plain = *join.join_type() == JoinType::LeftSemi
            && join.filter().is_none()
            && join.null_equality() == NullEquality::NullEqualsNothing
            && join.fetch().is_none()
            && !is_volatile(key);
        is_plain.then(|| Members { key: key.clone(), plan: join.right().clone(), value: value.clone() })
    }

    /// The filter, once the values are known; `None` if there are none. The values stay charged as long as the reservation lives.
    pub(super) async fn filter(
        &self,
        task: &Arc<TaskContext>,
        table: &Schema,
    ) -> Result<Option<(Arc<dyn PhysicalExpr>, MemoryReservation)>> {
        let memory = MemoryConsumer::new("VectorTopK members").register(task.memory_pool());
        let values = self.values(task, &memory).await?;
        if values.len() == values.null_count() {
            return Ok(None);
        }
        let filter = InListExpr::try_new_from_array(self.key.clone(), values, false, table)?;
        Ok(Some((Arc::new(filter), memory)))
    }

    async fn values(&self, task: &Arc<TaskContext>, memory: &MemoryReservation) -> Result<ArrayRef> {
        let mut rows = self.plan.execute(0, task.clone())?;
        let mut arrays: Vec<ArrayRef> = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let values = self.value.evaluate(&batch)?.into_array(batch.num_rows())?;
            // The array, a literal for each value and the set made of them.
            memory.try_grow(values.get_array_memory_size() + values.len() * VALUE_BYTES)?;
            arrays.push(values);
        }
        if arrays.is_empty() {
            return Ok(new_empty_array(&self.value.data_type(&self.plan.schema())?));
        }
        Ok(concat(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
    }
}

/// What a value takes beside its bytes.
const VALUE_BYTES: usize = 128;

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.key, self.value)
    }
}
