//! Adds columns and constraints to a table that is being made or altered.

use super::names::{choose, cut, is_taken};
use super::retype::Conversion;
use super::sequence::SequenceSpec;
use crate::bind::{Binder, CastContext, coerce_expr, folded, serial, sql_type};
use crate::dml::live_columns;
use crate::functions::quote_ident;
use crate::outcome::Notice;
use crate::statement::StatementContext;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{self, ColumnDef, ColumnOption, Ident, TableConstraint};
use quiver_base::{ColumnId, Error, IndexId, Result, SqlState, SqlType, TableId};
use quiver_cluster::{
    CatalogEdit, Column, ColumnDefault, Constraint, ConstraintKind, Database, Identity, Index, IndexMethod,
    KeyColumn, Table,
};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// A table under construction.
pub(super) struct TableMaker {
    /// The table.
    pub table: Table,
    /// Edits that go before it: sequences.
    pub edits: Vec<CatalogEdit>,
    /// Indexes to check over the rows that are there.
    pub new_keys: Vec<IndexId>,
    /// Constraints to check over the rows that are there.
    pub new_checks: Vec<String>,
    /// Columns that became NOT NULL.
    pub new_not_null: Vec<ColumnId>,
    /// Columns that get other values.
    pub conversions: Vec<Conversion>,
    database: Arc<Database>,
    schema_name: String,
}

impl TableMaker {
    /// Begins with a table as it is.
    pub(super) fn new(ctx: &StatementContext<'_>, table: Table) -> TableMaker {
        let database = ctx.txn.database();
        let schema_name =
            database.schemas.get(&table.schema).map(|schema| schema.name.clone()).unwrap_or_default();
        TableMaker {
            table,
            edits: Vec::new(),
            new_keys: Vec::new(),
            new_checks: Vec::new(),
            new_not_null: Vec::new(),
            conversions: Vec::new(),
            database,
            schema_name,
        }
    }

