//! Which function or operator a call means: the candidates of pg_proc and pg_operator, and PostgreSQL's rules to choose one of
//! them by the types of the arguments. Knows no expressions.

use super::coercions::{
    Reach, UNKNOWN, can_coerce, category, is_polymorphic, is_preferred, is_undetermined, real_types,
};
use super::fixed::fixed;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What a name and the types of arguments lead to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The one that is meant.
    One(Signature),
    /// 42883.
    None,
    /// 42725.
    Ambiguous,
    /// One that is meant, but its types follow those of arguments that have none: 42804.
    Undetermined(Signature),
}

/// A function or an operator, with the types it has for these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// What the arguments are to be brought to; `any` of those that may be of any type.
    pub args: Vec<u32>,
    /// What it returns.
    pub result: u32,
    /// Whether it gives NULL for any argument that is.
    pub strict: bool,
}

/// A function as it may be called.
#[derive(Debug)]
struct Callable {
    result: u32,
    strict: bool,
    args: Vec<u32>,
    /// How many of the last arguments may be left out.
    defaults: usize,
    /// The type that may come again and again at the end; 0 if there is none.
    variadic: u32,
}

/// Whether PostgreSQL has a function of that name.
pub(crate) fn is_function(name: &str) -> bool {
    all_functions().contains_key(name)
}

/// The choice among the functions of a name; `None` if PostgreSQL has none of that name.
pub(crate) fn function(name: &str, args: &[u32]) -> Option<Choice> {
    let callables = all_functions().get(name)?;
    let lists: Vec<Signature> = callables.iter().filter_map(|it| called_with(it, args.len())).collect();
    Some(choose(&lists, args))
}

/// Whether every function of a name gives NULL for any argument that is; not if there is none of that name.
pub(crate) fn is_strict(name: &str) -> bool {
    all_functions().get(name).is_some_and(|callables| callables.iter().all(|it| it.strict))
}

fn all_functions() -> &'static HashMap<String, Vec<Callable>> {
    static ALL: OnceLock<HashMap<String, Vec<Callable>>> = OnceLock::new();
    ALL.get_or_init(functions)
}

/// The choice among the operators of a name, of one operand or two; `None` if there is no such name.
pub(crate) fn operator(symbol: &str, args: &[u32]) -> Option<Choice> {
    static ALL: OnceLock<HashMap<(String, usize), Vec<Signature>>> = OnceLock::new();
    let candidates = ALL.get_or_init(operators).get(&(symbol.to_owned(), args.len()))?;
    // An untyped operand is taken for the other's type if there is an operator of that type twice.
    if let [a, b] = args
        && (*a == UNKNOWN) != (*b == UNKNOWN)
    {
        let known = if *a == UNKNOWN { *b } else { *a };
        if let Some(twice) = candidates.iter().find(|it| it.args.as_slice() == [known, known]) {
            return Some(Choice::One(twice.clone()));
        }
    }
    Some(choose(candidates, args))
}

fn functions() -> HashMap<String, Vec<Callable>> {
    let mut all: HashMap<String, Vec<Callable>> = HashMap::new();
    let Some(table) = fixed().tables.get("pg_proc") else { return all };
    for row in &table.rows {
        let value = |column| table.value(row, column).unwrap_or_default();
        let args = value("proargtypes").split_ascii_whitespace().filter_map(|oid| oid.parse().ok());
        let callable = Callable {
            args: args.collect(),
            result: value("prorettype").parse().unwrap_or(0),
            strict: value("proisstrict") == "t",
            defaults: value("pronargdefaults").parse().unwrap_or(0),
            variadic: value("provariadic").parse().unwrap_or(0),
        };
        all.entry(value("proname").to_owned()).or_default().push(callable);
    }
    all
}

fn operators() -> HashMap<(String, usize), Vec<Signature>> {
    let mut all: HashMap<(String, usize), Vec<Signature>> = HashMap::new();
    let Some(table) = fixed().tables.get("pg_operator") else { return all };
    for row in &table.rows {
        let number = |column| table.value(row, column).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        let operands = [number("oprleft"), number("oprright")];
        let operands: Vec<u32> = operands.into_iter().filter(|oid| *oid != 0).collect();
        let name = table.value(row, "oprname").unwrap_or_default().to_owned();
        let signature = Signature { args: operands, result: number("oprresult"), strict: false };
        all.entry((name, signature.args.len())).or_default().push(signature);
    }
    all
}

