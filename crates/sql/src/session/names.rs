//! Names behind oids for results that show regclass and its kin, and oids behind the names that parameters give.

use super::{SessionInfo, Shared};
use crate::bind::OidLookup;
use crate::catalog::{CatalogContext, object_name, object_oid};
use crate::encode::ObjectNames;
use crate::settings::Settings;
use quiver_base::{Result, SqlType};
use quiver_cluster::Txn;
use std::sync::Arc;

/// Looks names up in the catalog that the statement saw.
#[derive(Debug)]
pub(super) struct SessionNames {
    context: CatalogContext,
}

impl SessionNames {
    /// Outside of a transaction (a held cursor) the newest catalog is looked at.
    pub(super) fn new(
        shared: &Shared,
        info: &Arc<SessionInfo>,
        settings: &Settings,
        txn: Option<&Txn>,
    ) -> Result<SessionNames> {
        let (catalog, database) = match txn {
            Some(txn) => (txn.catalog(), txn.database()),
            None => (shared.cluster.catalog(), shared.cluster.database(&info.database)?),
        };
        let (cluster, settings, session) = (shared.cluster.clone(), settings.clone(), info.clone());
        Ok(SessionNames { context: CatalogContext { cluster, catalog, database, settings, session } })
    }
}

impl ObjectNames for SessionNames {
    fn name(&self, ty: &SqlType, oid: i64) -> Option<String> {
        object_name(&self.context, ty, oid)
    }
}

impl OidLookup for SessionNames {
    fn oid(&self, ty: &SqlType, name: &str) -> Result<i64> {
        object_oid(&self.context, ty, name)
    }
}
