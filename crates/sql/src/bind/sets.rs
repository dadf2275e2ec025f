//! Functions that return rows. In FROM, `f(x) WITH ORDINALITY AS t(a, b)` is a lateral SELECT of unnested lists; in a select
//! list, the call is the unnesting of a list. Each such function has one that gives its rows as a list.

use super::names::folded;
use super::prepare::{bare_select, call, query_of};
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result};

/// DataFusion's generate_series, which makes integers as they are asked for.
pub(super) const SERIES: &str = "quiver_series";

/// How a function's rows are made.
pub(super) struct Rows {
    /// Functions that give a column each, as a list.
    pub(super) lists: &'static [&'static str],
    /// The columns' names; none: the function's name, or the alias.
    pub(super) names: &'static [&'static str],
}

/// How the rows of a function are made, if it returns rows.
pub(super) fn rows_of(function: &str) -> Option<Rows> {
    let rows = |lists, names| Some(Rows { lists, names });
    match function {
        "generate_series" => rows(&["generate_series_list"], &[]),
        "generate_subscripts" => rows(&["generate_subscripts_list"], &[]),
        "regexp_split_to_table" => rows(&["regexp_split_to_array"], &[]),
        "regexp_matches" => rows(&["regexp_matches_list"], &[]),
        "string_to_table" => rows(&["string_to_array"], &[]),
        "json_array_elements" => rows(&["json_array_elements_list"], &["value"]),
        "jsonb_array_elements" => rows(&["jsonb_array_elements_list"], &["value"]),
        "json_array_elements_text" => rows(&["json_array_elements_text_list"], &["value"]),
        "jsonb_array_elements_text" => rows(&["jsonb_array_elements_text_list"], &["value"]),
        "json_object_keys" => rows(&["json_object_keys_list"], &[]),
        "jsonb_object_keys" => rows(&["jsonb_object_keys_list"], &[]),
        "json_each" => rows(&["json_object_keys_list", "json_object_values_list"], &["key", "value"]),
        "jsonb_each" => rows(&["jsonb_object_keys_list", "jsonb_object_values_list"], &["key", "value"]),
        "json_each_text" => rows(&["json_object_keys_list", "json_object_texts_list"], &["key", "value"]),
        "jsonb_each_text" => rows(&["jsonb_object_keys_list", "jsonb_object_texts_list"], &["key", "value"]),
        "_pg_expandarray" => rows(&["items_list", "numbers_list"], &["x", "n"]),
        "pg_partition_ancestors" => rows(&["pg_partition_ancestors_list"], &["relid"]),
        "pg_options_to_table" => {
            rows(&["option_names_list", "option_values_list"], &["option_name", "option_value"])
        }
        _ => None,
    }
}

/// Replaces the functions of a FROM clause by queries.
pub(super) fn expand_from(from: &mut [TableWithJoins]) -> Result<()> {
    let mut first = true;
    for item in from {
        expand_joins(item, first)?;
        first = false;
    }
    Ok(())
}

fn expand_joins(item: &mut TableWithJoins, first: bool) -> Result<()> {
    match &mut item.relation {
        TableFactor::NestedJoin { table_with_joins, .. } => expand_joins(table_with_joins, first)?,
        relation => expand(relation, !first)?,
    }
    for join in &mut item.joins {
        // Neither kind of join may refer to its left side.
        let lateral = !matches!(
            join.join_operator,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
        );
        expand(&mut join.relation, lateral)?;
    }
    Ok(())
}

/// Replaces one function of a FROM clause.
pub(super) fn expand(factor: &mut TableFactor, lateral: bool) -> Result<()> {
    let (name, args, alias, ordinality) = match factor {
        TableFactor::Table { name, args: Some(_), .. } if name.to_string() == SERIES => return Ok(()),
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            (last_name(name), plain_arguments(&args.args)?, alias.take(), *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            (last_name(name), plain_arguments(args)?, alias.take(), *with_ordinality)
        }
        TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
            ("unnest".to_owned(), std::mem::take(array_exprs), alias.take(), *with_ordinality)
        }
        TableFactor::Derived { subquery, alias: Some(alias), .. } => {
            name_the_rest(subquery, alias);
            super::composites::split(subquery);
            return Ok(());
        }
        _ => return Ok(()),
    };
    *factor = function_rows(&name, args, alias, ordinality, lateral)?;
    Ok(())
}