/// The types of so many arguments of a function.
fn called_with(callable: &Callable, count: usize) -> Option<Signature> {
    Some(Signature { args: args_of(callable, count)?, result: callable.result, strict: callable.strict })
}

fn args_of(callable: &Callable, count: usize) -> Option<Vec<u32>> {
    let declared = &callable.args;
    if callable.variadic != 0 {
        let fixed = declared.len().checked_sub(1)?;
        if count <= fixed {
            return None;
        }
        let repeated = std::iter::repeat_n(callable.variadic, count - fixed);
        return Some(declared[..fixed].iter().copied().chain(repeated).collect());
    }
    let least = declared.len().saturating_sub(callable.defaults);
    (least..=declared.len()).contains(&count).then(|| declared[..count].to_vec())
}

/// func_get_detail and func_select_candidate.
fn choose(candidates: &[Signature], args: &[u32]) -> Choice {
    if let Some(exact) = candidates.iter().find(|candidate| candidate.args.as_slice() == args) {
        return Choice::One(exact.clone());
    }
    let fits = |candidate: &&Signature| {
        candidate.args.len() == args.len()
            && args.iter().zip(&candidate.args).all(|(arg, to)| can_coerce(*arg, *to, Reach::Implicit))
            && instantiated(candidate, args).is_some()
    };
    let mut left: Vec<&Signature> = candidates.iter().filter(fits).collect();
    if left.is_empty() {
        return Choice::None;
    }
    narrow(&mut left, args);
    match left.as_slice() {
        [one] => match instantiated(one, args) {
            Some(signature) if is_undetermined(&one.args, args) => Choice::Undetermined(signature),
            signature => signature.map_or(Choice::None, Choice::One),
        },
        _ => Choice::Ambiguous,
    }
}

fn narrow(left: &mut Vec<&Signature>, args: &[u32]) {
    let known = |arg: u32| arg != UNKNOWN;
    let exact = |arg: u32, to: u32| known(arg) && arg == to;
    keep_best(left, args, exact);
    keep_best(left, args, |arg, to| {
        known(arg) && (arg == to || category(arg) == category(to) && is_preferred(to))
    });
    if left.len() > 1 && args.contains(&UNKNOWN) {
        by_category(left, args);
        by_the_known(left, args);
    }
}

fn keep_best(left: &mut Vec<&Signature>, args: &[u32], counts: impl Fn(u32, u32) -> bool) {
    if left.len() < 2 {
        return;
    }
    let score = |it: &Signature| args.iter().zip(&it.args).filter(|(arg, to)| counts(**arg, **to)).count();
    let best = left.iter().map(|it| score(it)).max();
    left.retain(|it| Some(score(it)) == best);
}

/// Untyped arguments are taken for strings where a candidate takes one, else for the category that all candidates agree on.
fn by_category(left: &mut Vec<&Signature>, args: &[u32]) {
    let mut slots = Vec::new();
    for at in (0..args.len()).filter(|at| args[*at] == UNKNOWN) {
        let categories: Vec<char> = left.iter().map(|it| category(it.args[at])).collect();
        let chosen = match categories.contains(&'S') {
            true => 'S',
            false if categories.windows(2).all(|two| two[0] == two[1]) => categories[0],
            false => return,
        };
        let preferred = left.iter().any(|it| category(it.args[at]) == chosen && is_preferred(it.args[at]));
        slots.push((at, chosen, preferred));
    }
    let keeps = |it: &Signature| {
        slots.iter().all(|(at, chosen, preferred)| {
            category(it.args[*at]) == *chosen && (!preferred || is_preferred(it.args[*at]))
        })
    };
    if left.iter().any(|it| keeps(it)) {
        left.retain(|it| keeps(it));
    }
}

/// Untyped arguments are taken for the type of the others if these are all of one.
fn by_the_known(left: &mut Vec<&Signature>, args: &[u32]) {
    let mut known = args.iter().copied().filter(|arg| *arg != UNKNOWN);
    let Some(first) = known.next() else { return };
    if left.len() < 2 || known.any(|arg| arg != first) {
        return;
    }
    let same = vec![first; args.len()];
    let takes = |it: &Signature| {
        it.args.iter().all(|to| can_coerce(first, *to, Reach::Implicit)) && instantiated(it, &same).is_some()
    };
    let fitting: Vec<&Signature> = left.iter().copied().filter(|it| takes(it)).collect();
    if fitting.len() == 1 {
        *left = fitting;
    }
}

