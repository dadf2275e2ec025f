//! Changes a statement's tree, before it is planned, where DataFusion's planner has no hook: types of number literals,
//! output names, ANY and ALL, ARRAY(SELECT), row comparisons, set-returning functions, AT TIME ZONE, FETCH FIRST.

use super::names::{Uniqueness, name_columns};
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result};
use std::ops::ControlFlow;

/// A function that the plan pass replaces: `ANY_CALL('op', left, array)`.
pub(crate) const ANY_CALL: &str = "quiver_any";
/// The same for ALL.
pub(crate) const ALL_CALL: &str = "quiver_all";

/// `~x`.
pub(crate) const BIT_NOT: &str = "quiver_bit_not";
/// `x IS DISTINCT FROM y`, whose operands the planner would compare before an untyped one has its type.
pub(crate) const DISTINCT: &str = "quiver_distinct";

/// Prepares a statement or a part of one.
pub(crate) fn prepare<T: VisitMut>(tree: &mut T, uniqueness: Uniqueness) -> Result<()> {
    match tree.visit(&mut Prepare { uniqueness }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Prepare {
    uniqueness: Uniqueness,
}

impl VisitorMut for Prepare {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table { name, args: Some(_), alias, .. } = factor {
            // DataFusion looks table functions up by the first part of their name.
            if let [schema, _] = name.0.as_slice()
                && matches!(schema.to_string().as_str(), "pg_catalog" | "public")
            {
                name.0.remove(0);
            }
            // The one column of a scalar function takes the alias as its name.
            if let Some(alias) = alias
                && alias.columns.is_empty()
                && name.to_string().eq_ignore_ascii_case("generate_series")
            {
                alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let SetExpr::Values(values) = query.body.as_mut() {
            cast_like_neighbours(values);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        name_columns(select, self.uniqueness);
        if selects_nothing(select) {
            drop_subqueries(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(unwrap_number);
        }
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item {
                set_returning(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = &mut query.order_by {
            exprs.iter_mut().for_each(|item| unwrap_number(&mut item.expr));
        }
        if let Some(fetch) = query.fetch.take() {
            if fetch.with_ties || fetch.percent {
                return ControlFlow::Break(Error::unsupported("FETCH FIRST … WITH TIES"));
            }
            let one = Expr::value(Value::Number("1".to_owned(), false));
            let quantity = fetch.quantity.unwrap_or(one);
            match &mut query.limit_clause {
                Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(quantity),
                other => {
                    *other = Some(LimitClause::LimitOffset {
                        limit: Some(quantity),
                        offset: None,
                        limit_by: Vec::new(),
                    });
                }
            }
        }
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            limit.iter_mut().for_each(unwrap_number);
            offset.iter_mut().for_each(|offset| unwrap_number(&mut offset.value));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match change(expr) {
            Ok(Some(changed)) => *expr = changed,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// A column of VALUES that is cast in one row is cast in every row whose value is a plain literal.
fn cast_like_neighbours(values: &mut Values) {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    for column in 0..width {
        let ty = values.rows.iter().find_map(|row| match row.content.get(column) {
            Some(Expr::Cast { data_type, .. }) => Some(data_type.clone()),
            Some(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_),
                ..
            })) => Some(bit_of_any_length()),
            _ => None,
        });
        let Some(ty) = ty else { continue };
        for row in &mut values.rows {
            if let Some(expr @ Expr::Value(_)) = row.content.get_mut(column) {
                *expr = cast(expr.clone(), ty.clone());
            }
        }
    }
}

/// Whether a plain SELECT reads a system relation that never has a row, so that it has none itself.
fn selects_nothing(select: &Select) -> bool {
    let empty = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
            [name] => crate::catalog::is_always_empty(&name.to_string()),
            [schema, name] => {
                schema.to_string() == "pg_catalog" && crate::catalog::is_always_empty(&name.to_string())
            }
            _ => false,
        },
        _ => false,
    };
    let inner = |join: &Join| matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_));
    let reads_none = select.from.iter().any(|from| {
        from.joins.iter().all(inner)
            && (empty(&from.relation) || from.joins.iter().any(|join| empty(&join.relation)))
    });
    reads_none && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
}

/// psql asks about publications with subqueries that DataFusion cannot plan. Where no row can come, their values do not matter.
/// An aggregate would give a row all the same: then nothing is changed.
fn drop_subqueries(select: &mut Select) {
    const AGGREGATES: [&str; 10] =
        ["count", "sum", "avg", "min", "max", "array_agg", "string_agg", "bool_and", "bool_or", "json_agg"];
    let aggregated = |expr: &Expr| match expr {
        Expr::Function(function) => {
            let name = function.name.0.last().map(|part| part.to_string().to_lowercase());
            name.is_some_and(|name| AGGREGATES.contains(&name.as_str()))
        }
        _ => false,
    };
    let mut changed = select.projection.clone();
    for item in &mut changed {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let _ = visit_expressions_mut(expr, |expr| {
            if matches!(expr, Expr::Subquery(_)) {
                *expr = cast(Expr::value(Value::Null), DataType::Text);
            }
            ControlFlow::<()>::Continue(())
        });
        let found = visit_expressions(expr, |expr| match aggregated(expr) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        if found.is_break() {
            return;
        }
    }
    select.projection = changed;
}

fn change(expr: &mut Expr) -> Result<Option<Expr>> {
    Ok(match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => {
            let text = text.replace('_', "");
            integer_type(&text).map(|ty| cast(expr.clone(), ty))
        }
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedByteStringLiteral(digits), .. }) => {
            Some(bit_string('b', digits))
        }
        Expr::Value(ValueWithSpan { value: Value::HexStringLiteral(digits), .. }) => {
            Some(bit_string('x', digits))
        }
        Expr::TypedString(TypedString { data_type: DataType::Bit(None), value, .. }) => {
            Some(cast(Expr::Value(value.clone()), bit_of_any_length()))
        }
        Expr::IsDistinctFrom(left, right) => Some(call(DISTINCT, vec![(**left).clone(), (**right).clone()])),
        Expr::IsNotDistinctFrom(left, right) => {
            let negated = Expr::value(Value::Boolean(true));
            Some(call(DISTINCT, vec![(**left).clone(), (**right).clone(), negated]))
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: inner } => {
            Some(call(BIT_NOT, vec![(**inner).clone()]))
        }
        // The minus goes into the cast that an integer has by now; what has none is numeric.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match &**inner {
            Expr::Cast { data_type, .. } => number_in(inner).map(|number| {
                let number = Box::new(number.clone());
                cast(Expr::UnaryOp { op: UnaryOperator::Minus, expr: number }, data_type.clone())
            }),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => Some((**inner).clone()),
        Expr::Interval(interval) => Some(interval_literal(interval)?),
        Expr::Function(function) => {
            strip_schema(function);
            if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
                unwrap_frame(spec);
            }
            array_subquery(function)
        }
        Expr::Identifier(ident) if ident.quote_style.is_none() => {
            match ident.value.to_ascii_lowercase().as_str() {
                name @ ("current_schema" | "current_role" | "current_user" | "session_user" | "user"
                | "current_catalog") => Some(call(name, Vec::new())),
                _ => None,
            }
        }
        Expr::AnyOp { left, compare_op, right, .. } if !is_subquery(right) => {
            Some(quantified(ANY_CALL, left, &compare_op.to_string(), right))
        }
        Expr::AllOp { left, compare_op, right } if !is_subquery(right) => {
            Some(quantified(ALL_CALL, left, &compare_op.to_string(), right))
        }
        Expr::Like { any: true, negated, expr, pattern, .. } => {
            Some(quantified(ANY_CALL, expr, if *negated { "!~~" } else { "~~" }, pattern))
        }
        Expr::ILike { any: true, negated, expr, pattern, .. } => {
            Some(quantified(ANY_CALL, expr, if *negated { "!~~*" } else { "~~*" }, pattern))
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(call("timezone", vec![(**time_zone).clone(), (**timestamp).clone()]))
        }
        Expr::Collate { expr, .. } => Some((**expr).clone()),
        Expr::BinaryOp { left, op, right } => row_comparison(left, op, right),
        Expr::InList { expr, list, negated } => row_in(expr, list, *negated),
        _ => None,
    })
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

/// `B'101'` and `X'1F'`: bit strings of whatever length is written.
fn bit_string(kind: char, digits: &str) -> Expr {
    cast(Expr::value(Value::SingleQuotedString(format!("{kind}{digits}"))), bit_of_any_length())
}

fn bit_of_any_length() -> DataType {
    DataType::Custom(ObjectName::from(vec![Ident::with_quote('"', "bit")]), Vec::new())
}

/// int4 if it fits, else int8; anything else is numeric and needs no cast.
fn integer_type(text: &str) -> Option<DataType> {
    if text.parse::<i32>().is_ok() {
        return Some(DataType::Int4(None));
    }
    text.parse::<i64>().is_ok().then_some(DataType::Int8(None))
}

/// The number literal under the cast that this pass put around it, or a plain one.
fn number_in(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(..), .. }) => Some(expr),
        Expr::Cast { expr, data_type: DataType::Int4(None) | DataType::Int8(None), .. } => match &**expr {
            Expr::Value(ValueWithSpan { value: Value::Number(..), .. }) => Some(expr),
            _ => None,
        },
        _ => None,
    }
}

