//! All sessions of the server by pid: what pg_stat_activity lists and where a cancel request finds its statement.

use super::SessionInfo;
use super::info::{Identity, Stop};
use parking_lot::Mutex;
use quiver_base::{Error, Result, SqlState};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The sessions.
#[derive(Debug)]
pub(crate) struct Backends {
    connections_max: usize,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_pid: BTreeMap<i32, Arc<SessionInfo>>,
    last_pid: i32,
}

impl Backends {
    /// None yet, and at most so many.
    pub(crate) fn new(connections_max: usize) -> Arc<Backends> {
        Arc::new(Backends { connections_max, sessions: Mutex::default() })
    }

    /// Adds a session; 53300 if there are too many.
    pub(crate) fn add(self: &Arc<Self>, identity: Identity) -> Result<Registered> {
        let mut sessions = self.sessions.lock();
        if sessions.by_pid.len() >= self.connections_max {
            return Err(Error::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
        }
        let pid = loop {
            sessions.last_pid = sessions.last_pid.checked_add(1).unwrap_or(1);
            if !sessions.by_pid.contains_key(&sessions.last_pid) {
                break sessions.last_pid;
            }
        };
        let secret = rand::rng().random();
        let info = Arc::new(SessionInfo::new(identity, pid, secret, Arc::downgrade(self)));
        sessions.by_pid.insert(pid, info.clone());
        Ok(Registered { info, backends: self.clone() })
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Arc<SessionInfo>> {
        self.sessions.lock().by_pid.values().cloned().collect()
    }

    /// A cancel request of the protocol: silent if it does not know the secret.
    pub(crate) fn cancel_by_secret(&self, pid: i32, secret: i32) {
        if let Some(info) = self.find(pid)
            && info.secret == secret
        {
            info.interrupt.request(Stop::Cancel);
        }
    }

    /// pg_cancel_backend, pg_terminate_backend: whether there is such a session.
    pub(crate) fn stop(&self, pid: i32, stop: Stop) -> bool {
        match self.find(pid) {
            Some(info) => {
                info.interrupt.request(stop);
                true
            }
            None => false,
        }
    }

    fn find(&self, pid: i32) -> Option<Arc<SessionInfo>> {
        self.sessions.lock().by_pid.get(&pid).cloned()
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
        self.backends.sessions.lock().by_pid.remove(&self.info.pid);
    }
}
