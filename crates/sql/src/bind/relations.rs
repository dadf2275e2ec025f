//! Names of relations: qualified or looked up along search_path.

use super::names::folded;
use datafusion::sql::sqlparser::ast::ObjectName;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{Database, Table, View};
use std::sync::Arc;

/// A relation's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationName {
    /// The schema, if it was said.
    pub schema: Option<String>,
    /// The name in it.
    pub name: String,
}

impl std::fmt::Display for RelationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Takes an object's name apart; 0A000 for another database.
pub(crate) fn relation_name(name: &ObjectName, database: &str) -> Result<RelationName> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    let parts = parts.ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, format!("invalid name: {name}")))?;
    match parts.as_slice() {
        [name] => Ok(RelationName { schema: None, name: name.clone() }),
        [schema, name] => Ok(RelationName { schema: Some(schema.clone()), name: name.clone() }),
        [catalog, schema, name] if catalog == database => {
            Ok(RelationName { schema: Some(schema.clone()), name: name.clone() })
        }
        [_, _, _] => Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("cross-database references are not implemented: \"{}\"", parts.join(".")),
        )),
        _ => Err(Error::new(
            SqlState::SYNTAX_ERROR,
            format!("improper qualified name (too many dotted names): {}", parts.join(".")),
        )),
    }
}

/// A table of the database by name, along the search path.
pub(crate) fn find_table<'a>(
    database: &'a Database,
    path: &[String],
    name: &RelationName,
) -> Option<&'a Arc<Table>> {
    let in_schema = |schema: &str| {
        let id = database.schemas.values().find(|found| found.name == schema)?.id;
        database.tables.values().find(|table| table.schema == id && table.name == name.name)
    };
    match &name.schema {
        Some(schema) => in_schema(schema),
        None => path.iter().find_map(|schema| in_schema(schema)),
    }
}

/// A view of the database by name, along the search path.
pub(crate) fn find_view<'a>(
    database: &'a Database,
    path: &[String],
    name: &RelationName,
) -> Option<&'a Arc<View>> {
    let in_schema = |schema: &str| {
        let id = database.schemas.values().find(|found| found.name == schema)?.id;
        database.views.values().find(|view| view.schema == id && view.name == name.name)
    };
    match &name.schema {
        Some(schema) => in_schema(schema),
        None => path.iter().find_map(|schema| in_schema(schema)),
    }
}

/// 42P01, or 3F000 if not even the schema exists.
pub(crate) fn no_relation(_database: &Database, name: &RelationName) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}
