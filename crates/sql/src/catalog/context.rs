//! What system relations and their functions are made from.

use crate::session::SessionInfo;
use crate::settings::Settings;
use quiver_cluster::{Catalog, Cluster, Database, Schema, Table};
use std::sync::Arc;

/// One statement's view of what exists, and its session.
#[derive(Clone, Debug)]
pub(crate) struct CatalogContext {
    /// The node, for numbers about tables.
    pub(crate) cluster: Arc<Cluster>,
    /// The catalog with the transaction's own DDL.
    pub(crate) catalog: Arc<Catalog>,
    /// The session's database in it.
    pub(crate) database: Arc<Database>,
    /// The session's settings.
    pub(crate) settings: Settings,
    /// Who is asking.
    pub(crate) session: Arc<SessionInfo>,
}

impl CatalogContext {
    /// The schema with this oid.
    pub(super) fn schema(&self, oid: u32) -> Option<&Arc<Schema>> {
        self.database.schemas.get(&oid)
    }

    /// A schema's name, as information_schema shows it.
    pub(super) fn schema_name(&self, oid: u32) -> String {
        self.schema(oid).map_or_else(String::new, |schema| schema.name.clone())
    }

    /// A role's name; the oid in text if it is gone, as pg_get_userbyid says.
    pub(super) fn role_name(&self, oid: u32) -> String {
        if let Some(role) = self.catalog.roles.get(&oid) {
            return role.name.clone();
        }
        let fixed = super::fixed::fixed().tables.get("pg_authid").and_then(|table| {
            let row = table.rows.iter().find(|row| table.value(row, "oid") == Some(&oid.to_string()))?;
            table.value(row, "rolname")
        });
        fixed.map_or_else(|| format!("unknown (OID={oid})"), str::to_owned)
    }

    /// Oids of the schemas that unqualified names are looked up in, pg_catalog first as it implicitly is.
    pub(super) fn search_path(&self) -> Vec<u32> {
        let mut path = vec![super::fixed::PG_CATALOG];
        for name in self.settings.search_path() {
            let found = self.database.schemas.values().find(|schema| schema.name == name);
            path.extend(found.map(|schema| schema.id).filter(|oid| !path.contains(oid)));
        }
        path
    }

    /// Whether an unqualified name would find a relation of this schema first.
    pub(super) fn is_visible(&self, schema: u32, name: &str) -> bool {
        for candidate in self.search_path() {
            if candidate == schema {
                return true;
            }
            if super::names::relation_in(self, candidate, name).is_some() {
                return false;
            }
        }
        false
    }

    /// Every table of the database.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.database.tables.values()
    }
}
