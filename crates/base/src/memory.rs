//! One memory limit for the process. Queries, memtables, index builds and caches reserve from it before they
//! allocate; past it a reservation fails with 53200 and the caller backs off or gives up.

use crate::{Error, Result, SqlState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared limit in bytes.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(MemoryBudget { limit_bytes, used_bytes: AtomicUsize::new(0) })
    }

    /// No limit, for tests and tools.
    pub fn unlimited() -> Arc<Self> {
        Self::new(usize::MAX)
    }

    /// The limit in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// What is reserved now, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Reserves `bytes`, or fails with 53200 naming `what`.
    pub fn try_reserve(self: &Arc<Self>, what: &str, bytes: usize) -> Result<Reservation> {
        let mut reservation = self.empty();
        reservation.try_grow(what, bytes)?;
        Ok(reservation)
    }

    /// A reservation of nothing, to grow later.
    pub fn empty(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// A reservation that may pass the limit: for what has been accepted already and must not fail, such as
    /// applying a committed entry. New work is refused until it is given back.
    pub fn reserve_unchecked(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Reservation { budget: self.clone(), bytes }
    }

    fn try_add(&self, what: &str, bytes: usize) -> Result<()> {
        let mut used = self.used_bytes.load(Ordering::Relaxed);
        loop {
            let wanted = used.saturating_add(bytes);
            if wanted > self.limit_bytes {
                return Err(Error::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(format!(
                    "{what} needs {bytes} bytes; {used} of {} bytes are in use.",
                    self.limit_bytes
                )));
            }
            match self.used_bytes.compare_exchange_weak(used, wanted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => used = now,
            }
        }
    }
}

/// Reserved bytes; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes` more, or fails with 53200 and keeps what it had.
    pub fn try_grow(&mut self, what: &str, bytes: usize) -> Result<()> {
        self.budget.try_add(what, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes `bytes` more even past the limit; see [`MemoryBudget::reserve_unchecked`].
    pub fn grow_unchecked(&mut self, bytes: usize) {
        self.budget.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Where it was reserved.
    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// Gives back `bytes`, at most what is held.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is held, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_refused_past_the_limit_and_given_back_on_drop() {
        let budget = MemoryBudget::new(100);
        let held = budget.try_reserve("test", 80).expect("fits");
        let refused = budget.try_reserve("test", 21).expect_err("does not fit");
        assert_eq!(refused.state(), SqlState::OUT_OF_MEMORY);
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
        assert_eq!(budget.try_reserve("test", 100).expect("fits again").bytes(), 100);
    }
}
