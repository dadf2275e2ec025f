//! pg_advisory_lock and its kin: the arguments become a key, the session's locks do the rest.

use super::session::{Cancel, FunctionContext, constant, off_the_runtime};
use super::{Args, Function};
use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{AdvisoryKey, AdvisoryMode};
use std::sync::Arc;

/// Functions that may wait for long.
pub(crate) const WAITING: &[&str] = &[
    "pg_sleep",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
];

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let mut list = vec![unlock_all(context), blocking_pids(context)];
    for to_transaction_end in [false, true] {
        let scope = if to_transaction_end { "xact_" } else { "" };
        for shared in [false, true] {
            let suffix = if shared { "_shared" } else { "" };
            let mode = AdvisoryMode { shared, to_transaction_end };
            list.push(lock(context, &format!("pg_advisory_{scope}lock{suffix}"), mode));
            list.push(try_lock(context, &format!("pg_try_advisory_{scope}lock{suffix}"), mode));
        }
    }
    list.push(unlock(context, "pg_advisory_unlock", false));
    list.push(unlock(context, "pg_advisory_unlock_shared", true));
    list
}

/// One key a row; `None` where an argument is NULL: the function is not called then.
fn keys(context: &FunctionContext, args: &Args<'_>, name: &str) -> Result<Vec<Option<AdvisoryKey>>> {
    let database = context.database.id;
    let halves = |value: i64| ((value >> 32) as u32, value as u32);
    match args.count() {
        1 => {
            let values = args.int8(0)?;
            let key = |value| {
                let (high, low) = halves(value);
                AdvisoryKey { database, high, low, is_pair: false }
            };
            Ok(values.iter().map(|value| value.map(key)).collect())
        }
        2 => {
            let (first, second) = (args.int8(0)?, args.int8(1)?);
            let fits = |value: i64| {
                i32::try_from(value)
                    .map(|value| value as u32)
                    .map_err(|_| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"))
            };
            let key = |(first, second): (Option<i64>, Option<i64>)| match (first, second) {
                (Some(first), Some(second)) => {
                    Ok(Some(AdvisoryKey { database, high: fits(first)?, low: fits(second)?, is_pair: true }))
                }
                _ => Ok(None),
            };
            first.iter().zip(&second).map(key).collect()
        }
        _ => Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("function {name} takes one bigint or two integers"),
        )),
    }
}

/// Waits, but not past a cancel.
fn wait_for<T>(cancel: &Cancel, wait: impl Future<Output = Result<T>>) -> Result<T> {
    let handle = tokio::runtime::Handle::try_current()
        .map_err(|_| Error::internal("an advisory lock outside of the server's threads"))?;
    off_the_runtime(|| {
        handle.block_on(async {
            tokio::select! {
                biased;
                result = wait => result,
                error = cancel.happens() => Err(error),
            }
        })
    })
}

fn lock(context: &Arc<FunctionContext>, name: &str, mode: AdvisoryMode) -> Function {
    let (context, own_name) = (context.clone(), name.to_owned());
    Function::new(name, Volatility::Volatile, SqlType::Void, move |args| {
        let cancel = Cancel::of(&context.session);
        let timeout = context.settings.timeout("lock_timeout");
        let keys = keys(&context, args, &own_name)?;
        for key in keys.iter().flatten().copied() {
            wait_for(&cancel, async {
                let mut locks = context.session.advisory.lock().await;
                locks.lock(key, mode, timeout).await
            })?;
        }
        let done = keys.into_iter().map(|key| key.map(|_| ""));
        Ok(Arc::new(done.collect::<StringArray>()) as ArrayRef)
    })
}

/// Calls something for every key, with the session's locks.
fn each(
    context: &FunctionContext,
    args: &Args<'_>,
    name: &str,
    mut call: impl FnMut(&mut quiver_cluster::AdvisoryLocks, AdvisoryKey) -> bool,
) -> Result<ArrayRef> {
    let keys = keys(context, args, name)?;
    let cancel = Cancel::of(&context.session);
    wait_for(&cancel, async {
        let mut locks = context.session.advisory.lock().await;
        let answers = keys.into_iter().map(|key| key.map(|key| call(&mut locks, key)));
        Ok(Arc::new(BooleanArray::from(answers.collect::<Vec<_>>())) as ArrayRef)
    })
}

fn try_lock(context: &Arc<FunctionContext>, name: &str, mode: AdvisoryMode) -> Function {
    let (context, own_name) = (context.clone(), name.to_owned());
    Function::new(name, Volatility::Volatile, SqlType::Bool, move |args| {
        each(&context, args, &own_name, |locks, key| locks.try_lock(key, mode))
    })
}

fn unlock(context: &Arc<FunctionContext>, name: &str, shared: bool) -> Function {
    let (context, own_name) = (context.clone(), name.to_owned());
    Function::new(name, Volatility::Volatile, SqlType::Bool, move |args| {
        each(&context, args, &own_name, |locks, key| {
            let was_held = locks.unlock(key, shared);
            if !was_held {
                let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
                context.session.warn(format!("you don't own a lock of type {mode}"));
            }
            was_held
        })
    })
}

fn unlock_all(context: &Arc<FunctionContext>) -> Function {
    let context = context.clone();
    Function::new("pg_advisory_unlock_all", Volatility::Volatile, SqlType::Void, move |args| {
        let cancel = Cancel::of(&context.session);
        wait_for(&cancel, async {
            context.session.advisory.lock().await.unlock_all();
            Ok(())
        })?;
        Ok(constant(args, ""))
    })
}

/// pg_blocking_pids.
fn blocking_pids(context: &Arc<FunctionContext>) -> Function {
    let cluster = context.cluster.clone();
    let ty = SqlType::Array(Box::new(SqlType::Int4));
    Function::new("pg_blocking_pids", Volatility::Volatile, ty, move |args| {
        let pids = args.int8(0)?;
        let field = Arc::new(SqlType::Int4.field("item", true));
        let mut out = ListBuilder::new(Int32Array::builder(0)).with_field(field);
        for row in 0..pids.len() {
            if pids.is_null(row) {
                out.append_null();
                continue;
            }
            let blocking = cluster.blocking_sessions(pids.value(row).max(0).unsigned_abs());
            out.append_value(blocking.into_iter().map(|session| i32::try_from(session).ok()));
        }
        Ok(Arc::new(out.finish()))
    })
}
