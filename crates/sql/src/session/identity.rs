//! As whom a session acts: SET ROLE and SET SESSION AUTHORIZATION. Both are kept among the settings, so that transactions and
//! savepoints undo them like any other.

use super::{Session, SessionInfo};
use crate::settings::{SetScope, Settings};
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{BOOTSTRAP_ROLE, Catalog};

/// The oid of the role that a session acts as: the owner of what it makes. A name that is no role, which loopback lets in, acts as
/// the bootstrap superuser.
pub(crate) fn current_role(catalog: &Catalog, settings: &Settings) -> u32 {
    role_or_bootstrap(catalog, &settings.current_user())
}

fn role_or_bootstrap(catalog: &Catalog, name: &str) -> u32 {
    catalog.role(name).map_or(BOOTSTRAP_ROLE, |role| role.id)
}

fn is_superuser(catalog: &Catalog, role: u32) -> bool {
    catalog.roles.get(&role).is_some_and(|role| role.superuser)
}

/// SET ROLE name, or back to who the session is.
pub(crate) fn set_role(
    catalog: &Catalog,
    settings: &Settings,
    name: Option<&str>,
    scope: SetScope,
) -> Result<()> {
    let Some(name) = name.filter(|name| *name != "none") else {
        settings.put_identity("role", "none", scope);
        return Ok(());
    };
    let role = catalog.role(name).ok_or_else(|| no_role(name))?;
    let session_user = role_or_bootstrap(catalog, &settings.session_user());
    if !is_superuser(catalog, session_user) && !catalog.can_set_role(session_user, role.id) {
        return Err(Error::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to set role \"{name}\""),
        ));
    }
    settings.put_identity("role", name, scope);
    Ok(())
}

/// SET SESSION AUTHORIZATION name, or back to who logged in.
pub(super) fn set_authorization(
    catalog: &Catalog,
    info: &SessionInfo,
    settings: &Settings,
    name: Option<&str>,
    scope: SetScope,
) -> Result<()> {
    if let Some(name) = name.filter(|name| *name != info.user) {
        if catalog.role(name).is_none() {
            return Err(no_role(name));
        }
        if !is_superuser(catalog, info.role) {
            return Err(Error::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied to set session authorization \"{name}\""),
            ));
        }
    }
    settings.put_identity("session_authorization", name.unwrap_or(&info.user), scope);
    settings.put_identity("role", "none", scope);
    Ok(())
}

fn no_role(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("role \"{name}\" does not exist"))
}

impl Session {
    /// The catalog as the session's transaction sees it.
    pub(super) fn visible_catalog(&self) -> std::sync::Arc<Catalog> {
        match &self.transaction.txn {
            Some(txn) => txn.catalog(),
            None => self.shared.cluster.catalog(),
        }
    }

    /// Keeps `is_superuser` true to the role that the session acts as.
    pub(super) fn refresh_superuser(&self) {
        let catalog = self.visible_catalog();
        let superuser = is_superuser(&catalog, current_role(&catalog, &self.settings));
        let value = if superuser { "on" } else { "off" };
        if self.settings.show("is_superuser").is_ok_and(|shown| shown != value) {
            self.settings.put_identity("is_superuser", value, SetScope::Session);
        }
    }
}