    /// The live column with a name.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        live_columns(&self.table).into_iter().find(|column| column.name == name)
    }

    fn is_taken(&self, name: &str) -> bool {
        is_taken(&self.database, self.table.schema, name)
            || self.table.name == name
            || self.table.indexes.iter().any(|index| index.name == name)
            || self
                .edits
                .iter()
                .any(|edit| matches!(edit, CatalogEdit::PutSequence(_, sequence) if sequence.name == name))
    }

    fn has_constraint(&self, name: &str) -> bool {
        self.table.constraints.iter().any(|constraint| constraint.name == name)
    }

    /// Adds a column with its constraints.
    pub(super) fn add_column(
        &mut self,
        ctx: &mut StatementContext<'_>,
        definition: &ColumnDef,
    ) -> Result<()> {
        let name = cut(&folded(&definition.name));
        if self.column(&name).is_some() {
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                match self.table.version {
                    0 => format!("column \"{name}\" specified more than once"),
                    _ => format!("column \"{name}\" of relation \"{}\" already exists", self.table.name),
                },
            ));
        }
        if matches!(name.as_str(), "tableoid" | "xmin" | "cmin" | "xmax" | "cmax" | "ctid") {
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column name \"{name}\" conflicts with a system column name"),
            ));
        }
        let serial_type = serial(&definition.data_type);
        let ty = match &serial_type {
            Some(ty) => ty.clone(),
            None => sql_type(&definition.data_type)?,
        };
        let id =
            ColumnId(u16::try_from(self.table.columns.len() + 1).map_err(|_| {
                Error::new(SqlState::TOO_MANY_COLUMNS, "tables can have at most 1600 columns")
            })?);
        if id.0 > 1600 {
            return Err(Error::new(SqlState::TOO_MANY_COLUMNS, "tables can have at most 1600 columns"));
        }
        self.table.columns.push(Column {
            id,
            name: name.clone(),
            ty: ty.clone(),
            not_null: serial_type.is_some(),
            default: None,
            identity: None,
            missing: None,
            dropped: false,
        });
        if serial_type.is_some() {
            let sequence = self.own_sequence(ctx, id, &name, &ty, &SequenceSpec::default())?;
            let sql = format!("nextval('{}'::regclass)", sequence.1);
            self.column_mut(id).default = Some(ColumnDefault { sql, sequence: Some(sequence.0) });
        }
        for option in &definition.options {
            let named = option.name.as_ref().map(|name| cut(&folded(name)));
            self.column_option(ctx, id, named, &option.option)?;
        }
        Ok(())
    }

    fn column_mut(&mut self, id: ColumnId) -> &mut Column {
        &mut self.table.columns[usize::from(id.0) - 1]
    }

    fn own_sequence(
        &mut self,
        ctx: &mut StatementContext<'_>,
        column: ColumnId,
        name: &str,
        ty: &SqlType,
        spec: &SequenceSpec,
    ) -> Result<(TableId, String)> {
        let sequence_name = choose(&self.table.name, name, "seq", |name| self.is_taken(name));
        let id = TableId(ctx.txn.new_oid());
        let mut sequence = spec.build(id, self.table.schema, &sequence_name, self.table.owner, ty)?;
        sequence.owned_by = Some((self.table.id, column));
        self.edits.push(CatalogEdit::PutSequence(ctx.session.database_id, Arc::new(sequence)));
        let name = quote_ident(&sequence_name);
        let shown = match self.schema_name.as_str() {
            "public" => name,
            schema => format!("{}.{name}", quote_ident(schema)),
        };
        Ok((id, shown))
    }

    fn column_option(
        &mut self,
        ctx: &mut StatementContext<'_>,
        id: ColumnId,
        name: Option<String>,
        option: &ColumnOption,
    ) -> Result<()> {
        let ident = {
            let column = self.column_mut(id);
            Ident::with_quote('"', column.name.clone())
        };
        match option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => {
                self.column_mut(id).not_null = true;
                self.new_not_null.push(id);
            }
            ColumnOption::Default(expr) => self.set_default(ctx, id, expr)?,
            ColumnOption::PrimaryKey(_) => self.add_key(ctx, name, &[ident], true)?,
            ColumnOption::Unique(_) => self.add_key(ctx, name, &[ident], false)?,
            ColumnOption::Check(check) => {
                let name = check.name.as_ref().map(|name| cut(&folded(name))).or(name);
                self.add_check(ctx, name, &check.expr)?;
            }
            ColumnOption::ForeignKey(_) => return Err(Error::unsupported("FOREIGN KEY")),
            ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                let always = *generated_as == ast::GeneratedAs::Always;
                self.set_identity(ctx, id, always, sequence_options.as_deref().unwrap_or_default())?;
            }
            ColumnOption::Generated { .. } => {
                return Err(Error::unsupported("GENERATED ALWAYS AS (…) STORED"));
            }
            ColumnOption::Collation(_) => {}
            other => return Err(Error::unsupported(other)),
        }
        Ok(())
    }

    /// GENERATED … AS IDENTITY.
    pub(super) fn set_identity(
        &mut self,
        ctx: &mut StatementContext<'_>,
        id: ColumnId,
        always: bool,
        options: &[ast::SequenceOptions],
    ) -> Result<()> {
        let column = self.column_mut(id).clone();
        if !crate::bind::is_integer(&column.ty) {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "identity column type must be smallint, integer, or bigint",
            ));
        }
        if column.default.is_some() {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                format!(
                    "both default and identity specified for column \"{}\" of table \"{}\"",
                    column.name, self.table.name
                ),
            ));
        }
        let spec = SequenceSpec::from_options(options)?;
        let (sequence, _) = self.own_sequence(ctx, id, &column.name, &column.ty, &spec)?;
        let column = self.column_mut(id);
        column.identity = Some(Identity { always, sequence });
        column.not_null = true;
        Ok(())
    }

    /// DEFAULT: checked against the column's type now, evaluated at each INSERT.
    pub(super) fn set_default(
        &mut self,
        ctx: &StatementContext<'_>,
        id: ColumnId,
        expr: &ast::Expr,
    ) -> Result<()> {
        let binder = Binder::new(ctx, &[]);
        let schema = DFSchema::empty();
        let bound = binder.expression(expr.clone(), &schema).map_err(|error| {
            if error.state() == SqlState::UNDEFINED_COLUMN {
                return Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot use column reference in DEFAULT expression",
                );
            }
            error
        })?;
        let bound = coerce_expr(bound, &schema, &binder.params, &binder.style)?;
        let column = self.column_mut(id);
        binder.assigned(bound, &schema, &column.ty, &column.name, CastContext::Assignment).map_err(
            |error| match error.state() {
                SqlState::DATATYPE_MISMATCH => Error::new(
                    SqlState::DATATYPE_MISMATCH,
                    error.message().replacen("but expression", "but default expression", 1),
                )
                .with_hint("You will need to rewrite or cast the expression."),
                _ => error,
            },
        )?;
        let mut sql = shown(expr).to_string();
        if matches!(expr, ast::Expr::Value(value) if matches!(value.value, ast::Value::SingleQuotedString(_)))
        {
            sql = format!("{sql}::{}", any_length(&column.ty));
        }
        let sequence = sequence_in(expr).and_then(|name| {
            let database = ctx.txn.database();
            database.sequences.values().find(|sequence| sequence.name == name).map(|sequence| sequence.id)
        });
        self.column_mut(id).default = Some(ColumnDefault { sql, sequence });
        Ok(())
    }

    /// A constraint of the table.
    pub(super) fn add_constraint(
        &mut self,
        ctx: &mut StatementContext<'_>,
        constraint: &TableConstraint,
    ) -> Result<()> {
        let named = |name: &Option<Ident>| name.as_ref().map(|name| cut(&folded(name)));
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                let columns = key_columns(&key.columns)?;
                self.add_key(ctx, named(&key.name), &columns, true)
            }
            TableConstraint::Unique(key) => {
                let columns = key_columns(&key.columns)?;
                self.add_key(ctx, named(&key.name), &columns, false)
            }
            TableConstraint::Check(check) => self.add_check(ctx, named(&check.name), &check.expr),
            TableConstraint::ForeignKey(_) => Err(Error::unsupported("FOREIGN KEY")),
            other => Err(Error::unsupported(other)),
        }
    }

    fn add_key(
        &mut self,
        ctx: &mut StatementContext<'_>,
        name: Option<String>,
        columns: &[Ident],
        primary: bool,
    ) -> Result<()> {
        let has_primary =
            self.table.constraints.iter().any(|c| matches!(c.kind, ConstraintKind::PrimaryKey { .. }));
        if primary && has_primary {
            return Err(Error::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("multiple primary keys for table \"{}\" are not allowed", self.table.name),
            ));
        }
        let columns: Vec<String> = columns.iter().map(folded).collect();
        let keys = self.keys(&columns)?;
        let name = match name {
            Some(name) if self.is_taken(&name) || self.has_constraint(&name) => {
                return Err(Error::new(
                    SqlState::DUPLICATE_TABLE,
                    format!("relation \"{name}\" already exists"),
                ));
            }
            Some(name) => name,
            None if primary => choose(&self.table.name, "", "pkey", |name| self.is_taken(name)),
            None => choose(&self.table.name, &columns.join("_"), "key", |name| self.is_taken(name)),
        };
        let index = IndexId(ctx.txn.new_oid());
        if primary {
            for key in &keys {
                self.column_mut(key.column).not_null = true;
                self.new_not_null.push(key.column);
            }
        }
        self.table.indexes.push(Index {
            id: index,
            name: name.clone(),
            method: IndexMethod::BTree,
            columns: keys,
            unique: true,
            options: Vec::new(),
            predicate: None,
        });
        let kind = match primary {
            true => ConstraintKind::PrimaryKey { index },
            false => ConstraintKind::Unique { index },
        };
        self.table.constraints.push(Constraint { id: ctx.txn.new_oid(), name, kind });
        self.new_keys.push(index);
        Ok(())
    }

    /// Key columns by name; 42703, 42701, and 42704 for types without an order.
    pub(super) fn keys(&self, columns: &[String]) -> Result<Vec<KeyColumn>> {
        let mut keys: Vec<KeyColumn> = Vec::with_capacity(columns.len());
        for name in columns {
            let column = self.column(name).ok_or_else(|| {
                Error::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("column \"{name}\" named in key does not exist"),
                )
            })?;
            if keys.iter().any(|key| key.column == column.id) {
                return Err(Error::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{name}\" appears twice in unique constraint"),
                ));
            }
            if matches!(column.ty, SqlType::Json) {
                return Err(Error::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("data type {} has no default operator class for access method \"btree\"", column.ty),
                )
                .with_hint("You must specify an operator class for the index or define a default operator class for the data type."));
            }
            keys.push(KeyColumn::ascending(column.id));
        }
        Ok(keys)
    }

    fn add_check(
        &mut self,
        ctx: &mut StatementContext<'_>,
        name: Option<String>,
        expr: &ast::Expr,
    ) -> Result<()> {
        let columns = self.check_columns(ctx, expr)?;
        let name = match name {
            Some(name) if self.has_constraint(&name) => {
                return Err(Error::new(
                    SqlState::DUPLICATE_OBJECT,
                    format!("constraint \"{name}\" for relation \"{}\" already exists", self.table.name),
                ));
            }
            Some(name) => name,
            None => {
                let second = match columns.as_slice() {
                    [only] => self.table.columns[usize::from(only.0) - 1].name.clone(),
                    _ => String::new(),
                };
                choose(&self.table.name, &second, "check", |name| self.has_constraint(name))
            }
        };
        let sql = expr.to_string();
        let kind = ConstraintKind::Check { sql: sql.clone(), columns };
        self.table.constraints.push(Constraint { id: ctx.txn.new_oid(), name: name.clone(), kind });
        self.new_checks.push(name);
        Ok(())
    }

    /// The columns a condition reads; it must be a boolean over one row.
    fn check_columns(&self, ctx: &StatementContext<'_>, expr: &ast::Expr) -> Result<Vec<ColumnId>> {
        let binder = Binder::new(ctx, &[]);
        let fields = live_columns(&self.table)
            .into_iter()
            .map(|column| {
                let qualifier = TableReference::bare(self.table.name.as_str());
                (Some(qualifier), Arc::new(column.ty.field(&column.name, true)))
            })
            .collect();
        let schema =
            DFSchema::new_with_metadata(fields, std::collections::HashMap::new()).map_err(from_datafusion)?;
        let bound = binder.expression(expr.clone(), &schema)?;
        let bound = coerce_expr(bound, &schema, &binder.params, &binder.style)?;
        let mut columns = Vec::new();
        let mut subquery = false;
        bound
            .apply(|expr| {
                match expr {
                    Expr::Column(column) => columns.extend(self.column(&column.name).map(|column| column.id)),
                    Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => subquery = true,
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .map_err(from_datafusion)?;
        if subquery {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot use subquery in check constraint",
            ));
        }
        binder.boolean(bound, &schema, "CHECK")?;
        columns.sort();
        columns.dedup();
        Ok(columns)
    }

    /// The edits, the table last.
    pub(super) fn finish(mut self, ctx: &StatementContext<'_>) -> Vec<CatalogEdit> {
        self.table.version += 1;
        let mut edits = self.edits;
        edits.push(CatalogEdit::PutTable(ctx.session.database_id, Arc::new(self.table)));
        edits
    }
}

