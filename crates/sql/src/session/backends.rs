//! All sessions of the server by pid: what pg_stat_activity lists and where a cancel request finds its statement.

use super::SessionInfo;
use super::info::{Identity, Stop};
use crate::wire::hba::Hba;
use parking_lot::Mutex;
use quiver_base::{DatabaseId, Error, Result, SqlState};
use quiver_cluster::Cluster;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The sessions.
#[derive(Debug)]
pub(crate) struct Backends {
    connections_max: usize,
    /// Who may connect, for pg_hba_file_rules.
    pub hba: Option<Arc<Hba>>,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_pid: BTreeMap<i32, Arc<SessionInfo>>,
    last_pid: i32,
    /// Databases that are being dropped or renamed: nobody gets in.
    closed: Vec<DatabaseId>,
}

impl Backends {
    /// None yet, and at most so many.
    pub(crate) fn new(connections_max: usize, hba: Option<Arc<Hba>>) -> Arc<Backends> {
        Arc::new(Backends { connections_max, hba, sessions: Mutex::default() })
    }

    /// Adds a session; 53300 if there are too many.
    pub(crate) fn add(self: &Arc<Self>, identity: Identity, cluster: &Cluster) -> Result<Registered> {
        let mut sessions = self.sessions.lock();
        sessions.refuse_too_many(&identity, self.connections_max)?;
        if sessions.closed.contains(&identity.database_id) {
            let message = format!("database \"{}\" does not exist", identity.database);
            return Err(Error::new(SqlState::INVALID_CATALOG_NAME, message)
                .with_detail("It seems to have just been dropped or renamed."));
        }
        let pid = loop {
            sessions.last_pid = sessions.last_pid.checked_add(1).unwrap_or(1);
            if !sessions.by_pid.contains_key(&sessions.last_pid) {
                break sessions.last_pid;
            }
        };
        let advisory = cluster.advisory_locks(pid.unsigned_abs().into());
        let info = Arc::new(SessionInfo::new(identity, pid, Arc::downgrade(self), advisory));
        sessions.by_pid.insert(pid, info.clone());
        Ok(Registered { info, backends: self.clone() })
    }

    /// Lets nobody into a database until the result is dropped. `own` is the session that asks. Tells how many others are in it.
    pub(crate) fn close_database(
        self: &Arc<Self>,
        database: DatabaseId,
        own: i32,
    ) -> (ClosedDatabase, usize) {
        let mut sessions = self.sessions.lock();
        sessions.closed.push(database);
        let others = sessions.others_in(database, own).count();
        (ClosedDatabase { backends: self.clone(), database }, others)
    }

    /// Ends the other sessions of a database; false if some are still there after a while.
    pub(crate) async fn end_others_in(&self, database: DatabaseId, own: i32) -> bool {
        for info in self.sessions.lock().others_in(database, own) {
            info.interrupt.request(Stop::Terminate);
        }
        // As long as PostgreSQL waits.
        for _ in 0..50 {
            if self.sessions.lock().others_in(database, own).next().is_none() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Arc<SessionInfo>> {
        self.sessions.lock().by_pid.values().cloned().collect()
    }

    /// A cancel request of the protocol: silent if it does not know the secret.
    pub(crate) fn cancel_by_secret(&self, pid: i32, secret: &[u8]) {
        if let Some(info) = self.find(pid)
            && equal(&info.secret, secret)
        {
            info.interrupt.request(Stop::Cancel);
        }
    }

    /// A session by its number.
    pub(crate) fn find(&self, pid: i32) -> Option<Arc<SessionInfo>> {
        self.sessions.lock().by_pid.get(&pid).cloned()
    }
}

impl Sessions {
    fn others_in(&self, database: DatabaseId, own: i32) -> impl Iterator<Item = &Arc<SessionInfo>> {
        self.by_pid.values().filter(move |info| info.database_id == database && info.pid != own)
    }

    fn refuse_too_many(&self, identity: &Identity, connections_max: usize) -> Result<()> {
        let too_many = |message: String| Err(Error::new(SqlState::TOO_MANY_CONNECTIONS, message));
        if self.by_pid.len() >= connections_max {
            return too_many("sorry, too many clients already".to_owned());
        }
        let reaches = |limit: i32, count: usize| usize::try_from(limit).is_ok_and(|limit| count >= limit);
        if reaches(
            identity.role_limit,
            self.by_pid.values().filter(|info| info.role == identity.role).count(),
        ) {
            return too_many(format!("too many connections for role \"{}\"", identity.user));
        }
        if reaches(identity.database_limit, self.others_in(identity.database_id, 0).count()) {
            return too_many(format!("too many connections for database \"{}\"", identity.database));
        }
        Ok(())
    }
}

/// Compares without telling by time where the difference is.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}

/// A database that nobody gets into until this is dropped.
#[derive(Debug)]
pub(crate) struct ClosedDatabase {
    backends: Arc<Backends>,
    database: DatabaseId,
}

impl Drop for ClosedDatabase {
    fn drop(&mut self) {
        let closed = &mut self.backends.sessions.lock().closed;
        if let Some(at) = closed.iter().position(|id| *id == self.database) {
            closed.swap_remove(at);
        }
    }
}

/// A session that is on the list until this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    /// The session.
    pub info: Arc<SessionInfo>,
    backends: Arc<Backends>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Others may still look at the session for a moment; nobody waits for what it had locked.
        if let Ok(mut advisory) = self.info.advisory.try_lock() {
            advisory.back_to(0);
            advisory.unlock_all();
        }
        self.backends.sessions.lock().by_pid.remove(&self.info.pid);
    }
}
