//! Names of output columns, as PostgreSQL's FigureColname gives them, and names told apart where DataFusion wants them
//! unique.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, Ident, JoinConstraint,
    JoinOperator, Query, Select, SelectItem, SetExpr, TableFactor, TrimWhereField,
};
use std::collections::HashMap;

/// Separates a column's name from a number that makes it unique among its neighbours.
const MARK: char = '\u{1}';

/// A name as a client sees it.
pub(crate) fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Whether every explicit column beside a `*` gets a name of its own. Tried when planning with plain names failed on
/// duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uniqueness {
    /// Names as PostgreSQL gives them, apart from plain duplicates.
    Plain,
    /// Also apart from whatever a `*` brings.
    BesideWildcards,
}

/// Gives every unnamed column of a SELECT its PostgreSQL name, and duplicates a mark.
pub(crate) fn name_columns(select: &mut Select, uniqueness: Uniqueness) {
    let wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let apart = wildcard && uniqueness == Uniqueness::BesideWildcards;
    let mut used: HashMap<String, usize> = HashMap::new();
    for item in &mut select.projection {
        let (name, plain) = match item {
            SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) => {
                // Words that are functions get another name when they are called.
                let word = matches!(expr, Expr::Identifier(ident) if super::prepare::is_function_word(ident));
                (column_name(expr), !word)
            }
            SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(_)) => (column_name(expr), true),
            SelectItem::UnnamedExpr(expr) => (column_name(expr), false),
            SelectItem::ExprWithAlias { alias, .. } => (folded(alias), true),
            _ => continue,
        };
        let count = used.entry(name.clone()).or_insert(0);
        *count += 1;
        let unique = if *count > 1 || apart { format!("{name}{MARK}{count}") } else { name };
        if plain && *count == 1 && !apart {
            continue;
        }
        let alias = Ident::with_quote('"', unique);
        match item {
            SelectItem::UnnamedExpr(expr) => {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
            _ => {}
        }
    }
}

/// An identifier as it is looked up: folded unless quoted.
pub(crate) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The columns that a join's USING names.
pub(super) fn using_columns(join: &JoinOperator) -> impl Iterator<Item = String> {
    let constraint = match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    };
    let names = match constraint {
        Some(JoinConstraint::Using(names)) => names.as_slice(),
        _ => &[],
    };
    names.iter().filter_map(|name| name.0.last()?.as_ident().map(folded))
}

/// What a relation of FROM is called.
pub(super) fn factor_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(folded(&alias.name))
        }
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().map(folded),
        _ => None,
    }
}

/// The name that PostgreSQL gives an unnamed output column.
pub(crate) fn column_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// A name and whether it is a strong one (2) or a type's (1), which CASE and casts replace.
fn figure(expr: &Expr) -> Option<(String, u8)> {
    let strong = |name: &str| Some((name.to_owned(), 2));
    match expr {
        Expr::Identifier(ident) => Some((folded(ident), 2)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (folded(ident), 2)),
        Expr::Function(function) => function_name(function),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, 2)) => Some((name, 2)),
            _ => Some((type_name(data_type), 1)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), 1)),
        Expr::Interval(_) => Some(("interval".to_owned(), 1)),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(field))) => Some((folded(field), 2)),
            _ => figure(root),
        },
        Expr::Case { else_result, .. } => match else_result.as_ref().and_then(|result| figure(result)) {
            Some((name, 2)) => Some((name, 2)),
            _ => Some(("case".to_owned(), 1)),
        },
        Expr::Array(_) => strong("array"),
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => subquery_name(query),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Tuple(_) => strong("row"),
        _ => None,
    }
}

fn function_name(function: &Function) -> Option<(String, u8)> {
    let ident = function.name.0.last()?.as_ident()?;
    Some((folded(ident), 2))
}

fn subquery_name(query: &Query) -> Option<(String, u8)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => figure(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some((shown(&folded(alias)).to_owned(), 2)),
        _ => None,
    }
}

/// A type's internal name.
fn type_name(ty: &DataType) -> String {
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) = ty {
        return type_name(item);
    }
    if let DataType::Custom(name, _) = ty {
        return name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
    }
    use quiver_base::SqlType;
    let Ok(ty) = super::types::sql_type(ty) else { return "?column?".to_owned() };
    match ty {
        SqlType::Bool => "bool",
        SqlType::Int2 => "int2",
        SqlType::Int4 => "int4",
        SqlType::Int8 => "int8",
        SqlType::Float4 => "float4",
        SqlType::Float8 => "float8",
        SqlType::Numeric(_) => "numeric",
        SqlType::Varchar(_) => "varchar",
        SqlType::Bpchar(_) => "bpchar",
        SqlType::Bit(_) => "bit",
        SqlType::Varbit(_) => "varbit",
        SqlType::Time(_) => "time",
        SqlType::Timestamp(_) => "timestamp",
        SqlType::Timestamptz(_) => "timestamptz",
        SqlType::Interval(_) => "interval",
        other => return other.to_string(),
    }
    .to_owned()
}
