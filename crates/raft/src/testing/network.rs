//! A network in memory between Raft nodes: it can lose, delay, double and cut. Knows frames only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use parking_lot::Mutex;
use quiver_base::NodeId;

use super::Dice;
use crate::node::RaftNode;
use crate::wire::Wire;

/// Joins nodes. Clones are handles of the same network.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    posted: Sender<Frame>,
}

struct State {
    nodes: HashMap<NodeId, RaftNode>,
    /// Directed pairs between which nothing passes.
    cut: HashSet<(NodeId, NodeId)>,
    loss_percent: u64,
    double_percent: u64,
    delay_max: Duration,
    dice: Dice,
    delivered: u64,
    /// The next so many frames of at least so many bytes are lost.
    lose_large: (usize, usize),
}

struct Frame {
    due: Instant,
    /// Breaks ties of `due`, in the order of sending.
    number: u64,
    from: NodeId,
    to: NodeId,
    bytes: Bytes,
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Frame {}

impl PartialOrd for Frame {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Frame {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

struct Plug {
    from: NodeId,
    network: Network,
}

impl Network {
    /// A network without faults.
    pub fn new(seed: u64) -> Network {
        let (posted, queue) = unbounded();
        let state = Arc::new(Mutex::new(State {
            nodes: HashMap::new(),
            cut: HashSet::new(),
            loss_percent: 0,
            double_percent: 0,
            delay_max: Duration::ZERO,
            dice: Dice::new(seed),
            delivered: 0,
            lose_large: (0, 0),
        }));
        // The thread ends with the last sender; what is on its way then is lost.
        let deliver_to = Arc::downgrade(&state);
        thread::spawn(move || {
            deliver(&queue, |frame| {
                let Some(state) = deliver_to.upgrade() else { return };
                let mut state = state.lock();
                if state.cut.contains(&(frame.from, frame.to)) {
                    return;
                }
                state.delivered += 1;
                let node = state.nodes.get(&frame.to).cloned();
                drop(state);
                if let Some(node) = node {
                    node.receive(frame.bytes);
                }
            })
        });
        Network { state, posted }
    }

    /// The wire that a node sends with.
    pub fn wire(&self, from: NodeId) -> Arc<dyn Wire> {
        Arc::new(Plug { from, network: self.clone() })
    }

    /// From now on frames reach this node. The network keeps a handle of it until `detach`.
    pub fn attach(&self, node: &RaftNode) {
        self.state.lock().nodes.insert(node.node(), node.clone());
    }

    /// From now on frames to this node are lost.
    pub fn detach(&self, node: NodeId) {
        let _handle = self.state.lock().nodes.remove(&node);
    }

    /// Cuts everything between the two sides, both ways.
    pub fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        let mut state = self.state.lock();
        for a in one {
            for b in other {
                state.cut.insert((*a, *b));
                state.cut.insert((*b, *a));
            }
        }
    }

    /// Cuts one direction only.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state.lock().cut.insert((from, to));
    }

    /// Mends all cuts.
    pub fn heal(&self) {
        self.state.lock().cut.clear();
    }

    /// Loses and doubles so many of 100 frames, and delays each by up to `delay_max`: they overtake.
    pub fn disturb(&self, loss_percent: u64, double_percent: u64, delay_max: Duration) {
        let mut state = self.state.lock();
        state.loss_percent = loss_percent;
        state.double_percent = double_percent;
        state.delay_max = delay_max;
    }

    /// Loses the next `count` frames of at least `bytes` bytes.
    pub fn lose_large(&self, count: usize, bytes: usize) {
        self.state.lock().lose_large = (count, bytes);
    }

    /// How many of the frames that `lose_large` asked for are still to be lost.
    pub fn large_to_lose(&self) -> usize {
        self.state.lock().lose_large.0
    }

    /// Frames delivered so far.
    pub fn delivered(&self) -> u64 {
        self.state.lock().delivered
    }
}

impl Wire for Plug {
    fn send(&self, to: NodeId, bytes: Bytes) {
        let mut state = self.network.state.lock();
        let mut copies = 1;
        let (loss, double) = (state.loss_percent, state.double_percent);
        if state.cut.contains(&(self.from, to)) || state.dice.chance(loss) {
            copies = 0;
        } else if state.dice.chance(double) {
            copies = 2;
        }
        let (large_count, large_bytes) = state.lose_large;
        if copies > 0 && large_count > 0 && bytes.len() >= large_bytes {
            state.lose_large.0 -= 1;
            copies = 0;
        }
        let delay_max = state.delay_max.as_micros() as u64;
        for _ in 0..copies {
            let delay = Duration::from_micros(state.dice.below(delay_max + 1));
            let frame =
                Frame { due: Instant::now() + delay, number: 0, from: self.from, to, bytes: bytes.clone() };
            let _ended = self.network.posted.send(frame);
        }
    }
}

fn deliver(queue: &Receiver<Frame>, hand_over: impl Fn(Frame)) {
    let mut waiting = BinaryHeap::new();
    let mut number = 0;
    loop {
        let next = waiting.peek().map(|Reverse(frame): &Reverse<Frame>| frame.due);
        let received = match next {
            Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(frame) => {
                number += 1;
                waiting.push(Reverse(Frame { number, ..frame }));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse(frame)| frame.due <= Instant::now()) {
            if let Some(Reverse(frame)) = waiting.pop() {
                hand_over(frame);
            }
        }
    }
}
