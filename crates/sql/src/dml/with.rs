//! `WITH … INSERT | UPDATE | DELETE`, and statements that write inside a WITH. A statement's own query gets the common table
//! expressions; where one of them writes, a query takes its place that reads the rows it returned.

use super::change::target_factor;
use super::target::target;
use super::together::{BoundWith, Part};
use super::{bind_delete, bind_insert, bind_update};
use crate::bind::{Binder, bare_select, check_query, folded, query_of};
use crate::statement::Bound;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::sql::sqlparser::ast::{
    Cte, FromTable, Ident, ObjectName, Query, SelectItem, SetExpr, Statement, TableAlias, TableFactor,
    TableWithJoins, VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions, With,
};
use datafusion::sql::sqlparser::ast::{Delete, Insert, Update, Visit};
use quiver_base::{Error, Result, SqlState};
use quiver_exec::from_datafusion;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Stands before the number of a WITH query that writes, in the name of the rows that it returns. No statement can say it.
const MADE: &str = "\u{1}made";

/// Whether a query is a statement that writes, perhaps with a WITH in front.
pub(crate) fn is_write(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_))
}

/// Whether it or a part of its WITH writes.
pub(crate) fn writes(query: &Query) -> bool {
    is_write(query) || parts_that_write(query)
}

fn parts_that_write(query: &Query) -> bool {
    query.with.iter().flat_map(|with| &with.cte_tables).any(|cte| is_write(&cte.query))
}

/// 0A000 for a query inside another one whose WITH writes.
pub(crate) fn refuse_writes(query: &Query) -> Result<()> {
    if !parts_that_write(query) {
        return Ok(());
    }
    let message = "WITH clause containing a data-modifying statement must be at the top level";
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message))
}

/// Binds one that [`writes`].
pub(crate) fn bind_with(binder: &Binder, query: &Query) -> Result<Bound> {
    check_query(query)?;
    let mut query = query.clone();
    let Some(with) = query.with.take() else { return bind_one(binder, &query, None) };
    if !with.cte_tables.iter().any(|cte| is_write(&cte.query)) {
        return bind_one(binder, &query, Some(&with));
    }
    check_names(&with)?;
    let mut binder = binder.clone();
    let mut parts = Vec::new();
    // What the WITH is to those that come after.
    let mut visible = With { cte_tables: Vec::new(), ..with.clone() };
    let mut silent = HashSet::new();
    let reading: Vec<_> =
        with.cte_tables.iter().map(|cte| (folded(&cte.alias.name), relations(&cte.query))).collect();
    for (number, mut cte) in with.cte_tables.into_iter().enumerate() {
        let name = folded(&cte.alias.name);
        if !is_write(&cte.query) {
            refuse_silent(&cte.query, &silent)?;
            visible.cte_tables.push(cte);
            continue;
        }
        if with.recursive && reads(&cte.query, &HashSet::from([name.clone()])).is_some() {
            let message = format!("recursive query \"{name}\" must not contain data-modifying statements");
            return Err(Error::new(SqlState::INVALID_RECURSION, message));
        }
        refuse_writes(&cte.query)?;
        refuse_silent(&cte.query, &silent)?;
        let scope = inner_with(&visible, &mut cte.query);
        let bound = bind_one(&binder, &cte.query, Some(&scope))?;
        let rows = match returned(&bound) {
            None => {
                silent.insert(name.clone());
                None
            }
            Some(schema) => {
                check_aliases(&cte.alias, &name, schema.fields().len())?;
                let rows = MemTable::try_new(told_apart(&schema), vec![Vec::new()]);
                let rows = Arc::new(rows.map_err(from_datafusion)?);
                let made = format!("{MADE}{number}");
                binder.add_made(made.clone(), rows.clone());
                visible.cte_tables.push(Cte { query: Box::new(select_all_of(&made)), ..cte });
                Some(rows)
            }
        };
        parts.push(Part { name, bound, rows, is_read: false });
    }
    refuse_silent(&query, &silent)?;
    let main = bind_one(&binder, &query, Some(&visible))?;
    let read = read_by(&query, &reading);
    for part in &mut parts {
        part.is_read = read.contains(&part.name);
    }
    Ok(Bound::With(BoundWith { main: Box::new(main), parts }))
}