/// A default as pg_get_expr shows it: without parentheses around it, a function's plain name in lower case.
fn shown(expr: &ast::Expr) -> ast::Expr {
    let mut expr = expr.clone();
    while let ast::Expr::Nested(inner) = expr {
        expr = *inner;
    }
    if let ast::Expr::Function(function) = &mut expr {
        for part in &mut function.name.0 {
            if let ast::ObjectNamePart::Identifier(ident) = part
                && ident.quote_style.is_none()
            {
                ident.value = ident.value.to_lowercase();
            }
        }
    }
    expr
}

/// `nextval('s')` as a default: the sequence's name.
fn sequence_in(expr: &ast::Expr) -> Option<String> {
    let ast::Expr::Function(function) = expr else { return None };
    if !function.name.to_string().to_lowercase().ends_with("nextval") {
        return None;
    }
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    let text = list.args.first()?.to_string();
    let text = text.split("::").next()?.trim_matches('\'');
    let name = text.rsplit('.').next()?;
    Some(name.trim_matches('"').to_owned())
}

fn key_columns(columns: &[ast::IndexColumn]) -> Result<Vec<Ident>> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            ast::Expr::Identifier(ident) => Ok(ident.clone()),
            other => Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
        })
        .collect()
}

/// `…, skipping`.
pub(super) fn skipping(ctx: &mut StatementContext<'_>, state: SqlState, message: String) {
    // As in PostgreSQL, only what is there already has a state of its own.
    let state = if message.contains("does not exist") { SqlState::SUCCESSFUL_COMPLETION } else { state };
    ctx.notices.push(Notice::new(state, message));
}

/// A type's name without its modifier; the bare words `bit` and `character` would stand for a length of one.
fn any_length(ty: &SqlType) -> String {
    match ty {
        SqlType::Bit(_) => "\"bit\"".to_owned(),
        SqlType::Bpchar(_) => "bpchar".to_owned(),
        ty => crate::bind::without_modifier(ty).to_string(),
    }
}
