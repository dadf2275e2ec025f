//! One connection's state: who it is, its settings, its transaction, its prepared statements and portals. The life of a
//! connection is in `serve`, of a query string in `simple`, of a message of the extended protocol in `extended`; both meet in `run`.

mod backends;
mod busy_poll;
mod command;
mod control;
mod copy;
mod described;
mod extended;
mod guard;
mod identity;
mod info;
mod known;
mod lifted;
mod names;
mod portal;
mod rows;
mod run;
mod serve;
mod simple;
mod transaction;

pub(crate) use backends::{Backends, ClosedDatabase, Registered};
pub(crate) use busy_poll::Talker;
pub(crate) use command::{Reader, SessionCommand, Token, isolation_named, parse_command};
pub(crate) use identity::{current_role, set_role};
pub(crate) use info::{Identity, SessionInfo, Stop, now_us};

use crate::outcome::{Notice, Severity};
use crate::settings::{DEFINITIONS, Settings};
use crate::wire::connection::Connection;
use crate::wire::{SqlMetrics, backend};
use busy_poll::BusyPoll;
use described::Described;
use guard::Watch;
use hashbrown::HashMap;
use portal::Portal;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::Cluster;
use quiver_exec::Engine;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transaction::Transaction;

/// What all sessions of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The node.
    pub cluster: Arc<Cluster>,
    /// The planner and executor.
    pub engine: Arc<Engine>,
    /// All sessions.
    pub backends: Arc<Backends>,
    /// Counters.
    pub metrics: Arc<SqlMetrics>,
    /// Set when the server stops: sessions end when what they run has ended.
    pub shutdown: CancellationToken,
    /// How many the server may use.
    pub processors: usize,
    /// Who got a message last.
    pub talker: Talker,
}

/// A connection's state after it has logged in.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    info: Arc<SessionInfo>,
    /// Keeps the session on the list.
    _registered: Registered,
    settings: Settings,
    transaction: Transaction,
    portals: HashMap<String, Portal>,
    notices: Vec<Notice>,
    described: Described,
    /// What the client was last told, in the order of the reported settings.
    told: Vec<String>,
    told_version: u64,
    /// An error happened in the extended protocol: messages are skipped until Sync.
    skip_until_sync: bool,
    busy_poll: BusyPoll,
}

impl Session {
    /// A session that has just logged in.
    pub(crate) fn new(shared: Arc<Shared>, registered: Registered, settings: Settings) -> Session {
        let busy_poll = BusyPoll::new(shared.processors, std::time::Instant::now());
        Session {
            shared,
            info: registered.info.clone(),
            _registered: registered,
            settings,
            transaction: Transaction::default(),
            portals: HashMap::new(),
            notices: Vec::new(),
            described: Described::default(),
            told: Vec::new(),
            told_version: u64::MAX,
            skip_until_sync: false,
            busy_poll,
        }
    }

    /// A watch over a statement that begins now.
    fn watch(&self) -> Watch {
        Watch::new(self.deadline())
    }

    /// When a statement is to end that begins or goes on now.
    fn deadline(&self) -> Option<Instant> {
        let timeout = self.settings.timeout("statement_timeout")?;
        Instant::now().checked_add(timeout)
    }

    /// Writes notices that the client wants to see, and settings that have changed.
    fn tell(&mut self, conn: &mut Connection) {
        let warnings = self.info.take_warnings();
        self.notices.extend(warnings.into_iter().map(|text| Notice::warning(SqlState::WARNING, text)));
        if !self.notices.is_empty() {
            let least = self.settings.with("client_min_messages", |least| match least {
                "error" => Severity::Info,
                "warning" => Severity::Warning,
                "notice" => Severity::Notice,
                "log" => Severity::Log,
                _ => Severity::Debug,
            });
            for notice in self.notices.drain(..).filter(|notice| notice.severity >= least) {
                backend::notice(&mut conn.output.buffer, &notice);
            }
        }
        self.tell_settings(conn);
    }

    /// ParameterStatus for every reported setting that has changed.
    fn tell_settings(&mut self, conn: &mut Connection) {
        let version = self.settings.version();
        if version == self.told_version {
            return;
        }
        self.refresh_superuser();
        self.told_version = self.settings.version();
        let names =
            DEFINITIONS.iter().filter(|definition| definition.reported).map(|definition| definition.name);
        for (place, name) in names.chain(["is_superuser", "session_authorization"]).enumerate() {
            let value = self.settings.show(name).unwrap_or_default();
            if self.told.get(place) == Some(&value) {
                continue;
            }
            if name == "application_name" {
                self.info.set_application_name(&value);
            }
            backend::parameter_status(&mut conn.output.buffer, name, &value);
            match self.told.get_mut(place) {
                Some(told) => *told = value,
                None => self.told.push(value),
            }
        }
    }

    /// Counts an error and writes it.
    fn tell_error(&mut self, conn: &mut Connection, error: &Error, fatal: bool) {
        self.shared.metrics.count_error();
        tracing::debug!(pid = self.info.pid, state = error.state().code(), %error, "statement failed");
        self.tell(conn);
        backend::error(&mut conn.output.buffer, error, fatal);
    }
}

/// An error's position in a statement as a position in the query string that the statement stands in.
fn in_query(error: Error, query: &str, offset: usize) -> Error {
    match (error.position(), query.get(..offset)) {
        (Some(position), Some(before)) => {
            let before = before.chars().count() as u32;
            error.with_position(position.saturating_add(before))
        }
        _ => error,
    }
}

/// The result of [`Session`] methods that may end the connection: the error has been told to the client.
type Flow = Result<()>;
