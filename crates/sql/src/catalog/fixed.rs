//! Rows of the system catalogs that are the same on every server: PostgreSQL 16.14's own and those of the vector
//! extension, as `scripts/dump-catalog` wrote them. Unpacked once, on first use.

use quiver_base::SqlType;
use std::collections::HashMap;
use std::sync::OnceLock;

const PACKED: &[u8] = include_bytes!("../../data/catalog.tsv.zst");

/// A column of a system relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FixedColumn {
    /// attname.
    pub(super) name: String,
    /// Its type here.
    pub(super) ty: SqlType,
}

/// The fixed rows of one relation.
#[derive(Debug, Default)]
pub(super) struct FixedTable {
    /// Columns in attnum order.
    pub(super) columns: Vec<FixedColumn>,
    /// Rows in text form; `None` is NULL.
    pub(super) rows: Vec<Vec<Option<String>>>,
}

impl FixedTable {
    /// A column's position.
    pub(super) fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|it| it.name == column)
    }

    /// A row's value in a named column.
    pub(super) fn value<'a>(&self, row: &'a [Option<String>], column: &str) -> Option<&'a str> {
        row.get(self.position(column)?)?.as_deref()
    }
}

/// Everything fixed.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    /// By relation name.
    pub(super) tables: HashMap<String, FixedTable>,
    /// Columns of every relation of pg_catalog (11) and information_schema, by (schema's oid, name).
    pub(super) relations: HashMap<(u32, String), Vec<FixedColumn>>,
}

/// The schema of PostgreSQL's own objects.
pub(super) const PG_CATALOG: u32 = 11;

/// The fixed rows.
pub(super) fn fixed() -> &'static Fixed {
    static FIXED: OnceLock<Fixed> = OnceLock::new();
    FIXED.get_or_init(|| {
        let text = zstd::decode_all(PACKED).expect("the packed catalog is part of the program");
        let text = String::from_utf8(text).expect("the packed catalog is text");
        read(&text)
    })
}

fn read(text: &str) -> Fixed {
    let mut fixed = Fixed::default();
    let mut current = (String::new(), FixedTable::default());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("== ") {
            let columns = lines.next().unwrap_or_default().split('\t').map(read_column).collect();
            let done =
                std::mem::replace(&mut current, (name.to_owned(), FixedTable { columns, rows: Vec::new() }));
            fixed.tables.insert(done.0, done.1);
        } else {
            current.1.rows.push(line.split('\t').map(unescape).collect());
        }
    }
    fixed.tables.insert(current.0, current.1);
    fixed.relations = relations(&fixed.tables);
    fixed
}

fn read_column(text: &str) -> FixedColumn {
    let (name, ty) = text.split_once(':').unwrap_or((text, "text"));
    FixedColumn { name: name.to_owned(), ty: type_named(ty) }
}

/// A field of COPY's text format.
fn unescape(field: &str) -> Option<String> {
    if field == "\\N" {
        return None;
    }
    if !field.contains('\\') {
        return Some(field.to_owned());
    }
    let mut out = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    Some(out)
}

/// The type that carries a system catalog's type here; types that nobody computes with are text.
fn type_named(name: &str) -> SqlType {
    match name {
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" | "cardinal_number" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "numeric" => SqlType::Numeric(None),
        "oid" => SqlType::Oid,
        "regproc" => SqlType::Regproc,
        "regtype" => SqlType::Regtype,
        "regclass" => SqlType::Regclass,
        "name" | "sql_identifier" => SqlType::Name,
        "character_data" | "yes_or_no" => SqlType::Varchar(None),
        "char" => SqlType::Char,
        "int2vector" => SqlType::Int2Vector,
        "oidvector" => SqlType::OidVector,
        "timestamptz" | "time_stamp" => SqlType::Timestamptz(None),
        "interval" => SqlType::Interval(None),
        "bytea" => SqlType::Bytea,
        _ => match name.strip_prefix('_') {
            Some(item) => SqlType::Array(Box::new(type_named(item))),
            None => SqlType::Text,
        },
    }
}

/// Columns of every system relation, from the fixed rows of pg_attribute.
fn relations(tables: &HashMap<String, FixedTable>) -> HashMap<(u32, String), Vec<FixedColumn>> {
    let (Some(classes), Some(attributes), Some(types)) =
        (tables.get("pg_class"), tables.get("pg_attribute"), tables.get("pg_type"))
    else {
        return HashMap::new();
    };
    let type_names: HashMap<&str, &str> = types
        .rows
        .iter()
        .filter_map(|row| Some((types.value(row, "oid")?, types.value(row, "typname")?)))
        .collect();
    let mut columns: HashMap<&str, Vec<(i32, FixedColumn)>> = HashMap::new();
    for row in &attributes.rows {
        let value = |column| attributes.value(row, column);
        let (Some(relation), Some(number)) =
            (value("attrelid"), value("attnum").and_then(|it| it.parse().ok()))
        else {
            continue;
        };
        if number > 0 {
            let ty = value("atttypid")
                .and_then(|oid| type_names.get(oid))
                .map_or(SqlType::Text, |name| type_named(name));
            let name = value("attname").unwrap_or_default().to_owned();
            columns.entry(relation).or_default().push((number, FixedColumn { name, ty }));
        }
    }
    let mut relations = HashMap::new();
    for row in &classes.rows {
        let value = |column| classes.value(row, column);
        if let (Some(oid), Some(name), Some(Ok(schema))) =
            (value("oid"), value("relname"), value("relnamespace").map(str::parse))
            && let Some(mut list) = columns.remove(oid)
        {
            list.sort_by_key(|(number, _)| *number);
            relations.insert((schema, name.to_owned()), list.into_iter().map(|(_, column)| column).collect());
        }
    }
    relations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_rows_hold_what_clients_ask_for() {
        let fixed = fixed();
        let types = &fixed.tables["pg_type"];
        let vector =
            types.rows.iter().find(|row| types.value(row, "typname") == Some("vector")).expect("vector");
        assert_eq!(types.value(vector, "oid"), Some("15001"));
        assert_eq!(types.value(vector, "typarray"), Some("15007"));
        let class = &fixed.relations[&(PG_CATALOG, "pg_class".to_owned())];
        assert_eq!(class[0], FixedColumn { name: "oid".into(), ty: SqlType::Oid });
        assert_eq!(class.len(), 33);
        assert!(fixed.relations.keys().any(|(schema, name)| *schema != PG_CATALOG && name == "columns"));
    }
}
