//! Statements that a session analysed lately, by their text: drivers send the same one again and again without preparing it. Only
//! what means the same each time is kept, and only as long as it does.

use super::Session;
use super::guard::guarded;
use crate::statement::Analyzed;
use crate::wire::connection::Connection;
use quiver_base::Result;
use std::collections::HashMap;

/// Statements kept.
const STATEMENTS_MAX: usize = 64;
/// Longer ones are not kept, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The statements, with the types that the client declared.
#[derive(Debug, Default)]
pub(super) struct KnownStatements {
    entries: HashMap<(String, Vec<u32>), Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    analyzed: Analyzed,
    used: u64,
}

impl KnownStatements {
    fn put(&mut self, key: (String, Vec<u32>), analyzed: Analyzed) {
        self.uses += 1;
        let entry = Entry { analyzed, used: self.uses };
        self.entries.insert(key, entry);
        if self.entries.len() > STATEMENTS_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
    }
}

impl Session {
    /// Keeps a statement for the next time, if it will mean the same.
    pub(super) fn remember(&mut self, text: &str, types: &[u32], analyzed: &Analyzed) {
        if text.len() <= TEXT_BYTES_MAX && analyzed.is_settled() {
            self.known.put((text.to_owned(), types.to_vec()), analyzed.clone());
        }
    }

    /// A statement as it was analysed before, if it still means that. The statement has begun then.
    pub(super) async fn recall(
        &mut self,
        conn: &mut Connection,
        text: &str,
        types: &[u32],
    ) -> Result<Option<Analyzed>> {
        if text.len() > TEXT_BYTES_MAX || self.known.entries.is_empty() {
            return Ok(None);
        }
        let key = (text.to_owned(), types.to_vec());
        let Some(entry) = self.known.entries.get(&key) else { return Ok(None) };
        let analyzed = entry.analyzed.clone();
        self.ensure_transaction()?;
        let watch = self.watch();
        let info = self.info.clone();
        let ctx = self.context(&watch, true)?;
        let current = async {
            ctx.txn.begin_statement().await?;
            Ok(analyzed.is_current(&ctx))
        };
        let current = guarded(&mut conn.input, &info, &watch, Box::pin(current)).await?;
        if !current {
            self.known.entries.remove(&key);
            return Ok(None);
        }
        self.known.uses += 1;
        let used = self.known.uses;
        if let Some(entry) = self.known.entries.get_mut(&key) {
            entry.used = used;
        }
        Ok(Some(analyzed))
    }
}
