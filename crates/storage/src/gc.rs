//! Objects that left the manifest: deleted once no snapshot can read them.

use crate::filter_cache::FilterCache;
use crate::sealed::Sealed;
use crate::version::Version;
use crate::{Publish, Segment, StorageEnv};
use quiver_base::{Result, ShardId};
use std::collections::HashSet;
use std::sync::{Arc, Weak};

/// Objects that may be deleted when nobody holds what named them.
#[derive(Debug)]
pub(crate) struct Retired {
    paths: Vec<String>,
    /// This version of the segment.
    segment: Weak<Segment>,
    /// Every version of it: a snapshot may hold an older one that names the same objects.
    all: Weak<FilterCache>,
    /// Whether the segment lives on and only some objects were replaced.
    replaced: bool,
}

impl Retired {
    /// What a publish took out of the manifest.
    pub(crate) fn new(sealed: &Sealed, version: &Version) -> Retired {
        Retired {
            paths: sealed.meta().objects().map(|object| object.path.clone()).collect(),
            segment: Arc::downgrade(&sealed.segment),
            all: Arc::downgrade(&sealed.filters),
            replaced: version.segment(sealed.meta().id).is_some(),
        }
    }

    /// Its objects.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.paths.iter().cloned()
    }

    fn is_held(&self) -> bool {
        if self.replaced { self.segment.strong_count() > 0 } else { self.all.strong_count() > 0 }
    }
}

/// Where a shard's objects are.
pub(crate) fn prefix(shard: ShardId) -> String {
    format!("shards/{shard}")
}

/// Paths that a version names.
pub(crate) fn named(version: &Version) -> HashSet<String> {
    let objects = version.all_segments().flat_map(|sealed| sealed.meta().objects());
    objects.map(|object| object.path.clone()).collect()
}

/// Deletes what is retired and held by nobody; what cannot be deleted now stays on the list. Returns how many objects went.
pub(crate) fn collect(
    env: &StorageEnv,
    retired: &mut Vec<Retired>,
    named: &HashSet<String>,
) -> Result<usize> {
    let held: HashSet<String> = retired
        .iter()
        .filter(|entry| entry.is_held())
        .flat_map(|entry| entry.paths.iter().cloned())
        .collect();
    let mut deleted = 0;
    let mut kept = Vec::new();
    let mut failed = None;
    for mut entry in retired.drain(..) {
        if entry.is_held() || failed.is_some() {
            kept.push(entry);
            continue;
        }
        let gone = entry.paths.iter().filter(|path| !named.contains(*path) && !held.contains(*path));
        match gone.map(|path| env.objects.delete(path)).collect::<Result<Vec<()>>>() {
            Ok(paths) => deleted += paths.len(),
            Err(error) => {
                entry.segment = Weak::new();
                failed = Some(error);
                kept.push(entry);
            }
        }
    }
    *retired = kept;
    failed.map_or(Ok(deleted), Err)
}

/// Deletes what a job that ended in nothing has written.
pub(crate) fn discard(env: &StorageEnv, publish: &Publish, named: &HashSet<String>) -> Result<usize> {
    let orphans = publish.objects().into_iter().filter(|object| !named.contains(&object.path));
    let deleted = orphans.map(|object| env.objects.delete(&object.path)).collect::<Result<Vec<()>>>()?;
    Ok(deleted.len())
}

/// Deletes objects of a shard that nothing names: leftovers of jobs that a crash cut off.
pub(crate) fn sweep(env: &StorageEnv, shard: ShardId, named: &HashSet<String>) -> Result<usize> {
    let stored = env.objects.list(&prefix(shard))?;
    let orphans = stored.iter().filter(|object| !named.contains(&object.path));
    let deleted = orphans.map(|object| env.objects.delete(&object.path)).collect::<Result<Vec<()>>>()?;
    Ok(deleted.len())
}
