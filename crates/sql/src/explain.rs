//! EXPLAIN: the physical plan as PostgreSQL clients expect it, one column "QUERY PLAN" of lines or one JSON document.

use crate::bind::Binder;
use crate::outcome::{Outcome, Tag};
use crate::statement::{Bound, ParamValue, StatementContext};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use datafusion::sql::sqlparser::ast::{self, UtilityOption};
use futures::TryStreamExt;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::{Rows, from_datafusion};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Options of EXPLAIN.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExplainOptions {
    analyze: bool,
    verbose: bool,
    json: bool,
}

impl ExplainOptions {
    /// One column.
    pub(crate) fn schema(self) -> SchemaRef {
        let ty = if self.json { SqlType::Json } else { SqlType::Text };
        Arc::new(Schema::new(vec![ty.field("QUERY PLAN", true)]))
    }
}

/// The options and the statement inside.
pub(crate) fn options(statement: &ast::Statement) -> Result<(ExplainOptions, &ast::Statement)> {
    let ast::Statement::Explain { analyze, verbose, statement, options, .. } = statement else {
        return Err(Error::internal("no EXPLAIN"));
    };
    let mut found = ExplainOptions { analyze: *analyze, verbose: *verbose, ..ExplainOptions::default() };
    for option in options.iter().flatten() {
        apply(&mut found, option)?;
    }
    Ok((found, statement))
}

fn apply(options: &mut ExplainOptions, option: &UtilityOption) -> Result<()> {
    let name = option.name.value.to_lowercase();
    let value = option.arg.as_ref().map(|arg| arg.to_string().trim_matches('\'').to_lowercase());
    let on = !matches!(value.as_deref(), Some("false" | "off" | "0"));
    match name.as_str() {
        "analyze" => options.analyze = on,
        "verbose" => options.verbose = on,
        "format" => match value.as_deref() {
            Some("json") => options.json = true,
            Some("text") => options.json = false,
            Some(other) => {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("EXPLAIN format \"{other}\" is not supported"),
                ));
            }
            None => return Err(Error::new(SqlState::SYNTAX_ERROR, "format requires a parameter")),
        },
        "buffers" | "costs" | "timing" | "summary" | "settings" | "wal" | "generic_plan" => {}
        other => {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                format!("unrecognized EXPLAIN option \"{other}\""),
            ));
        }
    }
    Ok(())
}

/// Explains a bound statement.
pub(crate) async fn execute(
    ctx: &mut StatementContext<'_>,
    options: &ExplainOptions,
    bound: &Bound,
    params: &[ParamValue],
    types: &[SqlType],
) -> Result<Outcome> {
    let (logical, head) = match bound {
        Bound::Query(query) => (Some(&query.plan), None),
        Bound::Insert(insert) => (insert.query_plan(), Some(format!("Insert on {}", insert.table.name))),
        Bound::Change(change) => {
            let word = if change.is_update() { "Update" } else { "Delete" };
            (Some(change.plan()), Some(format!("{word} on {}", change.table.name)))
        }
        Bound::With(_) => return Err(Error::unsupported("EXPLAIN of a WITH that writes")),
        Bound::Explain(..) => return Err(Error::unsupported("EXPLAIN of EXPLAIN")),
    };
    if options.analyze && head.is_some() {
        return Err(Error::unsupported("EXPLAIN ANALYZE of a statement that writes"));
    }
    let explained = explain(ctx, options, logical, params, types).await?;
    let text: Vec<String> = if options.json {
        vec![serde_json::to_string_pretty(&explained.json(head.as_deref())).unwrap_or_default()]
    } else {
        explained.lines(head.as_deref())
    };
    let schema = options.schema();
    let column: ArrayRef = Arc::new(StringArray::from(text));
    let batch = RecordBatch::try_new(schema.clone(), vec![column])?;
    Ok(Outcome::Rows { schema, rows: Rows::Batches(vec![batch]), tag: Tag::Fixed("EXPLAIN".to_owned()) })
}

struct Explained {
    nodes: Option<Arc<dyn ExecutionPlan>>,
    analyzed: bool,
    planning_ms: f64,
    execution_ms: f64,
    rows: usize,
}

