//! Makes of an index's expression and condition, which the catalog keeps as text, what storage evaluates.

use crate::bind::{Binder, coerce_expr, folded};
use crate::parser::parse_expression;
use datafusion::common::{Column as ColumnName, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, DataType, visit_expressions_mut};
use quiver_base::{Error, Result, SqlType};
use quiver_cluster::{Cluster, Index, IndexCompiler, Table};
use quiver_exec::{CollectionTable, Engine, Indexed, IndexedType, compile_index, from_datafusion};
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

/// Compiles indexes for a cluster.
#[derive(Debug)]
pub(crate) struct Compiler {
    cluster: Weak<Cluster>,
    engine: Arc<Engine>,
}

impl Compiler {
    /// Lets a cluster build and search indexes over expressions.
    pub(crate) fn install(cluster: &Arc<Cluster>, engine: &Arc<Engine>) {
        let compiler = Compiler { cluster: Arc::downgrade(cluster), engine: engine.clone() };
        cluster.set_index_compiler(Arc::new(compiler));
    }
}

impl IndexCompiler for Compiler {
    fn compile(&self, table: &Table, index: &Index) -> Result<Indexed> {
        let cluster = self.cluster.upgrade().ok_or_else(|| Error::internal("the server has stopped"))?;
        let binder = Binder::of_server(&cluster, &self.engine)?;
        let key = index.columns.first().ok_or_else(|| Error::internal("an index without a key"))?;
        // Without keys of its own: a condition on one would be looked up and not filtered by.
        let table = Arc::new(Table { indexes: Vec::new(), ..table.clone() });
        let mut plan = LogicalPlanBuilder::from(binder.scan(&table)?);
        if let Some(predicate) = &index.predicate {
            let schema = plan.schema().clone();
            let expr = binder.expression(as_written(&table, &predicate.sql)?, &schema)?;
            let expr = coerce_expr(expr, &schema, &binder.params, &binder.style)?;
            let expr = binder.boolean(expr, &schema, "WHERE")?;
            plan = plan.filter(expr).map_err(from_datafusion)?;
        }
        let schema = plan.schema().clone();
        let (expr, ty) = match &key.expression {
            Some(text) => {
                let expr = binder.expression(as_written(&table, &text.sql)?, &schema)?;
                (coerce_expr(expr, &schema, &binder.params, &binder.style)?, text.ty.clone())
            }
            None => {
                let column = table.columns.iter().find(|column| column.id == key.column);
                let column = column.ok_or_else(|| Error::internal("an index over no column"))?;
                let name = ColumnName::new(None::<TableReference>, column.name.as_str());
                (Expr::Column(name), column.ty.clone())
            }
        };
        let plan = plan
            .project([expr.alias("indexed")])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let of = IndexedType::of(&ty).ok_or_else(|| Error::internal(format!("an index over {ty}")))?;
        let provider = CollectionTable::new(table, false);
        // Planning waits for nothing: the table has no rows to be counted.
        futures::executor::block_on(compile_index(&self.engine, &binder.state, &provider, &plan, of))
    }
}

/// An expression as people write it in queries, and not as PostgreSQL prints it: a dump says `(name)::text = ANY (ARRAY['a'])`
/// and `~~` where a query says `name IN ('a')` and LIKE, and the index must be found for both.
fn as_written(table: &Table, sql: &str) -> Result<ast::Expr> {
    let mut expr = parse_expression(sql)?;
    let _ = visit_expressions_mut(&mut expr, |expr| {
        if let Some(written) = written(table, expr) {
            *expr = written;
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(expr)
}

fn written(table: &Table, expr: &ast::Expr) -> Option<ast::Expr> {
    match expr {
        ast::Expr::Cast { expr: inner, data_type: DataType::Text, .. } => {
            let column = plain(inner);
            let ast::Expr::Identifier(name) = column else { return None };
            let name = folded(name);
            let found = table.columns.iter().find(|other| !other.dropped && other.name == name)?;
            matches!(found.ty, SqlType::Varchar(_)).then(|| column.clone())
        }
        ast::Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            let ast::Expr::Array(array) = plain(right) else { return None };
            let list = array.elem.clone();
            Some(ast::Expr::InList { expr: left.clone(), list, negated: false })
        }
        ast::Expr::BinaryOp { left, op: BinaryOperator::PGLikeMatch, right } => Some(ast::Expr::Like {
            negated: false,
            any: false,
            expr: left.clone(),
            pattern: right.clone(),
            escape_char: None,
        }),
        _ => None,
    }
}

/// Without parentheses, and without the cast of a whole array.
fn plain(mut expr: &ast::Expr) -> &ast::Expr {
    loop {
        expr = match expr {
            ast::Expr::Nested(inner) => inner,
            ast::Expr::Cast { expr: inner, data_type: DataType::Array(_), .. } => inner,
            other => return other,
        };
    }
}
