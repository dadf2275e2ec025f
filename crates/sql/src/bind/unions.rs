//! UNION, and what is made of it: every column gets the type that its arms meet in, by PostgreSQL's rules.

use super::cast_kernel::CastStyle;
use super::casts::labelled;
use super::params::Params;
use super::types::without_modifier;
use super::typing::{Typing, is_untyped, meeting};
use crate::catalog::is_vector_like;
use datafusion::common::{JoinType, NullEquality, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Union};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// The union with its arms cast to common types.
pub(super) fn unified(union: Union, params: &Params, style: &Arc<CastStyle>) -> DfResult<LogicalPlan> {
    let width = union.schema.fields().len();
    let arms: Vec<Vec<Arm>> = union.inputs.iter().map(|input| arms(input, width)).collect();
    let same_width = arms.iter().all(|arm| arm.len() == width);
    if !same_width {
        return Union::try_new_with_loose_types(union.inputs).map(LogicalPlan::Union);
    }
    let targets = (0..width).map(|column| common(arms.iter().map(|arm| &arm[column]), "UNION"));
    let targets = targets.collect::<Result<Vec<_>>>().map_err(to_datafusion)?;
    let mut inputs = Vec::with_capacity(union.inputs.len());
    for (input, arm) in union.inputs.into_iter().zip(&arms) {
        inputs.push(cast_arm(input, arm, &targets, params, style)?);
    }
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
}

/// Whether a join is what INTERSECT or EXCEPT was planned as.
pub(super) fn is_set(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && join.on.len() == join.right.schema().fields().len()
}

/// INTERSECT or EXCEPT with its arms cast to common types.
pub(super) fn set(join: Join, params: &Params, style: &Arc<CastStyle>) -> DfResult<LogicalPlan> {
    let width = join.on.len();
    let (left, right) = (arms(&join.left, width), arms(&join.right, width));
    let construct = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
    let targets = (0..width).map(|column| common([&left[column], &right[column]].into_iter(), construct));
    let targets = targets.collect::<Result<Vec<_>>>().map_err(to_datafusion)?;
    let cast_left = cast_arm(join.left.clone(), &left, &targets, params, style)?;
    let cast_right = cast_arm(join.right.clone(), &right, &targets, params, style)?;
    LogicalPlan::Join(Join { left: cast_left, right: cast_right, ..join }).recompute_schema()
}

/// The recursive term of a query, cast to the columns of its static term.
///
/// # Errors
/// 42804 if both would meet in another type than the static term's.
pub(super) fn like_first(
    first: &LogicalPlan,
    next: Arc<LogicalPlan>,
    name: &str,
    params: &Params,
    style: &Arc<CastStyle>,
) -> DfResult<Arc<LogicalPlan>> {
    let width = first.schema().fields().len();
    let (firsts, nexts) = (arms(first, width), arms(&next, width));
    let mut targets = Vec::with_capacity(width);
    for (index, (first, next)) in firsts.into_iter().zip(&nexts).enumerate() {
        // A literal of the static term is text by now.
        let first = Arm { untyped: false, ..first };
        let both = common([&first, next].into_iter(), "UNION").map_err(to_datafusion)?;
        let both = both.unwrap_or(SqlType::Unknown);
        if first.ty != SqlType::Unknown && both != first.ty && !next.untyped {
            return Err(to_datafusion(other_type(name, index, &first.ty, &both)));
        }
        targets.push((first.ty != SqlType::Unknown).then_some(first.ty));
    }
    cast_arm(next, &nexts, &targets, params, style)
}

fn other_type(name: &str, index: usize, first: &SqlType, both: &SqlType) -> Error {
    let message = format!(
        "recursive query \"{name}\" column {} has type {first} in non-recursive term but type {both} overall",
        index + 1
    );
    Error::new(SqlState::DATATYPE_MISMATCH, message)
        .with_hint("Cast the output of the non-recursive term to the correct type.")
}

/// A column of an arm.
struct Arm {
    ty: SqlType,
    /// A literal without a type of its own takes the others' type.
    untyped: bool,
    /// A value without a type of its own may not fit the others' length or dimensions.
    any_length: bool,
}

fn arms(plan: &LogicalPlan, width: usize) -> Vec<Arm> {
    let schema = plan.schema();
    (0..width.min(schema.fields().len()))
        .map(|index| {
            let literal = literal(plan, index);
            Arm {
                ty: SqlType::of_field(schema.field(index)).unwrap_or(SqlType::Unknown),
                untyped: literal.is_some(),
                any_length: literal.flatten().is_some(),
            }
        })
        .collect()
}

/// The text of a string or NULL that an arm has for a column.
fn literal(plan: &LogicalPlan, index: usize) -> Option<Option<String>> {
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(index)?.clone().unalias() {
            Expr::Literal(ScalarValue::Utf8(text), metadata) if is_untyped(metadata.as_ref()) => Some(text),
            Expr::Literal(ScalarValue::Null, _) => Some(None),
            _ => None,
        },
        LogicalPlan::SubqueryAlias(alias) => literal(&alias.input, index),
        _ => None,
    }
}

/// `None` if no arm's value has a type.
fn common<'a>(arms: impl Iterator<Item = &'a Arm>, construct: &str) -> Result<Option<SqlType>> {
    let arms: Vec<&Arm> = arms.collect();
    let types: Vec<SqlType> = arms.iter().filter(|arm| !arm.untyped).map(|arm| arm.ty.clone()).collect();
    if types.is_empty() {
        return Ok(None);
    }
    let target = meeting(&types, construct)?;
    let differ = arms.iter().any(|arm| arm.any_length) || types.iter().any(|ty| *ty != target);
    Ok(Some(if differ { without_modifier(&target) } else { target }))
}

fn cast_arm(
    input: Arc<LogicalPlan>,
    arm: &[Arm],
    targets: &[Option<SqlType>],
    params: &Params,
    style: &Arc<CastStyle>,
) -> DfResult<Arc<LogicalPlan>> {
    let mut changed = false;
    let schema = input.schema().clone();
    let typing = Typing { schema: schema.as_ref(), params, style };
    let mut exprs = Vec::with_capacity(arm.len());
    for (index, (column, target)) in arm.iter().zip(targets).enumerate() {
        let (qualifier, field) = schema.qualified_field(index);
        let expr = Expr::from((qualifier, field));
        let Some(target) = target.as_ref().filter(|target| **target != column.ty) else {
            exprs.push(expr);
            continue;
        };
        let cast = match (column.untyped, literal(&input, index)) {
            (true, Some(text)) => {
                let literal =
                    Expr::Literal(text.map_or(ScalarValue::Null, |it| ScalarValue::Utf8(Some(it))), None);
                typing.adapt(literal, target)
            }
            _ => typing.cast(expr, target),
        };
        changed = true;
        let cast = cast.map_err(to_datafusion)?;
        let cast = if is_vector_like(target) { labelled(cast, target) } else { cast };
        exprs.push(cast.alias_qualified(qualifier.cloned(), field.name()));
    }
    if !changed {
        return Ok(input);
    }
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(exprs)?.build()?;
    Ok(Arc::new(plan))
}