/// Where an integer is a position or a count, the planner wants the literal itself.
fn unwrap_number(expr: &mut Expr) {
    if let Some(number) = number_in(expr) {
        *expr = number.clone();
        return;
    }
    if let Expr::Cast { expr: inner, .. } = expr
        && matches!(&**inner, Expr::UnaryOp { op: UnaryOperator::Minus, expr } if number_in(expr).is_some())
    {
        *expr = (**inner).clone();
    }
}

fn unwrap_frame(spec: &mut WindowSpec) {
    let Some(frame) = &mut spec.window_frame else { return };
    let mut bounds = vec![&mut frame.start_bound];
    bounds.extend(&mut frame.end_bound);
    for bound in bounds {
        if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound {
            unwrap_number(expr);
        }
    }
}

/// `INTERVAL '5' month` is the text '5 month' read as an interval.
fn interval_literal(interval: &Interval) -> Result<Expr> {
    let mut value = (*interval.value).clone();
    unwrap_number(&mut value);
    let Expr::Value(ValueWithSpan { value, .. }) = &value else {
        return Err(Error::unsupported("INTERVAL of an expression"));
    };
    let text = match value.clone().into_string() {
        Some(text) => text,
        None => value.to_string(),
    };
    let text = match &interval.leading_field {
        Some(field) if text.parse::<f64>().is_ok() => format!("{text} {field}"),
        _ => text,
    };
    let literal = Expr::value(Value::SingleQuotedString(text));
    Ok(cast(literal, DataType::Interval { fields: None, precision: None }))
}

