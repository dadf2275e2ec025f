//! Which type may stand for which, as pg_type and pg_cast say: categories of types, casts by context, and the type in which
//! several values meet (select_common_type). Types are oids, since the catalog has more of them than the server computes with.

use super::fixed::fixed;
use std::collections::HashMap;
use std::sync::OnceLock;

/// `unknown`: untyped literals and parameters.
pub(crate) const UNKNOWN: u32 = 705;
const PG_NODE_TREE: u32 = 194;
const INT2VECTOR: u32 = 22;
const OIDVECTOR: u32 = 30;
/// `"any"`: of whatever type, without a say in others'.
pub(crate) const ANY: u32 = 2276;
const ANYARRAY: u32 = 2277;
const ANYELEMENT: u32 = 2283;
const ANYNONARRAY: u32 = 2776;
const ANYENUM: u32 = 3500;
const ANYCOMPATIBLE: u32 = 5077;
const ANYCOMPATIBLEARRAY: u32 = 5078;
const ANYCOMPATIBLENONARRAY: u32 = 5079;

/// How far a cast may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Unasked, in any expression.
    Implicit,
    /// Where a value is stored.
    Assignment,
    /// `CAST(x AS t)`.
    Explicit,
}

#[derive(Debug)]
struct Type {
    category: char,
    preferred: bool,
    /// The type of the items of an array, 0 of others.
    item: u32,
    /// The type of arrays of it.
    array: u32,
}

#[derive(Debug, Default)]
struct Types {
    types: HashMap<u32, Type>,
    casts: HashMap<(u32, u32), Reach>,
}

fn all() -> &'static Types {
    static ALL: OnceLock<Types> = OnceLock::new();
    ALL.get_or_init(read)
}

fn read() -> Types {
    let mut all = Types::default();
    let tables = &fixed().tables;
    if let Some(table) = tables.get("pg_type") {
        for row in &table.rows {
            let number = |column| table.value(row, column).and_then(|text| text.parse().ok()).unwrap_or(0);
            let category = table.value(row, "typcategory").and_then(|text| text.chars().next());
            let category = category.unwrap_or('X');
            let ty = Type {
                category,
                preferred: table.value(row, "typispreferred") == Some("t"),
                item: if category == 'A' { number("typelem") } else { 0 },
                array: number("typarray"),
            };
            all.types.insert(number("oid"), ty);
        }
    }
    if let Some(table) = tables.get("pg_cast") {
        for row in &table.rows {
            let number = |column| table.value(row, column).and_then(|text| text.parse().ok()).unwrap_or(0);
            let reach = match table.value(row, "castcontext") {
                Some("i") => Reach::Implicit,
                Some("a") => Reach::Assignment,
                _ => Reach::Explicit,
            };
            all.casts.insert((number("castsource"), number("casttarget")), reach);
        }
    }
    all
}

/// typcategory.
pub(crate) fn category(ty: u32) -> char {
    all().types.get(&ty).map_or('X', |ty| ty.category)
}

/// typispreferred.
pub(crate) fn is_preferred(ty: u32) -> bool {
    all().types.get(&ty).is_some_and(|ty| ty.preferred)
}

/// The type of an array's items.
pub(crate) fn item_of(ty: u32) -> Option<u32> {
    all().types.get(&ty).map(|ty| ty.item).filter(|item| *item != 0)
}

fn array_of(ty: u32) -> Option<u32> {
    all().types.get(&ty).map(|ty| ty.array).filter(|array| *array != 0)
}

/// Whether a value of one type may be turned into one of another.
pub(crate) fn can_coerce(from: u32, to: u32, reach: Reach) -> bool {
    // An array of untyped items has no oid. Expressions that the catalog keeps are text here.
    if from == to || from == UNKNOWN || from == 0 || is_polymorphic(to) || to == PG_NODE_TREE {
        return true;
    }
    if let Some(needed) = all().casts.get(&(from, to)) {
        return *needed <= reach;
    }
    // Nothing is turned into the catalog's own lists by its items: they would take what is meant for real arrays.
    if let (Some(from), Some(item)) = (item_of(from), item_of(to))
        && !matches!(to, OIDVECTOR | INT2VECTOR)
        && can_coerce(from, item, reach)
    {
        return true;
    }
    // By way of their text.
    reach >= Reach::Assignment && category(to) == 'S' || reach == Reach::Explicit && category(from) == 'S'
}

/// anyelement and its kin.
pub(crate) fn is_polymorphic(ty: u32) -> bool {
    matches!(
        ty,
        ANY | ANYARRAY
            | ANYELEMENT
            | ANYNONARRAY
            | ANYENUM
            | ANYCOMPATIBLE
            | ANYCOMPATIBLEARRAY
            | ANYCOMPATIBLENONARRAY
    )
}

