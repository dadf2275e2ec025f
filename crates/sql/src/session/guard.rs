//! Runs a step of a statement so that cancel, timeouts, the client's leaving and panics end it and nothing else.

use super::info::{SessionInfo, Stop};
use crate::wire::connection::Input;
use futures::FutureExt;
use quiver_base::{Error, Result, SqlState};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::time::Instant;

/// What ends a statement early.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// Seen by blocking work. A fresh one for every statement, so that work which outlives it still stops.
    pub flag: Arc<AtomicBool>,
    /// statement_timeout.
    pub deadline: Option<Instant>,
}

impl Watch {
    /// For a statement that begins now.
    pub(super) fn new(deadline: Option<Instant>) -> Watch {
        Watch { flag: Arc::new(AtomicBool::new(false)), deadline }
    }

    /// Whether its time is up.
    fn is_past(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Runs `step` to its end or until something stops it; it is dropped then. A cancel that comes after it, while the statement has more
/// steps to go, stops the next one: only `Interrupt::finish` ends that.
pub(super) async fn guarded<T>(
    input: &mut Input,
    info: &SessionInfo,
    watch: &Watch,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    info.interrupt.start(watch.flag.clone());
    let alarm = Alarm::set(watch);
    let mut caught = pin!(AssertUnwindSafe(step).catch_unwind());
    let caught_panic = |panic: Box<dyn Any + Send>| Err(panicked(&*panic));
    // Most steps are over at once: what could stop them is looked at only once they wait.
    let result = match futures::poll!(caught.as_mut()) {
        Poll::Ready(result) => result.unwrap_or_else(caught_panic),
        Poll::Pending => tokio::select! {
            biased;
            result = caught => result.unwrap_or_else(caught_panic),
            stop = info.interrupt.wanted() => Err(stopped(stop)),
            () = sleep_until(watch.deadline) => Err(timed_out()),
            () = input.disconnected() => {
                Err(Error::new(SqlState::CONNECTION_FAILURE, "connection to client lost"))
            }
        },
    };
    drop(alarm);
    result.map_err(|error| {
        let asked = info.interrupt.asked();
        info.interrupt.finish();
        // Whatever still works for the statement in another task ends too: it may hold locks of the session.
        watch.flag.store(true, Ordering::SeqCst);
        // What saw the flag does not know who set it.
        let timed = error.state() == SqlState::QUERY_CANCELED && !asked && watch.is_past();
        if timed { timed_out() } else { error }
    })
}

/// Sets a statement's flag at its deadline while the statement computes and does not look at the clock.
struct Alarm(Option<tokio::task::JoinHandle<()>>);

impl Alarm {
    fn set(watch: &Watch) -> Alarm {
        let (flag, deadline) = (watch.flag.clone(), watch.deadline);
        Alarm(deadline.map(|deadline| {
            tokio::spawn(async move {
                tokio::time::sleep_until(deadline).await;
                flag.store(true, Ordering::SeqCst);
            })
        }))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Waits for the client in the midst of a statement, but not past a cancel or a timeout.
pub(super) async fn waiting<T>(
    info: &SessionInfo,
    watch: &Watch,
    client: impl Future<Output = Result<T>>,
) -> Result<T> {
    info.interrupt.start(watch.flag.clone());
    let result = tokio::select! {
        biased;
        result = client => result,
        stop = info.interrupt.wanted() => Err(stopped(stop)),
        () = sleep_until(watch.deadline) => Err(timed_out()),
    };
    result.inspect_err(|_| info.interrupt.finish())
}

fn timed_out() -> Error {
    Error::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}

fn stopped(stop: Stop) -> Error {
    match stop {
        Stop::Cancel => Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"),
        Stop::Terminate => shut_down(),
    }
}

/// 57P01.
pub(super) fn shut_down() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(panic = text, "a statement panicked");
    Error::internal(format!("internal error: {text}"))
        .with_hint("This is a bug in Quiver. The server goes on; please report it.")
}

/// After these nobody is there to go on with.
pub(super) fn ends_session(error: &Error) -> bool {
    matches!(error.state(), SqlState::CONNECTION_FAILURE | SqlState::ADMIN_SHUTDOWN)
}