/// Functions of pg_catalog and public are found without their schema.
fn strip_schema(function: &mut Function) {
    let schema = match function.name.0.as_slice() {
        [schema, _] => schema.as_ident().map(super::names::folded),
        _ => None,
    };
    if matches!(schema.as_deref(), Some("pg_catalog" | "public")) {
        function.name.0.remove(0);
    }
}

/// A call by name.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

fn quantified(name: &str, left: &Expr, operator: &str, right: &Expr) -> Expr {
    let operator = Expr::value(Value::SingleQuotedString(operator.to_owned()));
    call(name, vec![operator, left.clone(), right.clone()])
}

/// `ARRAY(SELECT x … ORDER BY y)` is `(SELECT array_agg(x ORDER BY y) …)`, with an empty array for NULL.
fn array_subquery(function: &mut Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    let mut query = (**query).clone();
    let inner = Ident::with_quote('"', "\u{1}array");
    let mut clauses = Vec::new();
    let argument;
    match query.body.as_mut() {
        // A plain SELECT: aggregate in place, so that correlated columns stay one level deep.
        SetExpr::Select(select) if is_plain(select) && query.limit_clause.is_none() => {
            argument = match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                _ => return None,
            };
            if let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = query.order_by.take() {
                let by_position = |item: &mut OrderByExpr| {
                    if number_in(&item.expr).is_some() {
                        item.expr = argument.clone();
                    }
                };
                let mut exprs = exprs;
                exprs.iter_mut().for_each(by_position);
                clauses.push(FunctionArgumentClause::OrderBy(exprs));
            }
            let aggregate = aggregate(argument, clauses);
            select.projection = vec![SelectItem::ExprWithAlias { expr: aggregate, alias: inner }];
        }
        _ => {
            let column = Expr::Identifier(inner.clone());
            let outer = derived(query, inner.clone());
            query = outer;
            if let SetExpr::Select(select) = query.body.as_mut() {
                let aggregate = aggregate(column, Vec::new());
                select.projection = vec![SelectItem::ExprWithAlias { expr: aggregate, alias: inner }];
            }
        }
    }
    let subquery = Expr::Subquery(Box::new(query));
    Some(call("array_or_empty", vec![subquery]))
}