pub(super) fn last_name(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}

fn plain_arguments(args: &[FunctionArg]) -> Result<Vec<Expr>> {
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
            other => Err(Error::unsupported(format!("the argument {other} of a function in FROM"))),
        })
        .collect()
}

fn function_rows(
    name: &str,
    args: Vec<Expr>,
    alias: Option<TableAlias>,
    ordinality: bool,
    lateral: bool,
) -> Result<TableFactor> {
    let relation = alias.as_ref().map_or_else(|| Ident::with_quote('"', name), |alias| alias.name.clone());
    let given: Vec<TableAliasColumnDef> = alias.map(|alias| alias.columns).unwrap_or_default();
    if crate::catalog::is_table_function(name) {
        return table_function(name, args, relation, given, ordinality);
    }
    let typed: Vec<(&Ident, &DataType)> =
        given.iter().filter_map(|column| Some((&column.name, column.data_type.as_ref()?))).collect();
    let mut columns: Vec<(Option<&str>, Expr)> = match name {
        "unnest" => args.iter().map(|arg| (None, unnested(arg.clone()))).collect(),
        "json_to_recordset" | "jsonb_to_recordset" | "json_to_record" | "jsonb_to_record" => {
            return record_rows(name, args, relation, &typed, lateral);
        }
        "generate_series" if !ordinality && args.iter().all(is_integer) => {
            return Ok(integer_series(args, relation, &given));
        }
        _ => match rows_of(name) {
            Some(rows) => {
                let names = rows.names.iter().copied().map(Some).chain(std::iter::repeat(None));
                let lists = rows.lists.iter().map(|list| unnested(call(list, args.clone())));
                names.zip(lists).collect()
            }
            None => vec![(None, call(name, args))],
        },
    };
    let only = columns.len() == 1;
    if ordinality {
        let lists = columns.iter().map(|(_, column)| list_under(column)).collect();
        columns.push((Some("ordinality"), unnested(call("ordinals_list", lists))));
    }
    let mut select = bare_select();
    for (index, (own, expr)) in columns.into_iter().enumerate() {
        let alias = match (given.get(index), own) {
            (Some(column), _) => column.name.clone(),
            (None, Some(own)) => Ident::with_quote('"', own),
            // The one column of a scalar function takes the alias as its name.
            (None, None) if only => relation.clone(),
            (None, None) => Ident::with_quote('"', name),
        };
        select.projection.push(SelectItem::ExprWithAlias { expr, alias });
    }
    Ok(derived(query_of(select), relation, lateral))
}

fn derived(query: Query, relation: Ident, lateral: bool) -> TableFactor {
    let alias = TableAlias { explicit: true, name: relation, columns: Vec::new(), at: None };
    TableFactor::Derived { lateral, subquery: Box::new(query), alias: Some(alias), sample: None }
}

pub(super) fn unnested(list: Expr) -> Expr {
    call("unnest", vec![list])
}

/// The list that a call of unnest was made of; of a plain function, a list of one.
fn list_under(column: &Expr) -> Expr {
    if let Expr::Function(function) = column
        && function.name.to_string() == "unnest"
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = list.args.as_slice()
    {
        return list.clone();
    }
    Expr::Array(Array { elem: vec![Expr::value(Value::Boolean(true))], named: true })
}

fn is_integer(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text.parse::<i64>().is_ok(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_integer(expr),
        _ => false,
    }
}

fn is_int4(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text.parse::<i32>().is_ok(),
        Expr::UnaryOp { expr, .. } => is_int4(expr),
        _ => false,
    }
}

/// `SELECT value::int FROM series(1, 10)`.
fn integer_series(args: Vec<Expr>, relation: Ident, given: &[TableAliasColumnDef]) -> TableFactor {
    let ty = if args.iter().all(is_int4) { DataType::Int4(None) } else { DataType::Int8(None) };
    let value = Expr::Identifier(Ident::with_quote('"', "value"));
    let alias = given.first().map_or_else(|| relation.clone(), |column| column.name.clone());
    let expr = super::prepare::cast(value, ty);
    let mut select = bare_select();
    select.projection = vec![SelectItem::ExprWithAlias { expr, alias }];
    let series = table_call(SERIES, args, None);
    select.from = vec![TableWithJoins { relation: series, joins: Vec::new() }];
    derived(query_of(select), relation, false)
}

