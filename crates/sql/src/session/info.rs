//! What functions may know about the session they run in.

use parking_lot::Mutex;
use quiver_base::{DatabaseId, TableId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};

/// Who is connected, since when, and what nextval gave it.
#[derive(Debug)]
pub(crate) struct SessionInfo {
    /// session_user.
    pub user: String,
    /// The user's role; the bootstrap superuser's for names that are no role, which loopback lets in.
    pub role: u32,
    /// current_database().
    pub database: String,
    /// Its oid.
    pub database_id: DatabaseId,
    /// pg_backend_pid().
    pub pid: i32,
    /// inet_client_addr().
    pub client: Option<SocketAddr>,
    /// When it connected, in microseconds since 1970.
    pub started_us: i64,
    transaction_start_us: AtomicI64,
    statement_start_us: AtomicI64,
    sequences: Mutex<SequenceValues>,
}

#[derive(Debug, Default)]
struct SequenceValues {
    current: HashMap<TableId, i64>,
    last: Option<TableId>,
}

impl SessionInfo {
    /// now(): when the transaction began, in microseconds since 1970.
    pub(crate) fn transaction_start_us(&self) -> i64 {
        self.transaction_start_us.load(Ordering::Relaxed)
    }

    /// statement_timestamp(), in microseconds since 1970.
    pub(crate) fn statement_start_us(&self) -> i64 {
        self.statement_start_us.load(Ordering::Relaxed)
    }

    /// Remembers what nextval or setval gave.
    pub(crate) fn set_current_value(&self, sequence: TableId, value: i64) {
        let mut values = self.sequences.lock();
        values.current.insert(sequence, value);
        values.last = Some(sequence);
    }

    /// currval(): `None` if nextval was not called here yet.
    pub(crate) fn current_value(&self, sequence: TableId) -> Option<i64> {
        self.sequences.lock().current.get(&sequence).copied()
    }

    /// lastval().
    pub(crate) fn last_value(&self) -> Option<i64> {
        let values = self.sequences.lock();
        values.last.and_then(|sequence| values.current.get(&sequence).copied())
    }
}
