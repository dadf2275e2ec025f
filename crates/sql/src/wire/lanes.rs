//! Threads that connections live on. A connection stays on its lane, so that a message wakes one thread, and the system's scheduler
//! shares processors out among sessions. What statements start beside themselves runs on the server's runtime. Knows no protocol.

use parking_lot::Mutex;
use quiver_base::{Error, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::runtime::{Builder, Handle, Runtime};

/// Address space for the stack of a thread that runs statements, in bytes: trees of statements are walked recursively, and the parser
/// lets none pass that needs more. Memory is taken by what is used only.
pub const STACK_BYTES: usize = 64 << 20;

/// Until there are so many for each processor, every connection has a lane to itself.
const LANES_PER_PROCESSOR: usize = 32;
/// While all of them compute there may be so many times as many: a request to cancel must get through.
const SPARE_LANES: usize = 2;

/// The lanes of a server, made as they are needed.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Mutex<Vec<Lane>>,
    lanes_max: usize,
    server: Handle,
}

/// A runtime with one thread.
#[derive(Debug)]
struct Lane {
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    state: Arc<LaneState>,
}

#[derive(Debug, Default)]
struct LaneState {
    connections: AtomicUsize,
    /// A session computes.
    busy: AtomicBool,
}

/// A place on a lane, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Where to start a connection's task.
    pub(super) lane: Handle,
    server: Handle,
    state: Arc<LaneState>,
}

impl Lanes {
    /// None yet. To be called on the server's runtime.
    pub(super) fn new() -> Lanes {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let lanes_max = processors * LANES_PER_PROCESSOR;
        Lanes { lanes: Mutex::default(), lanes_max, server: Handle::current() }
    }

    /// A place on the lane that has the fewest connections, of those where nobody computes now.
    pub(super) fn place(&self) -> Result<Place> {
        let mut lanes = self.lanes.lock();
        let is_room = match lanes.iter().all(|lane| lane.is_busy()) {
            true => lanes.len() < self.lanes_max * SPARE_LANES,
            false => lanes.len() < self.lanes_max,
        };
        if is_room && lanes.iter().all(|lane| lane.connections() > 0 || lane.is_busy()) {
            lanes.push(Lane::start()?);
        }
        let least = lanes.iter().min_by_key(|lane| (lane.is_busy(), lane.connections()));
        let place = least.and_then(|lane| {
            lane.state.connections.fetch_add(1, Ordering::Relaxed);
            Some(Place {
                lane: lane.runtime.as_ref()?.handle().clone(),
                server: self.server.clone(),
                state: lane.state.clone(),
            })
        });
        place.ok_or_else(|| Error::internal("no thread for a connection"))
    }
}

impl Lane {
    fn start() -> Result<Lane> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("quiver-lane")
            .thread_stack_size(STACK_BYTES)
            .enable_io()
            .build()
            .map_err(|cause| Error::io("cannot start a thread for connections", cause))?;
        Ok(Lane { runtime: Some(runtime), state: Arc::default() })
    }

    fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.state.busy.load(Ordering::Relaxed)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it is not allowed where servers are dropped.
            runtime.shutdown_background();
        }
    }
}

impl Place {
    /// A future that runs on the lane and starts tasks and timers on the server's runtime.
    pub(super) fn within<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Within { server: self.server.clone(), state: self.state.clone(), future: Box::pin(future) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lane is busy as long as this lives, also if the session panics.
struct Computing<'a>(&'a LaneState);

impl Computing<'_> {
    fn begin(state: &LaneState) -> Computing<'_> {
        state.busy.store(true, Ordering::Relaxed);
        Computing(state)
    }
}

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

struct Within<F> {
    server: Handle,
    state: Arc<LaneState>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let server = self.server.clone();
        let _entered = server.enter();
        let state = self.state.clone();
        let _computing = Computing::begin(&state);
        self.future.as_mut().poll(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_spread_and_their_tasks_go_to_the_server() {
        let lanes = Lanes { lanes_max: 2, ..Lanes::new() };
        let places: Vec<Place> = (0..4).map(|_| lanes.place().unwrap()).collect();
        assert_eq!(lanes.lanes.lock().iter().map(Lane::connections).collect::<Vec<_>>(), [2, 2]);
        let mut threads = HashSet::new();
        for place in &places {
            let here = || (std::thread::current().id(), std::thread::current().name().map(str::to_owned));
            let both =
                place.within(async move { (here(), tokio::spawn(async move { here() }).await.unwrap()) });
            let (lane, task) = place.lane.spawn(both).await.unwrap();
            assert_eq!(lane.1.as_deref(), Some("quiver-lane"));
            assert_ne!(task.1.as_deref(), Some("quiver-lane"));
            threads.insert(lane.0);
        }
        assert_eq!(threads.len(), 2);
        drop(places);
        assert_eq!(lanes.lanes.lock().iter().map(Lane::connections).collect::<Vec<_>>(), [0, 0]);
        lanes.place().unwrap();
        assert_eq!(lanes.lanes.lock().len(), 2, "an empty lane is used again");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_is_put_behind_a_session_that_computes() {
        let lanes = Lanes { lanes_max: 1, ..Lanes::new() };
        let first = lanes.place().unwrap();
        let (begun, waits) = std::sync::mpsc::channel();
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let computes = first.within(async move {
            begun.send(()).unwrap();
            end.recv().unwrap();
        });
        let task = first.lane.spawn(computes);
        waits.recv().unwrap();
        let second = lanes.place().unwrap();
        assert_eq!(second.lane.spawn(second.within(async { 7 })).await.unwrap(), 7);
        ends.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(lanes.lanes.lock().len(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_blocks_may_say_so_on_a_lane() {
        let lanes = Lanes::new();
        let place = lanes.place().unwrap();
        let blocked = place.within(async { tokio::task::block_in_place(|| 7) });
        assert_eq!(place.lane.spawn(blocked).await.unwrap(), 7);
    }
}
