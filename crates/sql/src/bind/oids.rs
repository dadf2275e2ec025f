//! Names behind oids and oids behind names, from the system catalogs.

use super::cast_kernel::OidLookup;
use crate::catalog::{self, CatalogContext};
use crate::encode::ObjectNames;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// What the reg types' input and output functions look up.
#[derive(Debug)]
pub(super) struct CatalogNames(pub(super) Arc<CatalogContext>);

impl OidLookup for CatalogNames {
    fn oid(&self, ty: &SqlType, name: &str) -> Result<i64> {
        let (found, missing) = match ty {
            SqlType::Regclass => (
                catalog::regclass(&self.0, name)?,
                Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")),
            ),
            SqlType::Regtype => (
                catalog::regtype(name)?,
                Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist")),
            ),
            SqlType::Regnamespace => (
                self.0.database.schemas.values().find(|schema| schema.name == name).map(|schema| schema.id),
                Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")),
            ),
            _ => (
                catalog::regproc(name)?,
                Error::new(SqlState::UNDEFINED_FUNCTION, format!("function \"{name}\" does not exist")),
            ),
        };
        found.map(i64::from).ok_or(missing)
    }
}

impl ObjectNames for CatalogNames {
    fn name(&self, ty: &SqlType, oid: i64) -> Option<String> {
        if oid == 0 {
            return Some("-".to_owned());
        }
        let oid = u32::try_from(oid).ok()?;
        match ty {
            SqlType::Regclass => Some(catalog::regclass_name(&self.0, oid)),
            SqlType::Regtype => Some(catalog::regtype_name(oid)),
            SqlType::Regproc => Some(catalog::regproc_name(oid)),
            SqlType::Regnamespace => self.0.database.schemas.get(&oid).map(|schema| schema.name.clone()),
            _ => None,
        }
    }
}
