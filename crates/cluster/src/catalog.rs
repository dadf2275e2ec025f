//! What exists: databases, schemas, tables with columns, constraints and indexes, sequences, roles. An immutable value; an
//! edit makes a new one that shares what did not change. Decides nothing: names are checked and oids given out before an
//! edit is proposed, so applying one cannot fail.

mod boot;
mod edit;
mod roles;

use crate::shared_serde::{arc, arc_map};
pub(crate) use boot::first_edits;
pub use boot::{BOOTSTRAP_ROLE, INFORMATION_SCHEMA, PG_CATALOG_SCHEMA, PUBLIC_SCHEMA};
use imbl::OrdMap;
use quiver_base::{ColumnId, DatabaseId, GroupId, IndexId, ShardId, SqlType, TableId};
use quiver_index::{Metric, VectorIndexKind};
use quiver_storage::LookupKind;
pub use roles::{DefaultSetting, Membership, Role};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Oids below are PostgreSQL's own (pg_type, pg_proc, …) and those of the vector extension.
pub const FIRST_USER_OID: u32 = 16_384;

/// Everything that exists, at one version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// Rises with every edit.
    pub version: u64,
    /// The next oid to give out.
    pub next_oid: u32,
    /// The next shard id to give out.
    pub next_shard: u64,
    /// By oid.
    #[serde(with = "arc_map")]
    pub databases: OrdMap<DatabaseId, Arc<Database>>,
    /// Roles of the cluster, by oid.
    #[serde(with = "arc_map")]
    pub roles: OrdMap<u32, Arc<Role>>,
}

/// A database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Database {
    /// Its oid.
    pub id: DatabaseId,
    /// Its name.
    pub name: String,
    /// The owning role's oid.
    pub owner: u32,
    /// The Raft group that holds its shards.
    pub group: GroupId,
    /// Sessions at once; -1: any number.
    pub connection_limit: i32,
    /// Whether anybody may connect.
    pub allow_connections: bool,
    /// Marked as a template; kept and shown.
    pub is_template: bool,
    /// What sessions in it begin with, whoever's they are.
    pub settings: Vec<DefaultSetting>,
    /// By oid. Always has pg_catalog (11), public (2200) and information_schema.
    #[serde(with = "arc_map")]
    pub schemas: OrdMap<u32, Arc<Schema>>,
    /// By oid.
    #[serde(with = "arc_map")]
    pub tables: OrdMap<TableId, Arc<Table>>,
    /// By oid.
    #[serde(with = "arc_map")]
    pub sequences: OrdMap<TableId, Arc<Sequence>>,
    /// By oid.
    #[serde(with = "arc_map")]
    pub views: OrdMap<TableId, Arc<View>>,
    /// Installed extensions: name and the schema's oid. `vector` is there from the start, as template databases have it.
    pub extensions: OrdMap<String, u32>,
    /// Comments: (class oid, object oid, column number or 0) to text.
    pub comments: OrdMap<(u32, u32, u32), String>,
}

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its oid.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The owning role's oid.
    pub owner: u32,
}

/// A table (a collection is the same thing).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its oid.
    pub id: TableId,
    /// The schema's oid.
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// The owning role's oid.
    pub owner: u32,
    /// All columns ever, dropped ones included, in attnum order: `columns[i].id == i + 1`.
    pub columns: Vec<Column>,
    /// Constraints.
    pub constraints: Vec<Constraint>,
    /// Indexes, those behind constraints included.
    pub indexes: Vec<Index>,
    /// Where its rows are. TRUNCATE and rewrites give new ones.
    pub shards: Vec<ShardId>,
    /// Columns whose hash picks the shard; empty: any shard will do.
    pub shard_key: Vec<ColumnId>,
    /// `WITH (…)` options as given.
    pub options: Vec<(String, String)>,
    /// Rises with every change of this table.
    pub version: u64,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its attnum.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(with = "quiver_base::stored_type")]
    pub ty: SqlType,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT.
    pub default: Option<ColumnDefault>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<Identity>,
    /// The value of rows older than the column, as the type's text form.
    pub missing: Option<String>,
    /// Dropped: keeps its place, is seen by nobody.
    pub dropped: bool,
}

/// A default expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefault {
    /// SQL text, in the form pg_get_expr shows, that the binder parses again.
    pub sql: String,
    /// The sequence that it takes values from, if it is a serial column's.
    pub sequence: Option<TableId>,
}

/// An identity column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// ALWAYS (an explicit value is refused) or BY DEFAULT.
    pub always: bool,
    /// Its sequence.
    pub sequence: TableId,
}

/// A table constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its oid in pg_constraint.
    pub id: u32,
    /// Its name, unique in the table.
    pub name: String,
    /// What it demands.
    pub kind: ConstraintKind,
}

/// What a constraint demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintKind {
    /// PRIMARY KEY, enforced by an index of the same name.
    PrimaryKey {
        /// That index.
        index: IndexId,
    },
    /// UNIQUE, enforced by an index of the same name.
    Unique {
        /// That index.
        index: IndexId,
    },
    /// CHECK.
    Check {
        /// SQL text that the binder parses again.
        sql: String,
        /// Columns it reads.
        columns: Vec<ColumnId>,
    },
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its oid.
    pub id: IndexId,
    /// Its name, unique in the schema.
    pub name: String,
    /// How it works.
    pub method: IndexMethod,
    /// Key columns.
    pub columns: Vec<KeyColumn>,
    /// No two rows share a key.
    pub unique: bool,
    /// `WITH (…)` options as given.
    pub options: Vec<(String, String)>,
    /// WHERE: which rows are in it.
    pub predicate: Option<IndexText>,
}

