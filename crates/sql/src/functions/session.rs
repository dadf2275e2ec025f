//! Functions about the session and the server: version(), current_setting(), pg_backend_pid() and their kin.

use super::{Args, Function};
use crate::bind::CastStyle;
use crate::session::{SessionInfo, set_role};
use crate::settings::{SetScope, Settings};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{Cluster, Database};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What functions may read of the session they run in.
#[derive(Debug)]
pub(crate) struct FunctionContext {
    /// The node.
    pub cluster: Arc<Cluster>,
    /// Who is asking.
    pub session: Arc<SessionInfo>,
    /// Their settings.
    pub settings: Settings,
    /// Their database, with the transaction's own DDL.
    pub database: Arc<Database>,
    /// Schemas of unqualified names.
    pub search_path: Vec<String>,
    /// Text forms.
    pub style: Arc<CastStyle>,
}

/// Whether the statement that calls a function is to stop. Asked for when the function runs: a prepared statement is bound in
/// another statement than it runs in.
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Of what the session runs now.
    pub(super) fn of(session: &SessionInfo) -> Cancel {
        Cancel(session.interrupt.flag())
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
        }
        Ok(())
    }

    /// Returns the error once it is to stop.
    pub(super) async fn happens(&self) -> Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            tokio::time::sleep(CANCEL_STEP).await;
        }
    }
}

/// How often a function that waits looks whether it is to stop.
const CANCEL_STEP: Duration = Duration::from_millis(20);

impl FunctionContext {
    /// Schemas of the search path that exist.
    fn schemas(&self) -> Vec<String> {
        let exists = |name: &String| self.database.schemas.values().any(|schema| schema.name == *name);
        self.search_path.iter().filter(|name| exists(name)).cloned().collect()
    }
}

/// The same text in every row.
pub(super) fn constant(args: &Args<'_>, text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text; args.rows()]))
}

fn fixed(name: &str, ty: SqlType, text: String) -> Function {
    Function::new(name, Volatility::Stable, ty, move |args| Ok(constant(args, &text)))
}

/// A role's name, asked for when the function runs: a prepared statement outlives SET ROLE.
fn user(name: &str, context: &FunctionContext, of: fn(&Settings) -> String) -> Function {
    let settings = context.settings.clone();
    Function::new(name, Volatility::Stable, SqlType::Name, move |args| Ok(constant(args, &of(&settings))))
}

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let session = &context.session;
    let pid = session.pid;
    let mut list = vec![
        fixed("version", SqlType::Text, version()),
        fixed("current_database", SqlType::Name, session.database.clone()),
        fixed("current_catalog", SqlType::Name, session.database.clone()),
        Function::new("pg_backend_pid", Volatility::Stable, SqlType::Int4, move |args| {
            Ok(Arc::new(Int32Array::from(vec![pid; args.rows()])))
        }),
        current_schema(context),
        current_schemas(context),
        current_setting(context),
        set_config(context),
        sleep(context),
        Function::new("pg_typeof", Volatility::Stable, SqlType::Regtype, |args| {
            let oid = match args.ty(0) {
                SqlType::Unknown => 705,
                ty => crate::oids::type_oid(ty),
            };
            Ok(Arc::new(Int64Array::from(vec![i64::from(oid); args.rows()])))
        }),
        Function::new("txid_current", Volatility::Stable, SqlType::Int8, |args| {
            Ok(Arc::new(Int64Array::from(vec![1; args.rows()])))
        }),
        Function::new("pg_is_in_recovery", Volatility::Stable, SqlType::Bool, |args| {
            Ok(Arc::new(BooleanArray::from(vec![false; args.rows()])))
        }),
        Function::new("gen_random_uuid", Volatility::Volatile, SqlType::Uuid, |args| {
            random_uuids(args.rows())
        }),
        Function::new("random", Volatility::Volatile, SqlType::Float8, |args| {
            let values: Vec<f64> = (0..args.rows()).map(|_| rand::random::<f64>()).collect();
            Ok(Arc::new(arrow::array::Float64Array::from(values)))
        }),
    ];
    let client = session.client;
    list.push(Function::new("inet_client_addr", Volatility::Stable, SqlType::Text, move |args| {
        let address = client.map(|client| client.ip().to_string());
        Ok(Arc::new(StringArray::from(vec![address; args.rows()])))
    }));
    list.push(Function::new("inet_client_port", Volatility::Stable, SqlType::Int4, move |args| {
        let port = client.map(|client| i32::from(client.port()));
        Ok(Arc::new(Int32Array::from(vec![port; args.rows()])))
    }));
    for name in ["current_user", "user", "current_role"] {
        list.push(user(name, context, Settings::current_user));
    }
    list.push(user("session_user", context, Settings::session_user));
    list.push(super::single::array_of_nothing());
    list
}

