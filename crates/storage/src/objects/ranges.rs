//! Parts of objects, read side by side: for who wants little of an object that is too large to be fetched. Knows bytes and bounds;
//! whoever asks checks what he gets.

use super::remote::RemoteStore;
use super::{ObjectRef, Objects, Store, check_path};
use bytes::Bytes;
use quiver_base::{Error, Result};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Between two wanted parts so many bytes are read too, for that takes less than another request.
const GAP_BYTES: u64 = 16 * 1024;

/// What was asked of a remote store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteReads {
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes that came.
    pub bytes: u64,
}

impl Objects {
    /// Whether an object can be read without a request: it is a file here, or in the cache.
    pub fn is_at_hand(&self, path: &str) -> bool {
        self.is_local() || self.maps.is_cached(path)
    }

    /// Compares a file that was just written here with its checksums, so that no search has to.
    pub(crate) fn check_written(&self, object: &ObjectRef) -> Result<()> {
        if self.is_local() { self.map(object).map(drop) } else { Ok(()) }
    }

    /// Parts of one object, unchecked, in the order in which they were asked for: from the cache if the object is there, else with
    /// all requests on their way at once, as far as bounds allow. One that fails fails all.
    pub fn read_parts(&self, path: &str, parts: &[Range<u64>]) -> Result<(Vec<Bytes>, RemoteReads)> {
        check_path(path)?;
        let none = RemoteReads::default();
        let store = match &self.store {
            Store::Local(store) => return Ok((read_file(&store.file_path(path), parts)?, none)),
            Store::Remote(store) => store,
        };
        if self.maps.is_cached(path)
            && let Ok(read) = read_file(&store.cache_path(path), parts)
        {
            return Ok((read, none));
        }
        let runs = join(parts, GAP_BYTES);
        let wanted: Vec<Range<u64>> = runs.iter().map(|(run, _)| run.clone()).collect();
        let read = store.get_ranges(path, &wanted)?;
        let reads = RemoteReads {
            requests: store.requests_for(&wanted),
            bytes: wanted.iter().map(|run| run.end - run.start).sum(),
        };
        let mut answer = vec![Bytes::new(); parts.len()];
        for ((run, members), bytes) in runs.iter().zip(&read) {
            for at in members {
                let part = &parts[*at];
                let inside = (part.start - run.start) as usize..(part.end - run.start) as usize;
                answer[*at] = bytes.slice(inside);
            }
        }
        Ok((answer, reads))
    }
}

/// Ranges that lie near each other as one, each with the places of its members.
fn join(parts: &[Range<u64>], gap: u64) -> Vec<(Range<u64>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..parts.len()).filter(|at| !parts[*at].is_empty()).collect();
    order.sort_unstable_by_key(|at| parts[*at].start);
    let mut runs: Vec<(Range<u64>, Vec<usize>)> = Vec::new();
    for at in order {
        let part = &parts[at];
        match runs.last_mut() {
            Some((run, members)) if part.start <= run.end.saturating_add(gap) => {
                run.end = run.end.max(part.end);
                members.push(at);
            }
            _ => runs.push((part.clone(), vec![at])),
        }
    }
    runs
}

fn read_file(path: &Path, parts: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let failed = |e| Error::io(format!("reading {}", path.display()), e);
    let file = File::open(path).map_err(failed)?;
    let read = |part: &Range<u64>| {
        let mut bytes = vec![0; (part.end - part.start) as usize];
        file.read_exact_at(&mut bytes, part.start).map_err(failed)?;
        Ok(Bytes::from(bytes))
    };
    parts.iter().map(read).collect()
}

impl RemoteStore {
    /// How many requests [`RemoteStore::get_ranges`] makes if none fails.
    fn requests_for(&self, ranges: &[Range<u64>]) -> u64 {
        ranges.iter().map(|range| self.parts(range.clone()).len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_near_is_read_at_once() {
        let parts = [100..110, 0..10, 12..20, 5..8, 300..300, 121..130];
        assert_eq!(join(&parts, 10), vec![(0..20, vec![1, 3, 2]), (100..110, vec![0]), (121..130, vec![5])]);
        assert_eq!(join(&parts, 11).len(), 2);
        assert!(join(&[], 5).is_empty());
    }
}
