//! DataFusion's memory pool as a part of the process's budget.

use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use quiver_base::{MemoryBudget, Reservation};
use std::fmt;
use std::sync::Arc;

/// All queries' memory, as one reservation that grows and shrinks.
#[derive(Debug)]
pub(crate) struct BudgetPool {
    budget: Arc<MemoryBudget>,
    held: Mutex<Reservation>,
}

impl BudgetPool {
    pub(crate) fn new(budget: Arc<MemoryBudget>) -> Self {
        let held = Mutex::new(budget.empty());
        BudgetPool { budget, held }
    }
}

impl fmt::Display for BudgetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(used: {})", self.name(), self.reserved())
    }
}

impl MemoryPool for BudgetPool {
    fn name(&self) -> &str {
        "budget"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.held.lock().grow_unchecked(additional);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.held.lock().shrink(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.held
            .lock()
            .try_grow(reservation.consumer().name(), additional)
            // Not ResourcesExhausted: operators answer that by spilling, and there is nowhere to spill to.
            .map_err(crate::to_datafusion)
    }

    fn reserved(&self) -> usize {
        self.held.lock().bytes()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.budget.limit_bytes())
    }
}
