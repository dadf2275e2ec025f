//! The one door to object storage.

use quiver_base::Result;
use std::path::Path;
use std::sync::Arc;

/// An object store under a prefix, with durable puts and mapped reads.
#[derive(Debug)]
pub struct Objects {}

impl Objects {
    /// Opens `file:///path`, `s3://bucket/prefix`, `gs://…` or `az://…`. `cache_dir` holds what is mapped when the store is remote.
    pub async fn open(_url: &str, _cache_dir: &Path) -> Result<Arc<Objects>> {
        unimplemented!()
    }
}
