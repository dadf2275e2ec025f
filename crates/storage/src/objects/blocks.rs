//! A mapped object that is checked block by block, when a block is first read.

use super::{ObjectMap, ObjectRef, damaged};
use bytes::Bytes;
use quiver_base::{Error, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes that share a checksum: large enough that the list of them is short, small enough to read for one page.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// Blocks of an object.
pub(super) fn count(bytes: u64) -> usize {
    bytes.div_ceil(BLOCK_BYTES as u64) as usize
}

/// A mapped object whose bytes have been checked before they are seen.
#[derive(Debug)]
pub struct BlockMap {
    object: ObjectRef,
    bytes: Bytes,
    /// Checksum of each block and whether it has been compared; none if all of the object has been checked.
    blocks: Vec<(u32, AtomicBool)>,
    damage: OnceLock<Error>,
}

impl BlockMap {
    pub(super) fn checked(object: &ObjectRef, map: Arc<ObjectMap>) -> BlockMap {
        BlockMap { object: object.clone(), bytes: map.bytes(), blocks: Vec::new(), damage: OnceLock::new() }
    }

    pub(super) fn unchecked(object: &ObjectRef, map: Arc<ObjectMap>, blocks: &[u32]) -> BlockMap {
        let blocks = blocks.iter().map(|crc| (*crc, AtomicBool::new(false))).collect();
        BlockMap { object: object.clone(), bytes: map.bytes(), blocks, damage: OnceLock::new() }
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The first damage that was found: for readers that cannot hand errors on as they are.
    pub fn damage(&self) -> Option<Error> {
        self.damage.get().cloned()
    }

    /// A part of it. Damage in any block that the part touches is XX001 and names the object.
    pub fn read(&self, range: Range<usize>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.bytes.len() {
            return Err(Error::internal(format!("object \"{}\": bytes beyond its end", self.object.path)));
        }
        if !self.blocks.is_empty() {
            for block in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
                self.check(block)?;
            }
        }
        Ok(self.bytes.slice(range))
    }

    /// Two threads may both compare a block; that is cheaper than making one wait.
    fn check(&self, block: usize) -> Result<()> {
        let (crc, checked) = &self.blocks[block];
        if checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let start = block * BLOCK_BYTES;
        let end = self.bytes.len().min(start + BLOCK_BYTES);
        if crc32c::crc32c(&self.bytes[start..end]) != *crc {
            let damage =
                || damaged(&self.object, &format!("the checksum of bytes {start} to {end} is wrong"));
            return Err(self.damage.get_or_init(damage).clone());
        }
        checked.store(true, Ordering::Relaxed);
        Ok(())
    }
}
