//! What functions and other sessions may know about a session, and how they reach into it: cancel, terminate.

use super::Backends;
use super::known::KnownStatements;
use super::portal::Prepared;
use crate::bind::PlanCounts;
use crate::statement::Analyzed;
use crate::wire::connection::Encryption;
use arrow::datatypes::FieldRef;
use hashbrown::HashMap;
use parking_lot::Mutex;
use quiver_base::{DatabaseId, SqlType, TableId};
use quiver_cluster::{AdvisoryLocks, BOOTSTRAP_ROLE, Cluster, Database};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

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
    pub secret: Vec<u8>,
    /// inet_client_addr().
    pub client: Option<SocketAddr>,
    /// How the connection is encrypted.
    pub encryption: Option<Encryption>,
    /// When it connected, in microseconds since 1970.
    pub started_us: i64,
    /// All sessions, this one among them.
    pub backends: Weak<Backends>,
    /// How others stop it.
    pub interrupt: Interrupt,
    /// What it has locked by pg_advisory_lock.
    pub advisory: tokio::sync::Mutex<AdvisoryLocks>,
    /// Statements that it has prepared.
    pub(super) prepared: Mutex<HashMap<String, Arc<Prepared>>>,
    /// Statements that it sent without preparing them, and what they were found to be.
    pub(super) known: Mutex<KnownStatements>,
    /// Cursors that were open when the running statement began.
    pub(super) cursors: Mutex<Vec<ListedCursor>>,
    /// Warnings of functions, for the client.
    warnings: Mutex<Vec<String>>,
    activity: Mutex<Activity>,
    transaction_start_us: AtomicI64,
    statement_start_us: AtomicI64,
    sequences: Mutex<SequenceValues>,
}

/// Warnings of functions kept for one statement.
const WARNINGS_MAX: usize = 1_000;

/// A cursor or portal as pg_cursors shows it.
#[derive(Clone, Debug)]
pub(crate) struct ListedCursor {
    pub(crate) name: String,
    pub(crate) statement: String,
    pub(crate) is_holdable: bool,
    pub(crate) is_binary: bool,
    pub(crate) is_scrollable: bool,
    pub(crate) created_us: i64,
}

/// A prepared statement as pg_prepared_statements shows it.
#[derive(Clone, Debug)]
pub(crate) struct ListedStatement {
    pub(crate) name: String,
    pub(crate) statement: String,
    pub(crate) prepared_us: i64,
    pub(crate) params: Vec<SqlType>,
    pub(crate) columns: Option<Vec<SqlType>>,
    pub(crate) from_sql: bool,
    pub(crate) plans: PlanCounts,
}

/// A statement as quiver.plan_cache shows it.
#[derive(Clone, Debug)]
pub(crate) struct ListedPlan {
    /// Of a prepared one.
    pub(crate) name: Option<String>,
    pub(crate) statement: String,
    pub(crate) counts: PlanCounts,
}

impl SessionInfo {
    /// Its prepared statements, the unnamed one left out, by name.
    pub(crate) fn listed_statements(&self) -> Vec<ListedStatement> {
        let prepared = self.prepared.lock();
        let listed = |(name, prepared): (&String, &Arc<Prepared>)| ListedStatement {
            name: name.clone(),
            statement: prepared.query.to_string(),
            prepared_us: prepared.prepared_us,
            params: prepared.analyzed.params.clone(),
            columns: prepared.analyzed.columns.as_ref().map(|columns| {
                let ty = |field: &FieldRef| SqlType::of_field(field).unwrap_or(SqlType::Unknown);
                columns.fields().iter().map(ty).collect()
            }),
            from_sql: prepared.from_sql,
            plans: prepared.analyzed.plans(),
        };
        let mut list: Vec<_> = prepared.iter().filter(|(name, _)| !name.is_empty()).map(listed).collect();
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list
    }

    /// Statements that may keep a plan: prepared ones by name, then the others by text.
    pub(crate) fn listed_plans(&self) -> Vec<ListedPlan> {
        let listed = |name: Option<&String>, statement: &str, analyzed: &Analyzed| ListedPlan {
            name: name.filter(|name| !name.is_empty()).cloned(),
            statement: statement.to_owned(),
            counts: analyzed.plans(),
        };
        let prepared = self.prepared.lock();
        let mut list: Vec<_> = prepared
            .iter()
            .map(|(name, prepared)| listed(Some(name), &prepared.query, &prepared.analyzed))
            .collect();
        let is_new = |analyzed: &Analyzed| !prepared.values().any(|it| it.analyzed.is_same(analyzed));
        let known = self.known.lock();
        let known = known.iter().filter(|(_, analyzed)| is_new(analyzed));
        list.extend(known.map(|(text, analyzed)| listed(None, text, analyzed)));
        list.sort_by(|a, b| {
            (a.name.is_none(), &a.name, &a.statement).cmp(&(b.name.is_none(), &b.name, &b.statement))
        });
        list
    }

