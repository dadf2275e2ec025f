//! What functions and other sessions may know about a session, and how they reach into it: cancel, terminate.

use super::Backends;
use super::guard::{Watch, stopped, timed_out};
use parking_lot::Mutex;
use quiver_base::{DatabaseId, Result, TableId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Who is connected, since when, what it does, and what nextval gave it.
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
    /// What a cancel request must know.
    pub secret: i32,
    /// inet_client_addr().
    pub client: Option<SocketAddr>,
    /// When it connected, in microseconds since 1970.
    pub started_us: i64,
    /// All sessions, this one among them.
    pub backends: Weak<Backends>,
    /// How others stop it.
    pub interrupt: Interrupt,
    activity: Mutex<Activity>,
    transaction_start_us: AtomicI64,
    statement_start_us: AtomicI64,
    sequences: Mutex<SequenceValues>,
}

/// What pg_stat_activity tells about a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// Since when, in microseconds since 1970.
    pub state_change_us: i64,
    /// The last query string.
    pub query: String,
    /// application_name.
    pub application_name: String,
}

#[derive(Debug, Default)]
struct SequenceValues {
    current: HashMap<TableId, i64>,
    last: Option<TableId>,
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

/// Who a new session is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The role's name and oid.
    pub user: String,
    /// The role's oid.
    pub role: u32,
    /// The database's name.
    pub database: String,
    /// Its oid.
    pub database_id: DatabaseId,
    /// The client's address.
    pub client: Option<SocketAddr>,
}

impl SessionInfo {
    pub(super) fn new(identity: Identity, pid: i32, secret: i32, backends: Weak<Backends>) -> SessionInfo {
        let now = now_us();
        SessionInfo {
            user: identity.user,
            role: identity.role,
            database: identity.database,
            database_id: identity.database_id,
            pid,
            secret,
            client: identity.client,
            started_us: now,
            backends,
            interrupt: Interrupt::default(),
            activity: Mutex::new(Activity { state: "idle", state_change_us: now, ..Activity::default() }),
            transaction_start_us: AtomicI64::new(now),
            statement_start_us: AtomicI64::new(now),
            sequences: Mutex::default(),
        }
    }

    /// now(): when the transaction began, in microseconds since 1970.
    pub(crate) fn transaction_start_us(&self) -> i64 {
        self.transaction_start_us.load(Ordering::Relaxed)
    }

    /// statement_timestamp(), in microseconds since 1970.
    pub(crate) fn statement_start_us(&self) -> i64 {
        self.statement_start_us.load(Ordering::Relaxed)
    }

    pub(super) fn begin_statement(&self) {
        self.statement_start_us.store(now_us(), Ordering::Relaxed);
    }

    /// A transaction begins with the statement that needs it.
    pub(super) fn begin_transaction(&self) {
        self.transaction_start_us.store(self.statement_start_us(), Ordering::Relaxed);
    }

    /// What it does now.
    pub(crate) fn activity(&self) -> Activity {
        self.activity.lock().clone()
    }

    pub(super) fn set_state(&self, state: &'static str) {
        let mut activity = self.activity.lock();
        activity.state = state;
        activity.state_change_us = now_us();
    }

    pub(super) fn set_query(&self, query: &str) {
        /// As track_activity_query_size.
        const QUERY_BYTES_MAX: usize = 1_024;
        let end = (0..=QUERY_BYTES_MAX.min(query.len())).rev().find(|end| query.is_char_boundary(*end));
        let mut activity = self.activity.lock();
        activity.query.clear();
        activity.query.push_str(&query[..end.unwrap_or(0)]);
        activity.state = "active";
        activity.state_change_us = now_us();
    }

    pub(super) fn set_application_name(&self, name: &str) {
        self.activity.lock().application_name = name.to_owned();
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

    /// DISCARD SEQUENCES.
    pub(crate) fn forget_sequences(&self) {
        *self.sequences.lock() = SequenceValues::default();
    }
}

/// Why a session is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The running statement: 57014.
    Cancel,
    /// The session: 57P01.
    Terminate,
}

/// How other sessions stop one.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    /// 0 nothing, 1 cancel, 2 terminate.
    wanted: AtomicU8,
    wake: Notify,
    /// What ends the running statement: its flag, which blocking work looks at, and its deadline.
    running: Mutex<Option<Watch>>,
}

impl Interrupt {
    /// Asks the session to stop. A cancel while nothing runs is forgotten.
    pub(crate) fn request(&self, stop: Stop) {
        let running = self.running.lock();
        match (stop, &*running) {
            (Stop::Cancel, None) => return,
            (Stop::Cancel, Some(_)) => self.wanted.fetch_max(1, Ordering::SeqCst),
            (Stop::Terminate, _) => self.wanted.fetch_max(2, Ordering::SeqCst),
        };
        if let Some(watch) = &*running {
            watch.flag.store(true, Ordering::SeqCst);
        }
        self.wake.notify_one();
    }

    /// A statement begins, or a portal goes on, that looks at the watch's flag.
    pub(super) fn start(&self, watch: &Watch) {
        *self.running.lock() = Some(watch.clone());
    }

    /// Fails once the running statement is to end: for work that blocks, in functions of a plan that outlives the statement which it
    /// was made for and so cannot hold that one's flag.
    pub(crate) fn check(&self) -> Result<()> {
        match self.wanted.load(Ordering::SeqCst) {
            0 => {}
            1 => return Err(stopped(Stop::Cancel)),
            _ => return Err(stopped(Stop::Terminate)),
        }
        let deadline = self.running.lock().as_ref().and_then(|watch| watch.deadline);
        match deadline {
            Some(deadline) if deadline <= Instant::now() => Err(timed_out()),
            _ => Ok(()),
        }
    }

    /// The statement has ended: a cancel that comes now is too late.
    pub(super) fn finish(&self) {
        let mut running = self.running.lock();
        *running = None;
        let _ = self.wanted.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Returns when the session is asked to stop.
    pub(super) async fn wanted(&self) -> Stop {
        loop {
            match self.wanted.load(Ordering::SeqCst) {
                0 => self.wake.notified().await,
                1 => return Stop::Cancel,
                _ => return Stop::Terminate,
            }
        }
    }

    /// Returns when the session is to end.
    pub(super) async fn terminated(&self) {
        while self.wanted.load(Ordering::SeqCst) < 2 {
            self.wake.notified().await;
        }
    }
}
