//! Calls within calls that would grow without bound when they are planned.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use quiver_base::{Error, Result, SqlState};
use quiver_exec::{from_datafusion, to_datafusion};

/// How many calls that planning doubles may stand around an argument: all but the last argument of a coalesce that is not
/// itself an argument of one, the first of a nullif.
const MAX_DOUBLED: usize = 10;

/// The arguments of a coalesce with those of a coalesce among them in its place, which means the same.
pub(super) fn flat_coalesce(args: Vec<Expr>) -> Result<Vec<Expr>> {
    let mut flat = Vec::with_capacity(args.len());
    for arg in args {
        match arg {
            Expr::ScalarFunction(call) if call.func.name() == "coalesce" => flat.extend(call.args),
            other => flat.push(other),
        }
    }
    for arg in &flat {
        check(arg, "coalesce", is_coalesce)?;
    }
    Ok(flat)
}

/// Refuses a nullif of too many choices within each other: it stands for a choice that has its first argument twice.
pub(super) fn check_nullif(value: &Expr) -> Result<()> {
    check(value, "nullif", |expr| matches!(expr, Expr::Case(_)))
}

fn is_coalesce(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "coalesce")
}

fn check(expr: &Expr, name: &str, counts: fn(&Expr) -> bool) -> Result<()> {
    if depth(expr, counts)? < MAX_DOUBLED {
        return Ok(());
    }
    Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_hint(format!("The statement nests {name} too deeply; write it in smaller parts.")))
}

/// The most of what counts on a way down.
fn depth(expr: &Expr, counts: fn(&Expr) -> bool) -> Result<usize> {
    let mut inner = 0;
    let visited = expr.apply_children(|child| {
        inner = inner.max(depth(child, counts).map_err(to_datafusion)?);
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(from_datafusion)?;
    Ok(usize::from(counts(expr)) + inner)
}
