//! Changes a statement's tree, before it is planned, where DataFusion's planner has no hook: types of number literals,
//! output names, ANY and ALL, ARRAY(SELECT), row comparisons, set-returning functions, AT TIME ZONE, FETCH FIRST.

use super::array_query::{array_of, array_subquery};
use super::names::{Uniqueness, name_columns};
use super::{
    clauses, composites, exactness, forms, json_aggregates, ordered_sets, rows, sets, system_columns,
    value_lists,
};
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result, SqlState};
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
        exactness::keep_order(factor);
        // The FROM of a SELECT is expanded with it; what is left is of UPDATE and DELETE.
        let left = match factor {
            TableFactor::Table { name, args: Some(_), .. } => {
                let name = name.to_string();
                name != sets::SERIES && !crate::catalog::is_table_function(&name)
            }
            TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
            _ => false,
        };
        match if left { sets::expand(factor, true) } else { Ok(()) } {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Err(error) = crate::dml::refuse_writes(query).and_then(|()| exactness::check_query(query)) {
            return ControlFlow::Break(error);
        }
        match query.body.as_mut() {
            SetExpr::Values(values) => value_lists::cast_like_neighbours(values),
            SetExpr::Table(table) => *query.body = select_all(table),
            SetExpr::SetOperation {
                op: op @ (SetOperator::Except | SetOperator::Intersect),
                set_quantifier: SetQuantifier::All,
                ..
            } => return ControlFlow::Break(Error::unsupported(format!("{op} ALL"))),
            _ => {}
        }
        if let Some(with) = query.with.as_mut().filter(|with| with.recursive) {
            with.cte_tables.iter_mut().for_each(|cte| give_arms_their_with(&mut cte.query));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        name_columns(select, self.uniqueness);
        clauses::read_conditions(select);
        if let Err(error) = exactness::check_select(select).and_then(|()| clauses::check(select)) {
            return ControlFlow::Break(error);
        }
        exactness::distinct_on_positions(select);
        if let Err(error) = sets::expand_from(&mut select.from) {
            return ControlFlow::Break(error);
        }
        select.selection.iter_mut().for_each(rows::semi_join);
        if selects_nothing(select) {
            drop_subqueries(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(unwrap_number);
        }
        for NamedWindowDefinition(_, window) in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = window {
                unwrap_frame(spec);
            }
        }
        system_columns::replace(select);
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item
                && let Err(error) = sets::in_select_list(expr)
            {
                return ControlFlow::Break(error);
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

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        exactness::bind_minus(expr);
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
            match integer_type(&text) {
                Some(ty) => Some(cast(expr.clone(), ty)),
                None => exactness::large_number(&text),
            }
        }
        Expr::Cast { expr: inner, data_type, .. } => {
            exactness::float_literal(inner, data_type);
            None
        }
        Expr::IsNull(inner) | Expr::IsNotNull(inner) if exactness::is_row(inner) => {
            return Err(Error::unsupported("a test of a whole row for NULL"));
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
                let negative = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number.clone()) };
                // The least integer is one, though its digits alone are none.
                let ty = integer_type(&negative.to_string().replace('_', ""));
                cast(negative, ty.unwrap_or_else(|| data_type.clone()))
            }),
            _ => None,
        },
        Expr::Value(ValueWithSpan { value: Value::UnicodeStringLiteral(text), .. }) => {
            Some(Expr::value(Value::SingleQuotedString(text.clone())))
        }
        Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => Some((**inner).clone()),
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr: inner } => Some(call("abs", vec![(**inner).clone()])),
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr: inner } => {
            Some(call("sqrt", vec![cast((**inner).clone(), DataType::DoublePrecision)]))
        }
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr: inner } => {
            Some(call("cbrt", vec![(**inner).clone()]))
        }
        Expr::Interval(interval) => Some(interval_literal(interval)?),
        Expr::Function(function) => {
            strip_schema(function);
            if let Some(changed) = ordered_sets::of_array(function).or_else(|| forms::rounded_clock(function))
            {
                return Ok(Some(changed));
            }
            forms::place_named_arguments(function)?;
            json_aggregates::collected(function);
            if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
                unwrap_frame(spec);
            }
            array_subquery(function)
        }
        Expr::Identifier(ident) if is_function_word(ident) => {
            Some(call(&ident.value.to_ascii_lowercase(), Vec::new()))
        }
        Expr::AnyOp { left, compare_op, right, .. } => match subquery_in(right) {
            Some(query) if *compare_op == BinaryOperator::Eq => Some(in_query(left, query, false)),
            Some(query) => Some(quantified(ANY_CALL, left, &compare_op.to_string(), &array_of(query)?)),
            None => Some(quantified(ANY_CALL, left, &compare_op.to_string(), right)),
        },
        Expr::AllOp { left, compare_op, right } => match subquery_in(right) {
            Some(query) if *compare_op == BinaryOperator::NotEq => Some(in_query(left, query, true)),
            Some(query) => Some(quantified(ALL_CALL, left, &compare_op.to_string(), &array_of(query)?)),
            None => Some(quantified(ALL_CALL, left, &compare_op.to_string(), right)),
        },
        Expr::Like { any: false, negated, expr, pattern, .. } if all_of(pattern).is_some() => {
            let array = all_of(pattern).unwrap_or_else(|| (**pattern).clone());
            Some(quantified(ALL_CALL, expr, if *negated { "!~~" } else { "~~" }, &array))
        }
        Expr::ILike { any: false, negated, expr, pattern, .. } if all_of(pattern).is_some() => {
            let array = all_of(pattern).unwrap_or_else(|| (**pattern).clone());
            Some(quantified(ALL_CALL, expr, if *negated { "!~~*" } else { "~~*" }, &array))
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
        Expr::CompoundFieldAccess { root, access_chain } => {
            // An array literal wants parentheses before it is subscripted.
            if matches!(**root, Expr::Array(_)) {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"[\""));
            }
            access_chain.iter_mut().for_each(close_slice);
            composites::field(root, access_chain)
        }
        Expr::Trim { .. }
        | Expr::Overlay { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => forms::called(expr)?,
        Expr::BinaryOp { left, op, right } => rows::comparison(left, op, right),
        Expr::InList { expr, list, negated } => rows::within(expr, list, *negated),
        Expr::InSubquery { expr, subquery, negated } => rows::within_subquery(expr, subquery, *negated),
        _ => None,
    })
}