/// A key column of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// The column; 0 where an expression is in its place.
    pub column: ColumnId,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
    /// The expression in place of a column.
    pub expression: Option<IndexText>,
    /// The operator class, where it is not the default one.
    pub class: Option<String>,
}

/// An expression over a row that the catalog keeps for an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexText {
    /// SQL text, in the form pg_get_expr shows, that the binder parses again.
    pub sql: String,
    /// Its type.
    pub ty: SqlType,
    /// Columns it reads.
    pub columns: Vec<ColumnId>,
}

impl KeyColumn {
    /// A column in ascending order, NULLs last, in the default operator class.
    pub fn ascending(column: ColumnId) -> KeyColumn {
        KeyColumn { column, descending: false, nulls_first: false, expression: None, class: None }
    }
}

impl Index {
    /// Whether it cannot do without a column.
    pub fn reads(&self, column: ColumnId) -> bool {
        let texts = self.columns.iter().filter_map(|key| key.expression.as_ref()).chain(&self.predicate);
        self.columns.iter().any(|key| key.column == column)
            || texts.into_iter().any(|text| text.columns.contains(&column))
    }

    /// How rows of a filter are found by its first column, if they are. A key of one column is looked up as a whole instead.
    pub fn lookup(&self) -> Option<LookupKind> {
        match self.method {
            IndexMethod::Vector { .. } => None,
            IndexMethod::Gin => Some(LookupKind::Items),
            IndexMethod::BTree | IndexMethod::Hash => {
                let is_key = self.unique && self.columns.len() == 1;
                (!is_key).then_some(LookupKind::Values)
            }
        }
    }

    /// Whether it is over vectors.
    pub fn is_vector(&self) -> bool {
        matches!(self.method, IndexMethod::Vector { .. })
    }
}

/// How an index works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexMethod {
    /// An index of values: unique checks, look-ups of keys, and the rows of a filter. Shown as btree.
    BTree,
    /// A graph, or lists, per sealed segment.
    Vector {
        /// The operator class's distance.
        metric: Metric,
        /// hnsw or ivfflat, with build parameters.
        kind: VectorIndexKind,
    },
    /// An index of single values, for equality. Kept as a B-tree is.
    Hash,
    /// An index of the items of arrays, or of the leaves and keys of jsonb.
    Gin,
}

/// A sequence. Its position advances through the log in steps of a cached range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its oid.
    pub id: TableId,
    /// The schema's oid.
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// The owning role's oid.
    pub owner: u32,
    /// smallint, integer or bigint.
    pub ty: SqlType,
    /// START WITH.
    pub start: i64,
    /// INCREMENT BY.
    pub increment: i64,
    /// MINVALUE.
    pub min: i64,
    /// MAXVALUE.
    pub max: i64,
    /// CYCLE.
    pub cycle: bool,
    /// The first value that nobody has been given; durable.
    pub next: i64,
    /// All values are used up.
    pub exhausted: bool,
    /// OWNED BY: dropped with it.
    pub owned_by: Option<(TableId, ColumnId)>,
}

/// A view: a query under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its oid.
    pub id: TableId,
    /// The schema's oid.
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// The owning role's oid.
    pub owner: u32,
    /// Columns with their types, in attnum order.
    #[serde(with = "view_columns")]
    pub columns: Vec<(String, SqlType)>,
    /// SQL text that the binder parses again; no `*` in its select list.
    pub sql: String,
    /// Where its unqualified names are looked up, whatever the session's search_path.
    pub search_path: Vec<String>,
    /// Tables and views that it reads.
    pub reads: Vec<TableId>,
}

/// A change. Whole objects are put, so that applying one needs no look at what was there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // verb and object say it
pub enum CatalogEdit {
    PutDatabase(#[serde(with = "arc")] Arc<Database>),
    DropDatabase(DatabaseId),
    PutRole(#[serde(with = "arc")] Arc<Role>),
    DropRole(u32),
    PutSchema(DatabaseId, #[serde(with = "arc")] Arc<Schema>),
    DropSchema(DatabaseId, u32),
    PutTable(DatabaseId, #[serde(with = "arc")] Arc<Table>),
    DropTable(DatabaseId, TableId),
    PutSequence(DatabaseId, #[serde(with = "arc")] Arc<Sequence>),
    DropSequence(DatabaseId, TableId),
    PutExtension(DatabaseId, String, u32),
    DropExtension(DatabaseId, String),
    PutComment(DatabaseId, (u32, u32, u32), Option<String>),
    /// Counters only rise.
    RaiseCounters {
        next_oid: u32,
        next_shard: u64,
    },
    PutView(DatabaseId, #[serde(with = "arc")] Arc<View>),
    DropView(DatabaseId, TableId),
}

/// Names and types of a view's columns, the types as [`Column`] keeps them.
mod view_columns {
    use quiver_base::SqlType;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Named(String, #[serde(with = "quiver_base::stored_type")] SqlType);

    pub(super) fn serialize<S: Serializer>(
        columns: &[(String, SqlType)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let named: Vec<_> = columns.iter().map(|(name, ty)| Named(name.clone(), ty.clone())).collect();
        named.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, SqlType)>, D::Error> {
        let named = Vec::<Named>::deserialize(deserializer)?;
        Ok(named.into_iter().map(|Named(name, ty)| (name, ty)).collect())
    }
}