fn table_call(name: &str, args: Vec<Expr>, alias: Option<TableAlias>) -> TableFactor {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::new(name)]),
        alias,
        args: Some(TableFunctionArgs { args, settings: None }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A function whose rows are those of a system relation.
fn table_function(
    name: &str,
    args: Vec<Expr>,
    relation: Ident,
    columns: Vec<TableAliasColumnDef>,
    ordinality: bool,
) -> Result<TableFactor> {
    if ordinality {
        return Err(Error::unsupported(format!("{name} WITH ORDINALITY")));
    }
    let alias = TableAlias { explicit: true, name: relation, columns, at: None };
    Ok(table_call(name, args, Some(alias)))
}

/// `json_to_recordset(x) AS t(a int)`: each column is a member of each item, cast.
fn record_rows(
    name: &str,
    args: Vec<Expr>,
    relation: Ident,
    columns: &[(&Ident, &DataType)],
    lateral: bool,
) -> Result<TableFactor> {
    let [document] = args.as_slice() else {
        return Err(Error::unsupported(format!("{name} with {} arguments", args.len())));
    };
    if columns.is_empty() {
        return Err(Error::new(
            quiver_base::SqlState::SYNTAX_ERROR,
            "a column definition list is required for functions returning \"record\"",
        ));
    }
    let ty = if name.starts_with("jsonb") { DataType::JSONB } else { DataType::JSON };
    let document = super::prepare::cast(document.clone(), ty.clone());
    let items = |list| super::prepare::cast(unnested(call(list, vec![document.clone()])), ty.clone());
    let item = match name {
        "json_to_recordset" => items("json_array_elements_list"),
        "jsonb_to_recordset" => items("jsonb_array_elements_list"),
        _ => document,
    };
    let mut select = bare_select();
    for (column, ty) in columns {
        let key = Expr::value(Value::SingleQuotedString(folded(column)));
        let op = match ty {
            DataType::JSON | DataType::JSONB => BinaryOperator::Arrow,
            _ => BinaryOperator::LongArrow,
        };
        let member = Expr::BinaryOp { left: Box::new(item.clone()), op, right: Box::new(key) };
        let expr = super::prepare::cast(Expr::Nested(Box::new(member)), (*ty).clone());
        select.projection.push(SelectItem::ExprWithAlias { expr, alias: (*column).clone() });
    }
    Ok(derived(query_of(select), relation, lateral))
}

/// `(SELECT 1 AS x, 2 AS y) AS t(a)`: columns that the alias does not name keep their names.
fn name_the_rest(query: &Query, alias: &mut TableAlias) {
    if alias.columns.is_empty() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    for item in select.projection.iter().skip(alias.columns.len()) {
        let name = match item {
            SelectItem::UnnamedExpr(expr) => super::names::column_name(expr),
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            _ => return,
        };
        let name = Ident::with_quote('"', name);
        alias.columns.push(TableAliasColumnDef { name, data_type: None });
    }
}

/// Set-returning functions of a select list are lists, unnested.
pub(super) fn in_select_list(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Function(function) if function.over.is_none() => {
            if let FunctionArguments::List(list) = &mut function.args {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                        in_select_list(arg)?;
                    }
                }
            }
            let name = last_name(&function.name);
            let Some(rows) = rows_of(&name) else { return Ok(()) };
            let [list] = rows.lists else {
                return Err(Error::unsupported(format!("{name}, which returns records, in a select list")));
            };
            function.name = ObjectName::from(vec![Ident::new(*list)]);
            *expr = unnested(expr.clone());
            Ok(())
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => in_select_list(expr),
        Expr::BinaryOp { left, right, .. } => {
            in_select_list(left)?;
            in_select_list(right)
        }
        _ => Ok(()),
    }
}

/// Whether an expression makes rows, before or after [`in_select_list`] has seen it.
pub(super) fn makes_rows(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) => {
            let name = last_name(&function.name);
            match name == "unnest" || rows_of(&name).is_some() {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            }
        }
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}