/// Random version 4 uuids.
pub(crate) fn random_uuids(rows: usize) -> Result<ArrayRef> {
    let values = (0..rows).map(|_| uuid::Uuid::new_v4().into_bytes());
    Ok(Arc::new(arrow::array::FixedSizeBinaryArray::try_from_iter(values).or_else(|error| match rows {
        0 => Ok(arrow::array::FixedSizeBinaryArray::new_null(16, 0)),
        _ => Err(error),
    })?))
}

fn version() -> String {
    format!("PostgreSQL 16.14 (Quiver {}) on {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

fn current_schema(context: &Arc<FunctionContext>) -> Function {
    let first = context.schemas().into_iter().next();
    Function::new("current_schema", Volatility::Stable, SqlType::Name, move |args| {
        Ok(Arc::new(StringArray::from(vec![first.as_deref(); args.rows()])))
    })
}

fn current_schemas(context: &Arc<FunctionContext>) -> Function {
    let schemas = context.schemas();
    Function::new(
        "current_schemas",
        Volatility::Stable,
        SqlType::Array(Box::new(SqlType::Name)),
        move |args| {
            let implicit = args.bool(0)?;
            let item = Arc::new(SqlType::Name.field("item", true));
            let mut out = ListBuilder::new(StringBuilder::new()).with_field(item);
            for row in 0..args.rows() {
                if implicit.is_valid(row)
                    && implicit.value(row)
                    && !schemas.iter().any(|name| name == "pg_catalog")
                {
                    out.values().append_value("pg_catalog");
                }
                schemas.iter().for_each(|name| out.values().append_value(name));
                out.append(true);
            }
            Ok(Arc::new(out.finish()))
        },
    )
}

fn current_setting(context: &Arc<FunctionContext>) -> Function {
    let settings = context.settings.clone();
    Function::new("current_setting", Volatility::Volatile, SqlType::Text, move |args| {
        let names = args.text(0)?;
        let missing_ok = if args.count() > 1 { Some(args.bool(1)?) } else { None };
        let mut out = StringBuilder::new();
        for row in 0..args.rows() {
            if names.is_null(row) {
                out.append_null();
                continue;
            }
            match settings.show(names.value(row)) {
                Ok(value) => out.append_value(value),
                Err(error) => match &missing_ok {
                    Some(ok) if ok.is_valid(row) && ok.value(row) => out.append_null(),
                    _ => return Err(error),
                },
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn set_config(context: &Arc<FunctionContext>) -> Function {
    let (settings, catalog) = (context.settings.clone(), context.cluster.catalog());
    Function::new("set_config", Volatility::Volatile, SqlType::Text, move |args| {
        let (names, values, local) = (args.text(0)?, args.text(1)?, args.bool(2)?);
        let mut out = StringBuilder::new();
        for row in 0..args.rows() {
            if names.is_null(row) {
                return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name"));
            }
            let scope = match local.is_valid(row) && local.value(row) {
                true => SetScope::Local,
                false => SetScope::Session,
            };
            let value = if values.is_null(row) { "" } else { values.value(row) };
            if names.value(row).eq_ignore_ascii_case("role") {
                set_role(&catalog, &settings, Some(value), scope)?;
                out.append_value(value);
                continue;
            }
            out.append_value(settings.set(names.value(row), value, scope)?);
        }
        Ok(Arc::new(out.finish()))
    })
}

/// Sleeps in short steps, so that a cancelled statement wakes up.
fn sleep(context: &Arc<FunctionContext>) -> Function {
    let session = context.session.clone();
    Function::new("pg_sleep", Volatility::Volatile, SqlType::Void, move |args| {
        let (seconds, cancel) = (args.float8(0)?, Cancel::of(&session));
        for row in 0..seconds.len() {
            let total = Duration::try_from_secs_f64(if seconds.is_valid(row) {
                seconds.value(row).max(0.0)
            } else {
                0.0
            })
            .unwrap_or(Duration::from_secs(86_400));
            let start = Instant::now();
            off_the_runtime(|| -> Result<()> {
                while start.elapsed() < total {
                    cancel.check()?;
                    std::thread::sleep((total - start.elapsed().min(total)).min(CANCEL_STEP));
                }
                Ok(())
            })?;
        }
        Ok(constant(args, ""))
    })
}

/// Runs something that blocks without holding up the runtime's other tasks.
pub(super) fn off_the_runtime<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
