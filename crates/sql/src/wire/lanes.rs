//! Threads that connections live on. A connection stays on its lane, so that a message wakes one thread, and the system's scheduler
//! shares processors out among sessions. What statements start beside themselves runs on the server's runtime. Knows no protocol.

use parking_lot::Mutex;
use quiver_base::{Error, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::{Builder, Handle, Runtime};

/// Address space for the stack of a thread that runs statements, in bytes: trees of statements are walked recursively, and the parser
/// lets none pass that needs more. Memory is taken by what is used only.
pub const STACK_BYTES: usize = 64 << 20;

/// Until there are so many for each processor, every connection has a lane to itself.
const LANES_PER_PROCESSOR: usize = 8;

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
    /// One more than the connections on it.
    uses: Arc<()>,
}

/// A place on a lane, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Where to start a connection's task.
    pub(super) lane: Handle,
    server: Handle,
    _use: Arc<()>,
}

impl Lanes {
    /// None yet. To be called on the server's runtime.
    pub(super) fn new() -> Lanes {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let lanes_max = processors * LANES_PER_PROCESSOR;
        Lanes { lanes: Mutex::default(), lanes_max, server: Handle::current() }
    }

    /// A place on the lane that has the fewest connections.
    pub(super) fn place(&self) -> Result<Place> {
        let mut lanes = self.lanes.lock();
        if lanes.len() < self.lanes_max && lanes.iter().all(|lane| lane.connections() > 0) {
            lanes.push(Lane::start()?);
        }
        let least = lanes.iter().min_by_key(|lane| lane.connections());
        let place = least.and_then(|lane| {
            Some(Place {
                lane: lane.runtime.as_ref()?.handle().clone(),
                server: self.server.clone(),
                _use: lane.uses.clone(),
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
        Ok(Lane { runtime: Some(runtime), uses: Arc::new(()) })
    }

    fn connections(&self) -> usize {
        Arc::strong_count(&self.uses) - 1
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
        Within { server: self.server.clone(), future: Box::pin(future) }
    }
}

struct Within<F> {
    server: Handle,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let server = self.server.clone();
        let _entered = server.enter();
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
    async fn what_blocks_may_say_so_on_a_lane() {
        let lanes = Lanes::new();
        let place = lanes.place().unwrap();
        let blocked = place.within(async { tokio::task::block_in_place(|| 7) });
        assert_eq!(place.lane.spawn(blocked).await.unwrap(), 7);
    }
}