/// The WITH queries that a statement reads, itself or by way of others; `reading` says what each of them reads.
fn read_by(query: &Query, reading: &[(String, Vec<String>)]) -> HashSet<String> {
    let mut read: HashSet<String> = relations(query).into_iter().collect();
    for (name, theirs) in reading.iter().rev() {
        if read.contains(name) {
            read.extend(theirs.iter().cloned());
        }
    }
    read
}

/// The outermost WITH with that of a part appended.
fn inner_with(visible: &With, query: &mut Query) -> With {
    let mut with = visible.clone();
    if let Some(own) = query.with.take() {
        with.recursive |= own.recursive;
        with.cte_tables.extend(own.cte_tables);
    }
    with
}

/// Binds a statement without the WITH that stands before it.
fn bind_one(binder: &Binder, query: &Query, with: Option<&With>) -> Result<Bound> {
    let with = with.filter(|with| !with.cte_tables.is_empty());
    match query.body.as_ref() {
        SetExpr::Update(Statement::Update(update)) => {
            let mut update = update.clone();
            if let Some(with) = with {
                prepare_update(binder, &mut update, with)?;
            }
            Ok(Bound::Change(bind_update(binder, &update, with)?))
        }
        SetExpr::Delete(Statement::Delete(delete)) => {
            let mut delete = delete.clone();
            if let Some(with) = with {
                prepare_delete(binder, &mut delete, with)?;
            }
            Ok(Bound::Change(bind_delete(binder, &delete, with)?))
        }
        SetExpr::Insert(Statement::Insert(insert)) => {
            let mut insert = insert.clone();
            if let Some(with) = with {
                prepare_insert(&mut insert, with)?;
            }
            Ok(Bound::Insert(bind_insert(binder, &insert)?))
        }
        SetExpr::Insert(other) | SetExpr::Update(other) | SetExpr::Delete(other) => {
            Err(Error::unsupported(other))
        }
        _ if !query.locks.is_empty() => {
            Err(Error::unsupported("FOR UPDATE and FOR SHARE beside a WITH that writes"))
        }
        _ => {
            let mut query = query.clone();
            query.with = with.cloned();
            Ok(Bound::Query(binder.bind(&query)?))
        }
    }
}

fn prepare_update(binder: &Binder, update: &mut Update, with: &With) -> Result<()> {
    name_whole(binder, &mut update.table, with)?;
    give_with(&mut update.assignments, with);
    give_with(&mut update.returning, with);
    Ok(())
}

fn prepare_delete(binder: &Binder, delete: &mut Delete, with: &With) -> Result<()> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &mut delete.from;
    if let [table] = tables.as_mut_slice() {
        name_whole(binder, table, with)?;
    }
    give_with(&mut delete.returning, with);
    Ok(())
}

fn prepare_insert(insert: &mut Insert, with: &With) -> Result<()> {
    give_with(&mut insert.on, with);
    give_with(&mut insert.returning, with);
    if let Some(source) = &mut insert.source {
        if source.with.is_some() {
            refuse_writes(source)?;
            return Err(Error::unsupported("WITH before INSERT and again in its query"));
        }
        source.with = Some(with.clone());
    }
    Ok(())
}

/// The table that is written is never the WITH query of its name.
fn name_whole(binder: &Binder, factor: &mut TableWithJoins, with: &With) -> Result<()> {
    let (name, _) = target_factor(factor)?;
    let TableFactor::Table { name: written, alias, .. } = &mut factor.relation else { return Ok(()) };
    let [part] = name.0.as_slice() else { return Ok(()) };
    let Some(ident) = part.as_ident() else { return Ok(()) };
    if !with.cte_tables.iter().any(|cte| folded(&cte.alias.name) == folded(ident)) {
        return Ok(());
    }
    let (table, _) = target(binder, &name)?;
    let schema = binder.database.schemas.values().find(|schema| schema.id == table.schema);
    let schema = schema.ok_or_else(|| Error::internal("a table without its schema"))?;
    *written = ObjectName::from(vec![Ident::with_quote('"', &schema.name), ident.clone()]);
    let own = || TableAlias { explicit: true, name: ident.clone(), columns: Vec::new(), at: None };
    alias.get_or_insert_with(own);
    Ok(())
}