fn is_plain(select: &Select) -> bool {
    select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
        && select.projection.len() == 1
}

fn aggregate(argument: Expr, clauses: Vec<FunctionArgumentClause>) -> Expr {
    let Expr::Function(mut function) = call("array_agg", vec![argument]) else {
        return Expr::value(Value::Null);
    };
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses = clauses;
    }
    Expr::Function(function)
}

/// `SELECT … FROM (query) AS q (column)`.
fn derived(query: Query, column: Ident) -> Query {
    let columns = vec![TableAliasColumnDef { name: column, data_type: None }];
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', "\u{1}q"), columns, at: None };
    let factor =
        TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    let mut outer = bare_select();
    outer.from = vec![TableWithJoins { relation: factor, joins: Vec::new() }];
    query_of(outer)
}

/// A SELECT with nothing in it.
pub(crate) fn bare_select() -> Select {
    Select {
        select_token: helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// A query of one SELECT.
pub(crate) fn query_of(select: Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Set-returning functions in the select list are lists, unnested.
fn set_returning(expr: &mut Expr) {
    match expr {
        Expr::Function(function) if function.over.is_none() => {
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(super::names::folded);
            let list = match name.as_deref() {
                Some("generate_series") => "generate_series_list",
                Some("generate_subscripts") => "generate_subscripts_list",
                Some("regexp_split_to_table") => "regexp_split_to_array",
                Some("string_to_table") => "string_to_array",
                Some("jsonb_array_elements") => "jsonb_array_elements_list",
                Some("jsonb_object_keys") => "jsonb_object_keys_list",
                _ => return,
            };
            function.name = ObjectName::from(vec![Ident::new(list)]);
            *expr = call("unnest", vec![expr.clone()]);
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) => set_returning(expr),
        Expr::BinaryOp { left, right, .. } => {
            set_returning(left);
            set_returning(right);
        }
        _ => {}
    }
}

fn tuple(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Tuple(items) => Some(items),
        Expr::Nested(inner) => tuple(inner),
        _ => None,
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// `(a, b) < (c, d)` and its kin, column by column.
fn row_comparison(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let (left, right) = (tuple(left)?, tuple(right)?);
    if left.len() != right.len() {
        return None;
    }
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    let join = |op: BinaryOperator, all: Vec<Expr>| {
        all.into_iter().reduce(|a, b| Expr::Nested(Box::new(binary(a, op.clone(), b))))
    };
    match op {
        BinaryOperator::Eq => {
            join(BinaryOperator::And, pairs().map(|(a, b)| binary(a, BinaryOperator::Eq, b)).collect())
        }
        BinaryOperator::NotEq => {
            join(BinaryOperator::Or, pairs().map(|(a, b)| binary(a, BinaryOperator::NotEq, b)).collect())
        }
        BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => {
            let strict = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
                _ => BinaryOperator::Gt,
            };
            let mut result: Option<Expr> = None;
            for (a, b) in pairs().rev() {
                result = Some(match result {
                    None => binary(a, op.clone(), b),
                    Some(rest) => {
                        let less = binary(a.clone(), strict.clone(), b.clone());
                        let equal = binary(a, BinaryOperator::Eq, b);
                        let rest = Expr::Nested(Box::new(binary(equal, BinaryOperator::And, rest)));
                        Expr::Nested(Box::new(binary(less, BinaryOperator::Or, rest)))
                    }
                });
            }
            result
        }
        _ => None,
    }
}

/// `(a, b) IN ((1, 2), (3, 4))`.
fn row_in(expr: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    tuple(expr)?;
    let all: Option<Vec<Expr>> =
        list.iter().map(|item| row_comparison(expr, &BinaryOperator::Eq, item)).collect();
    let any = all?.into_iter().reduce(|a, b| Expr::Nested(Box::new(binary(a, BinaryOperator::Or, b))))?;
    Some(match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(any))) },
        false => any,
    })
}