/// The candidate with polymorphic types made real.
fn instantiated(candidate: &Signature, args: &[u32]) -> Option<Signature> {
    let declared: Vec<u32> = candidate.args.iter().copied().chain([candidate.result]).collect();
    // Nothing is known of the result but what the arguments say of it.
    let known: Vec<u32> = args.iter().copied().chain([UNKNOWN]).collect();
    let mut args = real_types(&declared, &known)?;
    let result = args.pop()?;
    Some(Signature { args, result, strict: candidate.strict })
}

/// Whether a chosen type says nothing of what the argument is to become.
pub(crate) fn is_open(ty: u32) -> bool {
    ty == UNKNOWN || is_polymorphic(ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT4: u32 = 23;
    const FLOAT8: u32 = 701;
    const TEXT: u32 = 25;
    const NUMERIC: u32 = 1700;
    const BOOL: u32 = 16;

    fn one(args: &[u32], result: u32) -> Option<Choice> {
        Some(Choice::One(Signature { args: args.to_vec(), result, strict: true }))
    }

    #[test]
    fn functions_are_chosen_by_their_arguments() {
        assert_eq!(function("sqrt", &[INT4]), one(&[FLOAT8], FLOAT8));
        assert_eq!(function("round", &[NUMERIC, INT4]), one(&[NUMERIC, INT4], NUMERIC));
        assert_eq!(function("round", &[FLOAT8, INT4]), Some(Choice::None));
        assert_eq!(function("upper", &[UNKNOWN]), one(&[TEXT], TEXT));
        assert_eq!(function("no such name", &[]), None);
    }

    fn by(args: &[u32], result: u32) -> Option<Choice> {
        Some(Choice::One(Signature { args: args.to_vec(), result, strict: false }))
    }

    #[test]
    fn operators_are_chosen_by_their_operands() {
        const DATE: u32 = 1082;
        const INTERVAL: u32 = 1186;
        const TIMESTAMP: u32 = 1114;
        assert_eq!(operator("+", &[UNKNOWN, UNKNOWN]), Some(Choice::Ambiguous));
        assert_eq!(operator("+", &[INT4, UNKNOWN]), by(&[INT4, INT4], INT4));
        assert_eq!(operator("||", &[INT4, TEXT]), by(&[INT4, TEXT], TEXT));
        assert_eq!(operator("+", &[DATE, UNKNOWN]), Some(Choice::Ambiguous));
        assert_eq!(operator("+", &[DATE, INTERVAL]), by(&[DATE, INTERVAL], TIMESTAMP));
        assert_eq!(operator("+", &[TEXT, TEXT]), Some(Choice::None));
    }

    #[test]
    fn polymorphic_results_follow_their_arguments() {
        const INT4_ARRAY: u32 = 1007;
        assert_eq!(function("array_append", &[INT4_ARRAY, INT4]), by(&[INT4_ARRAY, INT4], INT4_ARRAY));
        assert_eq!(operator("||", &[INT4_ARRAY, UNKNOWN]), by(&[INT4_ARRAY, INT4_ARRAY], INT4_ARRAY));
        assert_eq!(operator("<", &[INT4_ARRAY, INT4_ARRAY]), by(&[INT4_ARRAY, INT4_ARRAY], BOOL));
        assert_eq!(operator("@>", &[INT4_ARRAY, UNKNOWN]), by(&[INT4_ARRAY, INT4_ARRAY], BOOL));
    }

    #[test]
    fn untyped_arguments_say_nothing_of_polymorphic_types() {
        assert!(matches!(function("array_ndims", &[UNKNOWN]), Some(Choice::Undetermined(_))));
        assert!(matches!(function("to_json", &[UNKNOWN]), Some(Choice::Undetermined(_))));
        assert!(matches!(function("array_append", &[UNKNOWN, UNKNOWN]), Some(Choice::One(_))));
        assert!(is_strict("array_ndims") && !is_strict("concat"));
    }
}
