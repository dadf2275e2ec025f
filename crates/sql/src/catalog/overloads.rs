//! Which argument types the functions of vectors and bit strings take, as pg_proc says.

use super::fixed::fixed;
use crate::oids::type_of_oid;
use quiver_base::SqlType;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The overloads of one name that take a vector or a bit string.
#[derive(Debug, Default)]
pub(crate) struct Overloads {
    /// Argument types of each.
    pub args: Vec<Vec<SqlType>>,
    /// Whether the name has other overloads as well.
    pub shared: bool,
}

/// Vectors of pgvector's types and bit strings.
pub(crate) fn is_vector_like(ty: &SqlType) -> bool {
    use SqlType::{Bit, Halfvec, Sparsevec, Varbit, Vector};
    matches!(ty, Vector(_) | Halfvec(_) | Sparsevec(_) | Bit(_) | Varbit(_))
}

/// Of a function by its name; `None` if none of that name takes one of these types or makes one.
pub(crate) fn overloads(name: &str) -> Option<&'static Overloads> {
    static ALL: OnceLock<HashMap<String, Overloads>> = OnceLock::new();
    ALL.get_or_init(read).get(name)
}

fn read() -> HashMap<String, Overloads> {
    let Some(table) = fixed().tables.get("pg_proc") else { return HashMap::new() };
    let mut all: HashMap<String, Overloads> = HashMap::new();
    for row in &table.rows {
        let Some(name) = table.value(row, "proname") else { continue };
        let oids =
            table.value(row, "proargtypes").unwrap_or_default().split(' ').filter(|oid| !oid.is_empty());
        let types = |oid: &str| oid.parse().ok().and_then(type_of_oid);
        let args: Option<Vec<SqlType>> = oids.map(types).collect();
        let result = table.value(row, "prorettype").and_then(types);
        let entry = all.entry(name.to_owned()).or_default();
        match args {
            Some(args) if args.iter().chain(&result).any(is_vector_like) => entry.args.push(args),
            _ => entry.shared = true,
        }
    }
    all.retain(|_, overloads| !overloads.args.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_know_their_overloads() {
        let found = overloads("l2_distance").expect("pgvector's");
        assert_eq!((found.args.len(), found.shared), (3, false));
        assert!(overloads("length").expect("has one for bit").shared);
        assert!(overloads("upper").is_none());
    }
}
