//! What exists in a cluster that was just made, and in a database that was just created.

use super::{Catalog, CatalogEdit, Database, FIRST_USER_OID, Role, Schema};
use imbl::OrdMap;
use quiver_base::{DatabaseId, GroupId};
use std::sync::Arc;

/// The bootstrap superuser's oid, as in PostgreSQL.
pub const BOOTSTRAP_ROLE: u32 = 10;
/// The oid of schema pg_catalog, as in PostgreSQL.
pub const PG_CATALOG_SCHEMA: u32 = 11;
/// The oid of schema public, as in PostgreSQL.
pub const PUBLIC_SCHEMA: u32 = 2_200;
/// The oid of schema information_schema. PostgreSQL's own differs from build to build; it is below the first user oid.
pub const INFORMATION_SCHEMA: u32 = 13_000;

const POSTGRES_DATABASE: DatabaseId = DatabaseId(5);
const QUIVER_DATABASE: DatabaseId = DatabaseId(FIRST_USER_OID);
const QUIVER_ROLE: u32 = FIRST_USER_OID + 1;

impl Database {
    /// A new database with the schemas and the extension that every database starts with.
    pub fn new(id: DatabaseId, name: impl Into<String>, owner: u32, group: GroupId) -> Database {
        let schemas = [
            (PG_CATALOG_SCHEMA, "pg_catalog"),
            (PUBLIC_SCHEMA, "public"),
            (INFORMATION_SCHEMA, "information_schema"),
        ]
        .map(|(id, name)| (id, Arc::new(Schema { id, name: name.to_owned(), owner: BOOTSTRAP_ROLE })));
        Database {
            id,
            name: name.into(),
            owner,
            group,
            connection_limit: -1,
            allow_connections: true,
            is_template: false,
            settings: Vec::new(),
            schemas: OrdMap::from_iter(schemas),
            tables: OrdMap::new(),
            sequences: OrdMap::new(),
            views: OrdMap::new(),
            extensions: OrdMap::unit("vector".to_owned(), PUBLIC_SCHEMA),
            comments: OrdMap::new(),
        }
    }
}

/// The first edit of a cluster's life: two superusers, and a database for each, spread over the data groups.
pub(crate) fn first_edits(data_groups: u16) -> Vec<CatalogEdit> {
    let role = |id, name| CatalogEdit::PutRole(Arc::new(Role::superuser(id, name)));
    let database = |id, name: &str, owner, group| {
        CatalogEdit::PutDatabase(Arc::new(Database::new(id, name, owner, GroupId(group))))
    };
    vec![
        role(BOOTSTRAP_ROLE, "postgres"),
        role(QUIVER_ROLE, "quiver"),
        database(POSTGRES_DATABASE, "postgres", BOOTSTRAP_ROLE, 1),
        database(QUIVER_DATABASE, "quiver", QUIVER_ROLE, u64::from(data_groups.clamp(1, 2))),
        CatalogEdit::RaiseCounters { next_oid: QUIVER_ROLE + 1, next_shard: 1 },
    ]
}

impl Catalog {
    /// The data group that the fewest databases use: where a new one goes.
    pub fn least_used_group(&self, data_groups: u16) -> GroupId {
        let used = |group| self.databases.values().filter(|database| database.group == group).count();
        (1..=u64::from(data_groups.max(1)))
            .map(GroupId)
            .min_by_key(|group| used(*group))
            .unwrap_or(GroupId(1))
    }
}