/// Subqueries of what is planned without the WITH get it.
fn give_with(tree: &mut impl VisitMut, with: &With) {
    struct Giver<'a> {
        with: &'a With,
        depth: usize,
    }
    impl VisitorMut for Giver<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if self.depth == 0 {
                query.with = Some(inner_with(self.with, query));
            }
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Giver { with, depth: 0 });
}

/// `SELECT * FROM name`.
fn select_all_of(name: &str) -> Query {
    let mut select = bare_select();
    select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    let relation = TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
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
    query_of(select)
}

/// The columns of RETURNING.
fn returned(bound: &Bound) -> Option<SchemaRef> {
    let returning = match bound {
        Bound::Insert(insert) => &insert.returning,
        Bound::Change(change) => &change.returning,
        _ => return None,
    };
    returning.as_ref().map(|returning| returning.schema.clone())
}

/// The same columns, those of one name with marks that clients do not see.
fn told_apart(schema: &Schema) -> SchemaRef {
    let mut seen = HashSet::new();
    let apart = |(position, field): (usize, &Arc<Field>)| match seen.insert(field.name().clone()) {
        true => field.clone(),
        false => {
            let name = format!("{}\u{1}{position}", field.name());
            Arc::new(field.as_ref().clone().with_name(name))
        }
    };
    let fields: Vec<_> = schema.fields().iter().enumerate().map(apart).collect();
    Arc::new(Schema::new(fields))
}

fn check_names(with: &With) -> Result<()> {
    let mut names = HashSet::new();
    for cte in &with.cte_tables {
        let name = folded(&cte.alias.name);
        if names.contains(&name) {
            let message = format!("WITH query name \"{name}\" specified more than once");
            return Err(Error::new(SqlState::DUPLICATE_ALIAS, message));
        }
        names.insert(name);
    }
    Ok(())
}

fn check_aliases(alias: &TableAlias, name: &str, available: usize) -> Result<()> {
    let given = alias.columns.len();
    if given <= available {
        return Ok(());
    }
    let message =
        format!("WITH query \"{name}\" has {available} columns available but {given} columns specified");
    Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message))
}

/// 0A000 for reading what returns nothing.
fn refuse_silent(query: &Query, silent: &HashSet<String>) -> Result<()> {
    let Some(name) = reads(query, silent) else { return Ok(()) };
    let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message))
}

/// One of the names, if the query reads it from a FROM or USING.
fn reads(query: &Query, names: &HashSet<String>) -> Option<String> {
    relations(query).into_iter().find(|name| names.contains(name))
}

/// Plain names that a query reads from. The table that it writes is none of them.
fn relations(query: &Query) -> Vec<String> {
    struct Names(Vec<String>);
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, .. } = factor
                && let [part] = name.0.as_slice()
            {
                self.0.extend(part.as_ident().map(folded));
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(Vec::new());
    let _ = match query.body.as_ref() {
        SetExpr::Update(Statement::Update(update)) => {
            let _ = query.with.visit(&mut names);
            let _ = update.from.visit(&mut names);
            let _ = update.assignments.visit(&mut names);
            let _ = update.selection.visit(&mut names);
            update.returning.visit(&mut names)
        }
        SetExpr::Delete(Statement::Delete(delete)) => {
            let _ = query.with.visit(&mut names);
            let _ = delete.using.visit(&mut names);
            let _ = delete.selection.visit(&mut names);
            delete.returning.visit(&mut names)
        }
        _ => query.visit(&mut names),
    };
    names.0
}
