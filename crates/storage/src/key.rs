//! The one encoding of key values to bytes, and its hash. Key files, shard routing and key locks rely on it, so it never
//! changes: equal values of one key have equal bytes, different values different bytes.

use arrow::array::ArrayRef;
use quiver_base::{Error, Result};

/// The bytes of a row's key; `None` if a value is NULL. An error if a column's type cannot be in a key.
pub fn encode_key(_columns: &[ArrayRef], _row: usize) -> Result<Option<Vec<u8>>> {
    Err(Error::unsupported("a key"))
}

/// The hash of a key's bytes.
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}
