//! What other crates' tests need to hurt a Raft cluster: files that forget, and a network that fails.
#![allow(clippy::unwrap_used)] // a poisoned test is a failed test

mod lossy_fs;
mod network;

pub use lossy_fs::{LossyFs, Residue};
pub use network::Network;

/// A small generator of repeatable randomness (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// The same seed throws the same dice.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// True in `percent` of 100 throws.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
