//! pg_cancel_backend and pg_terminate_backend: one session stops another.

use super::{Function, FunctionContext};
use crate::session::Stop;
use arrow::array::BooleanArray;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    vec![
        signal(context, "pg_cancel_backend", Stop::Cancel),
        signal(context, "pg_terminate_backend", Stop::Terminate),
    ]
}

fn signal(context: &Arc<FunctionContext>, name: &str, stop: Stop) -> Function {
    let context = context.clone();
    Function::new(name, Volatility::Volatile, SqlType::Bool, move |args| {
        let pids = args.int8(0)?;
        let sent = pids.iter().map(|pid| pid.map(|pid| send(&context, pid, stop)).transpose());
        Ok(Arc::new(sent.collect::<Result<BooleanArray>>()?))
    })
}

/// Whether there is such a session; 42501 if it is somebody else's.
fn send(context: &FunctionContext, pid: i64, stop: Stop) -> Result<bool> {
    let backends = context.session.backends.upgrade();
    let found = i32::try_from(pid).ok().and_then(|pid| backends?.find(pid));
    let Some(other) = found else {
        context.session.warn(format!("PID {pid} is not a PostgreSQL backend process"));
        return Ok(false);
    };
    if other.role != context.session.role && !context.settings.is_on("is_superuser") {
        let (what, doing) = match stop {
            Stop::Cancel => ("cancel query", "query is being canceled"),
            Stop::Terminate => ("terminate process", "process is being terminated"),
        };
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied to {what}"))
            .with_detail(format!("Only roles with privileges of the role whose {doing} may do so.")));
    }
    other.interrupt.request(stop);
    Ok(true)
}
