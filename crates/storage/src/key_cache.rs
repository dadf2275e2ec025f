//! Hash indexes of a memtable chunk's keys, made when first asked for. Derived from the rows, so never replicated.

use crate::KeyDef;
use crate::key::{KeyEncoder, key_hash};
use arrow::array::ArrayRef;
use hashbrown::HashTable;
use parking_lot::Mutex;
use quiver_base::{ColumnId, Result};
use std::sync::Arc;

/// One index per set of key columns.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    indexes: Mutex<Vec<(Vec<ColumnId>, Arc<HashedKeys>)>>,
}

impl KeyCache {
    /// The index of a key; `columns` reads the key's columns if there is none yet.
    pub(crate) fn get(
        &self,
        key: &KeyDef,
        columns: impl FnOnce() -> Result<Vec<ArrayRef>>,
    ) -> Result<Arc<HashedKeys>> {
        let mut indexes = self.indexes.lock();
        if let Some((_, index)) = indexes.iter().find(|(columns, _)| *columns == key.columns) {
            return Ok(index.clone());
        }
        let index = Arc::new(HashedKeys::new(&columns()?)?);
        indexes.push((key.columns.clone(), index.clone()));
        Ok(index)
    }
}

/// Row positions by the hash of their key; rows with a NULL in it are left out.
#[derive(Debug)]
pub(crate) struct HashedKeys {
    table: HashTable<(u64, u32)>,
}

impl HashedKeys {
    fn new(columns: &[ArrayRef]) -> Result<HashedKeys> {
        let encoder = KeyEncoder::new(columns)?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut table = HashTable::with_capacity(rows);
        let mut key = Vec::new();
        for row in 0..rows {
            key.clear();
            if encoder.encode(row, &mut key) {
                let hash = key_hash(&key);
                table.insert_unique(hash, (hash, row as u32), |(hash, _)| *hash);
            }
        }
        Ok(HashedKeys { table })
    }

    /// Positions of rows with this hash.
    pub(crate) fn positions(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        self.table.iter_hash(hash).filter(move |(found, _)| *found == hash).map(|(_, row)| *row)
    }
}