async fn explain(
    ctx: &StatementContext<'_>,
    options: &ExplainOptions,
    logical: Option<&LogicalPlan>,
    params: &[ParamValue],
    types: &[SqlType],
) -> Result<Explained> {
    let binder = Binder::new(ctx, &[]);
    let mut explained =
        Explained { nodes: None, analyzed: options.analyze, planning_ms: 0.0, execution_ms: 0.0, rows: 0 };
    let Some(logical) = logical else { return Ok(explained) };
    run(&binder, logical, params, types, &mut explained).await?;
    Ok(explained)
}

async fn run(
    binder: &Binder,
    logical: &LogicalPlan,
    params: &[ParamValue],
    types: &[SqlType],
    explained: &mut Explained,
) -> Result<()> {
    let start = Instant::now();
    let plan = binder.fill(logical.clone(), params, types)?;
    let physical = binder.engine.plan(&binder.state, &plan).await?;
    explained.planning_ms = start.elapsed().as_secs_f64() * 1000.0;
    explained.nodes = Some(physical.clone());
    if explained.analyzed {
        let start = Instant::now();
        let stream = binder.engine.run(&binder.state, physical)?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(from_datafusion)?;
        explained.rows = batches.iter().map(RecordBatch::num_rows).sum();
        explained.execution_ms = start.elapsed().as_secs_f64() * 1000.0;
    }
    Ok(())
}

fn describe(node: &Arc<dyn ExecutionPlan>, analyzed: bool) -> String {
    struct One<'a>(&'a dyn ExecutionPlan);
    impl std::fmt::Display for One<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt_as(DisplayFormatType::Default, f)
        }
    }
    let mut text = One(node.as_ref()).to_string();
    if analyzed && let Some(metrics) = node.metrics() {
        let metrics = metrics.aggregate_by_name().sorted_for_display().timestamps_removed();
        text.push_str(&format!("  (actual {metrics})"));
    }
    text
}

impl Explained {
    fn lines(&self, head: Option<&str>) -> Vec<String> {
        let mut lines = Vec::new();
        let mut depth = 0;
        if let Some(head) = head {
            lines.push(head.to_owned());
            depth = 1;
        }
        if let Some(node) = &self.nodes {
            self.walk(node, depth, &mut lines);
        }
        if self.analyzed {
            lines.push(format!("Planning Time: {:.3} ms", self.planning_ms));
            lines.push(format!("Execution Time: {:.3} ms", self.execution_ms));
        }
        lines
    }

    fn walk(&self, node: &Arc<dyn ExecutionPlan>, depth: usize, lines: &mut Vec<String>) {
        let indent = match depth {
            0 => String::new(),
            depth => format!("{}->  ", " ".repeat(6 * depth - 4)),
        };
        lines.push(format!("{indent}{}", describe(node, self.analyzed)));
        for child in node.children() {
            self.walk(child, depth + 1, lines);
        }
    }

    fn json(&self, head: Option<&str>) -> Value {
        let mut plan = match &self.nodes {
            Some(node) => self.node(node),
            None => json!({ "Node Type": "Result" }),
        };
        if let Some(head) = head {
            plan = json!({ "Node Type": head, "Plans": [plan] });
        }
        let mut document = json!({ "Plan": plan });
        if self.analyzed {
            document["Planning Time"] = json!(self.planning_ms);
            document["Execution Time"] = json!(self.execution_ms);
            document["Plan"]["Actual Rows"] = json!(self.rows);
        }
        json!([document])
    }

    fn node(&self, node: &Arc<dyn ExecutionPlan>) -> Value {
        let mut value = json!({ "Node Type": node.name(), "Detail": describe(node, false) });
        if self.analyzed
            && let Some(metrics) = node.metrics()
        {
            for metric in metrics.aggregate_by_name().iter() {
                value[metric.value().name()] = json!(metric.value().as_usize());
            }
        }
        let children: Vec<Value> = node.children().into_iter().map(|child| self.node(child)).collect();
        if !children.is_empty() {
            value["Plans"] = Value::Array(children);
        }
        value
    }
}
