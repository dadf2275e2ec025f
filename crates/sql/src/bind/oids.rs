//! Names behind oids and oids behind names, from the system catalogs.

use super::cast_kernel::OidLookup;
use crate::catalog::{self, CatalogContext};
use crate::encode::ObjectNames;
use quiver_base::{Result, SqlType};
use std::sync::Arc;

/// What the reg types' input and output functions look up.
#[derive(Debug)]
pub(super) struct CatalogNames(pub(super) Arc<CatalogContext>);

impl OidLookup for CatalogNames {
    fn oid(&self, ty: &SqlType, name: &str) -> Result<i64> {
        catalog::object_oid(&self.0, ty, name)
    }
}

impl ObjectNames for CatalogNames {
    fn name(&self, ty: &SqlType, oid: i64) -> Option<String> {
        catalog::object_name(&self.0, ty, oid)
    }
}