/// Whether a word is a call without parentheses.
pub(super) fn is_function_word(ident: &Ident) -> bool {
    const WORDS: [&str; 8] = [
        "current_schema",
        "current_role",
        "current_user",
        "session_user",
        "user",
        "current_catalog",
        "localtime",
        "localtimestamp",
    ];
    ident.quote_style.is_none() && WORDS.contains(&ident.value.to_ascii_lowercase().as_str())
}

/// A cast.
pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

/// `B'101'` and `X'1F'`: bit strings of whatever length is written.
fn bit_string(kind: char, digits: &str) -> Expr {
    cast(Expr::value(Value::SingleQuotedString(format!("{kind}{digits}"))), bit_of_any_length())
}

pub(super) fn bit_of_any_length() -> DataType {
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
pub(super) fn number_in(expr: &Expr) -> Option<&Expr> {
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

/// `[:n]` begins with the first item, `[n:]` ends with the last.
fn close_slice(access: &mut AccessExpr) {
    let number = |text: &str| cast(Expr::value(Value::Number(text.to_owned(), false)), DataType::Int4(None));
    if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) = access {
        lower_bound.get_or_insert_with(|| number("1"));
        upper_bound.get_or_insert_with(|| number("2147483647"));
    }
}

fn subquery_in(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery_in(inner),
        _ => None,
    }
}

fn in_query(left: &Expr, query: &Query, negated: bool) -> Expr {
    let (expr, subquery) = (Box::new(left.clone()), Box::new(query.clone()));
    Expr::InSubquery { expr, subquery, negated }
}

/// The argument of `ALL(…)`, which the parser takes for a function.
fn all_of(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))]
            if function.name.to_string().eq_ignore_ascii_case("all") =>
        {
            Some(array.clone())
        }
        _ => None,
    }
}

/// `TABLE t` is `SELECT * FROM t`.
fn select_all(table: &Table) -> SetExpr {
    let parts = table.schema_name.iter().chain(&table.table_name).map(|name| Ident::new(name.clone()));
    let name = ObjectName::from(parts.collect::<Vec<_>>());
    let mut select = bare_select();
    select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    let relation = TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    SetExpr::Select(Box::new(select))
}

/// A recursive query is planned as its two arms, without what WITH stands before them: each gets it.
fn give_arms_their_with(query: &mut Query) {
    if query.with.is_none() {
        return;
    }
    let SetExpr::SetOperation { left, right, .. } = query.body.as_mut() else { return };
    let with = query.with.take();
    for arm in [left, right] {
        let body = std::mem::replace(arm, Box::new(SetExpr::Values(no_values())));
        let mut inner = query_of(bare_select());
        inner.with = with.clone();
        inner.body = body;
        **arm = SetExpr::Query(Box::new(inner));
    }
}

fn no_values() -> Values {
    Values { explicit_row: false, value_keyword: false, rows: Vec::new() }
}

fn quantified(name: &str, left: &Expr, operator: &str, right: &Expr) -> Expr {
    let operator = Expr::value(Value::SingleQuotedString(operator.to_owned()));
    call(name, vec![operator, left.clone(), right.clone()])
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