    /// Its cursors.
    pub(crate) fn listed_cursors(&self) -> Vec<ListedCursor> {
        self.cursors.lock().clone()
    }
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
    /// How the connection is encrypted.
    pub encryption: Option<Encryption>,
    /// What a cancel request must know.
    pub secret: Vec<u8>,
    /// Sessions at once of this role; negative: any number.
    pub role_limit: i32,
    /// Sessions at once in this database; negative: any number.
    pub database_limit: i32,
}

impl SessionInfo {
    pub(super) fn new(
        identity: Identity,
        pid: i32,
        backends: Weak<Backends>,
        advisory: AdvisoryLocks,
    ) -> SessionInfo {
        let now = now_us();
        SessionInfo {
            user: identity.user,
            role: identity.role,
            database: identity.database,
            database_id: identity.database_id,
            pid,
            secret: identity.secret,
            client: identity.client,
            encryption: identity.encryption,
            started_us: now,
            backends,
            interrupt: Interrupt::default(),
            advisory: tokio::sync::Mutex::new(advisory),
            prepared: Mutex::default(),
            known: Mutex::default(),
            cursors: Mutex::default(),
            warnings: Mutex::default(),
            activity: Mutex::new(Activity { state: "idle", state_change_us: now, ..Activity::default() }),
            transaction_start_us: AtomicI64::new(now),
            statement_start_us: AtomicI64::new(now),
            sequences: Mutex::default(),
        }
    }

    /// Of nobody: for what the server does by itself.
    pub(crate) fn of_server(cluster: &Cluster, database: &Database) -> SessionInfo {
        let identity = Identity {
            user: "postgres".to_owned(),
            role: BOOTSTRAP_ROLE,
            database: database.name.clone(),
            database_id: database.id,
            client: None,
            encryption: None,
            secret: Vec::new(),
            role_limit: -1,
            database_limit: -1,
        };
        SessionInfo::new(identity, 0, Weak::new(), cluster.advisory_locks(0))
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

    /// A WARNING for the client, from a function.
    pub(crate) fn warn(&self, message: String) {
        let mut warnings = self.warnings.lock();
        // A function may be called for a million rows.
        if warnings.len() < WARNINGS_MAX {
            warnings.push(message);
        }
    }

    pub(super) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
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
    /// The running statement's flag, which blocking work looks at. Also there between two of the statement's steps.
    running: Mutex<Option<Arc<AtomicBool>>>,
    /// The flag of the statement that runs or ran last.
    latest: Mutex<Arc<AtomicBool>>,
}

impl Interrupt {
    /// Asks the session to stop. A cancel while it waits for its client's next command is forgotten.
    pub(crate) fn request(&self, stop: Stop) {
        let running = self.running.lock();
        match (stop, &*running) {
            (Stop::Cancel, None) => return,
            (Stop::Cancel, Some(_)) => self.wanted.fetch_max(1, Ordering::SeqCst),
            (Stop::Terminate, _) => self.wanted.fetch_max(2, Ordering::SeqCst),
        };
        if let Some(flag) = &*running {
            flag.store(true, Ordering::SeqCst);
        }
        self.wake.notify_one();
    }

    /// The flag of the statement that runs, also between two of its steps, when a query may go on in a task of its own.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.latest.lock().clone()
    }

    /// Whether somebody has asked for a stop that was not answered yet.
    pub(super) fn asked(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) != 0
    }

    /// A step of a statement begins, or a portal goes on, that looks at `flag`. A stop that was asked for since the last one is for it.
    pub(super) fn start(&self, flag: Arc<AtomicBool>) {
        self.latest.lock().clone_from(&flag);
        let mut running = self.running.lock();
        if self.asked() {
            flag.store(true, Ordering::SeqCst);
        }
        *running = Some(flag);
    }

    /// The session waits for a command, or has answered the stop: a cancel that comes now is too late.
    pub(super) fn finish(&self) {
        let mut running = self.running.lock();
        let dropped = self.wanted.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        // A cursor goes on with its flag.
        if let Some(flag) = running.take().filter(|_| dropped) {
            flag.store(false, Ordering::SeqCst);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_between_two_steps_of_a_statement_is_for_it() {
        let (interrupt, flag) = (Interrupt::default(), Arc::new(AtomicBool::new(false)));
        interrupt.request(Stop::Cancel);
        assert!(!interrupt.asked(), "nothing runs yet");
        // Two steps, of which the second begins after the cancel, with a flag of its own.
        interrupt.start(flag.clone());
        interrupt.request(Stop::Cancel);
        let second = Arc::new(AtomicBool::new(false));
        interrupt.start(second.clone());
        assert!(interrupt.asked() && flag.load(Ordering::SeqCst) && second.load(Ordering::SeqCst));
        interrupt.finish();
        assert!(!interrupt.asked(), "not for the next statement");
        assert!(!second.load(Ordering::SeqCst), "a cursor that was not stopped goes on");
        interrupt.request(Stop::Cancel);
        assert!(!interrupt.asked(), "too late");
        interrupt.request(Stop::Terminate);
        interrupt.finish();
        assert!(interrupt.asked(), "the session is to end whatever it does");
    }
}