/// The type in which values of these types meet, `text` if none has a type; the two that do not meet otherwise.
pub(crate) fn common(types: &[u32]) -> Result<u32, (u32, u32)> {
    const TEXT: u32 = 25;
    let mut types = types.iter().copied().filter(|ty| *ty != UNKNOWN);
    let Some(mut chosen) = types.next() else { return Ok(TEXT) };
    for ty in types {
        if ty == chosen {
            continue;
        }
        if category(ty) != category(chosen) {
            return Err((chosen, ty));
        }
        let forward = can_coerce(chosen, ty, Reach::Implicit);
        if !is_preferred(chosen) && forward && !can_coerce(ty, chosen, Reach::Implicit) {
            chosen = ty;
        }
    }
    Ok(chosen)
}

/// The declared types with polymorphic ones made real; `None` if the arguments do not agree.
pub(super) fn real_types(declared: &[u32], args: &[u32]) -> Option<Vec<u32>> {
    if !declared.iter().any(|ty| is_polymorphic(*ty) && *ty != ANY) {
        return Some(declared.to_vec());
    }
    let element = element(declared, args)?;
    let compatible = compatible(declared, args)?;
    declared
        .iter()
        .zip(args)
        .map(|(ty, arg)| match *ty {
            // Also int2vector, which is an array of its own.
            ANYARRAY if *arg != UNKNOWN => Some(*arg),
            ANYARRAY if element == UNKNOWN => Some(UNKNOWN),
            ANYARRAY => array_of(element),
            ANYELEMENT => Some(element),
            // There are no enums.
            ANYENUM => None,
            ANYNONARRAY => item_of(element).is_none().then_some(element),
            ANYCOMPATIBLEARRAY => match compatible {
                UNKNOWN => Some(*arg),
                compatible => array_of(compatible),
            },
            ANYCOMPATIBLE => Some(compatible),
            ANYCOMPATIBLENONARRAY => item_of(compatible).is_none().then_some(compatible),
            ty => Some(ty),
        })
        .collect()
}

/// Whether nothing says what anyelement and its kin stand for, though arguments are declared so.
pub(super) fn is_undetermined(declared: &[u32], args: &[u32]) -> bool {
    let polymorphic = |ty: &u32| matches!(*ty, ANYARRAY | ANYELEMENT | ANYNONARRAY);
    declared.iter().any(polymorphic) && element(declared, args) == Some(UNKNOWN)
}

/// What anyelement stands for; unknown if no argument says it.
fn element(declared: &[u32], args: &[u32]) -> Option<u32> {
    let mut found = UNKNOWN;
    for (ty, arg) in declared.iter().zip(args).filter(|(_, arg)| **arg != UNKNOWN) {
        let says = match *ty {
            ANYELEMENT | ANYNONARRAY => *arg,
            ANYARRAY => item_of(*arg)?,
            _ => continue,
        };
        if found != UNKNOWN && found != says {
            return None;
        }
        found = says;
    }
    Some(found)
}

/// What anycompatible stands for.
fn compatible(declared: &[u32], args: &[u32]) -> Option<u32> {
    let mut says = Vec::new();
    for (ty, arg) in declared.iter().zip(args).filter(|(_, arg)| **arg != UNKNOWN) {
        match *ty {
            ANYCOMPATIBLE | ANYCOMPATIBLENONARRAY => says.push(*arg),
            ANYCOMPATIBLEARRAY => says.push(item_of(*arg)?),
            _ => {}
        }
    }
    if says.is_empty() {
        // Nothing but untyped literals: they are text.
        const TEXT: u32 = 25;
        return Some(TEXT);
    }
    let common = common(&says).ok()?;
    says.iter().all(|ty| can_coerce(*ty, common, Reach::Implicit)).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT4: u32 = 23;
    const INT8: u32 = 20;
    const TEXT: u32 = 25;
    const NUMERIC: u32 = 1700;
    const INT4_ARRAY: u32 = 1007;

    #[test]
    fn casts_reach_as_far_as_the_catalog_says() {
        assert!(can_coerce(INT4, INT8, Reach::Implicit));
        assert!(!can_coerce(INT8, INT4, Reach::Implicit));
        assert!(can_coerce(INT8, INT4, Reach::Assignment));
        assert!(!can_coerce(INT4, TEXT, Reach::Implicit));
        assert!(can_coerce(TEXT, INT4, Reach::Explicit));
        assert!(!can_coerce(INT4_ARRAY, OIDVECTOR, Reach::Implicit));
    }

    #[test]
    fn values_meet_in_the_type_that_holds_them() {
        assert_eq!(common(&[INT4, UNKNOWN, NUMERIC]), Ok(NUMERIC));
        assert_eq!(common(&[UNKNOWN]), Ok(TEXT));
        assert_eq!(common(&[INT4, TEXT]), Err((INT4, TEXT)));
    }

    #[test]
    fn polymorphic_types_become_real() {
        assert_eq!(real_types(&[ANYARRAY, ANYELEMENT], &[INT4_ARRAY, UNKNOWN]), Some(vec![INT4_ARRAY, INT4]));
        assert_eq!(real_types(&[ANYARRAY, ANYELEMENT], &[INT4_ARRAY, TEXT]), None);
        assert_eq!(real_types(&[ANYARRAY], &[INT4]), None);
    }
}
