//! Statements that a session analysed lately, by their text: drivers send the same one again and again without preparing it. Only
//! what means the same each time is kept, and only as long as it does.

use super::Session;
use super::guard::guarded;
use crate::statement::{self, Analyzed, Parsed, Statement};
use crate::wire::connection::Connection;
use hashbrown::{HashMap, HashSet};
use quiver_base::Result;
use std::collections::VecDeque;
use std::sync::Arc;

/// Statements kept.
const STATEMENTS_MAX: usize = 64;
/// Longer ones are not kept, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Texts that are kept as they were parsed, and the length of the longest, in bytes.
const PARSED_MAX: usize = 16;
const PARSED_BYTES_MAX: usize = 1024;

/// The statements, with the types that the client declared.
#[derive(Debug, Default)]
pub(super) struct KnownStatements {
    /// Short texts that came lately as they were parsed, which depends on nothing else: COPY of one batch after the other, BEGIN, COMMIT.
    parsed: VecDeque<(String, Vec<Arc<Parsed>>)>,
    entries: HashMap<(String, Vec<u32>), Entry>,
    uses: u64,
    /// Texts that are not worth being looked at as parameters and the rest.
    refused: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    analyzed: Analyzed,
    used: u64,
}

impl KnownStatements {
    /// Texts, and what they were found to be.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Analyzed)> {
        self.entries.iter().map(|((text, _), entry)| (text.as_str(), &entry.analyzed))
    }

    /// Whether a text was refused.
    pub(super) fn is_refused(&self, text: &str) -> bool {
        self.refused.contains(text)
    }

    /// Remembers that a text is to go the usual way. All are forgotten once they are many: a refusal may have been due to what has changed since.
    pub(super) fn refuse(&mut self, text: String) {
        if self.refused.len() >= STATEMENTS_MAX {
            self.refused.clear();
        }
        if text.len() <= TEXT_BYTES_MAX {
            self.refused.insert(text);
        }
    }

    fn parsed(&mut self, text: &str) -> Option<Vec<Arc<Parsed>>> {
        let place = self.parsed.iter().position(|(known, _)| known == text)?;
        self.parsed.make_contiguous()[..=place].rotate_right(1);
        self.parsed.front().map(|(_, parsed)| parsed.clone())
    }

    /// Not what may name a password.
    fn keep_parsed(&mut self, text: &str, parsed: &[Arc<Parsed>]) {
        let is_admin = |parsed: &Arc<Parsed>| matches!(parsed.statement, Statement::Admin(_));
        if text.len() <= PARSED_BYTES_MAX && !parsed.iter().any(is_admin) {
            self.parsed.truncate(PARSED_MAX - 1);
            self.parsed.push_front((text.to_owned(), parsed.to_vec()));
        }
    }

    fn find(&mut self, key: &(String, Vec<u32>)) -> Option<Analyzed> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.analyzed.clone())
    }

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
    /// The statements of a query string.
    pub(super) fn parse_text(&self, text: &str) -> Result<Vec<Arc<Parsed>>> {
        if let Some(parsed) = self.info.known.lock().parsed(text) {
            return Ok(parsed);
        }
        let parsed: Vec<_> = statement::parse(text)?.into_iter().map(Arc::new).collect();
        self.info.known.lock().keep_parsed(text, &parsed);
        Ok(parsed)
    }

    /// Keeps a statement for the next time, if it will mean the same.
    pub(super) fn remember(&mut self, text: &str, types: &[u32], analyzed: &Analyzed) {
        if text.len() <= TEXT_BYTES_MAX && analyzed.is_settled() {
            self.info.known.lock().put((text.to_owned(), types.to_vec()), analyzed.clone());
        }
    }

    /// A statement as it was analysed before, if it still means that. The statement has begun then.
    pub(super) async fn recall(
        &mut self,
        conn: &mut Connection,
        text: &str,
        types: &[u32],
    ) -> Result<Option<Analyzed>> {
        if text.len() > TEXT_BYTES_MAX || self.info.known.lock().entries.is_empty() {
            return Ok(None);
        }
        let key = (text.to_owned(), types.to_vec());
        let known = self.info.known.lock().find(&key);
        let Some(analyzed) = known else { return Ok(None) };
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
            self.info.known.lock().entries.remove(&key);
            return Ok(None);
        }
        Ok(Some(analyzed))
    }
}
