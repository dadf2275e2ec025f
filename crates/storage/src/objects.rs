//! The one door to object storage: durable puts, checked reads, mapped reads. Knows paths and bytes, no format.
//!
//! Every method blocks its thread, so call them from threads that may block. They are safe anywhere else, too: remote
//! requests run on a small runtime of their own, so a blocked worker of another runtime cannot stop them.

mod blocks;
mod local;
mod maps;
mod ranges;
mod remote;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod url;
mod writer;

pub use blocks::BlockMap;
pub use local::{LocalFs, RealFs};
pub use maps::ObjectMap;
pub use ranges::RemoteReads;
pub use writer::ObjectWriter;

use bytes::Bytes;
use local::LocalStore;
use maps::MapTable;
use object_store::ObjectStore;
use quiver_base::{Error, Result, SqlState};
use quiver_index::Mapped;
use remote::RemoteStore;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

/// An object as a manifest names it. What is read under this name is checked against it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its path under the store's prefix.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Checksum of all of it.
    pub crc32c: u32,
}

/// An object that a listing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its path under the store's prefix.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Limits of an [`Objects`].
#[derive(Clone, Debug)]
pub struct ObjectsOptions {
    /// Where objects of a remote store are kept to be mapped, and where they are built before they are sent.
    pub cache_dir: PathBuf,
    /// Bytes of the cache past which objects that nobody reads are dropped.
    pub cache_bytes_max: u64,
    /// How often a remote request is tried.
    pub attempts_max: u32,
    /// Deadline of one try of a remote request of at most [`ObjectsOptions::part_bytes`].
    pub request_timeout: Duration,
    /// Larger objects are sent and fetched in pieces of this size.
    pub part_bytes: usize,
}

impl ObjectsOptions {
    /// Defaults for production.
    pub fn new(cache_dir: impl Into<PathBuf>) -> ObjectsOptions {
        ObjectsOptions {
            cache_dir: cache_dir.into(),
            cache_bytes_max: 64 << 30,
            attempts_max: 4,
            request_timeout: Duration::from_secs(30),
            part_bytes: 16 << 20,
        }
    }
}

/// An object store under a prefix.
#[derive(Debug)]
pub struct Objects {
    store: Store,
    maps: MapTable,
}

#[derive(Debug)]
enum Store {
    Local(LocalStore),
    Remote(RemoteStore),
}

impl Objects {
    /// Opens `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix` and checks that it can be
    /// listed, written, read and deleted from. Credentials, endpoint and the like come from the environment, under the names
    /// that each cloud's own tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, …).
    /// Must be awaited on a tokio runtime.
    pub async fn open(url: &str, cache_dir: &Path) -> Result<Arc<Objects>> {
        let (url, options) = (url.to_owned(), ObjectsOptions::new(cache_dir));
        tokio::task::spawn_blocking(move || Objects::open_with(&url, options))
            .await
            .map_err(|e| Error::internal(format!("opening the object store: {e}")))?
    }

    /// [`Objects::open`] for a thread that may block.
    pub fn open_with(url: &str, options: ObjectsOptions) -> Result<Arc<Objects>> {
        let objects = match url::parse(url)? {
            url::Location::Local(root) => Objects::local(&root, Arc::new(RealFs))?,
            url::Location::Remote { store, prefix } => Objects::remote(store, &prefix, options)?,
        };
        objects.probe().map_err(|e| e.context(format!("cannot use object store \"{url}\"")))?;
        Ok(objects)
    }

    /// A store in a local folder, over a given file layer. Not probed.
    pub fn local(root: &Path, fs: Arc<dyn LocalFs>) -> Result<Arc<Objects>> {
        let store = LocalStore::open(root, fs)?;
        Ok(Arc::new(Objects { store: Store::Local(store), maps: MapTable::new(u64::MAX) }))
    }

    /// Whether objects are files of this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.store, Store::Local(_))
    }

    /// Any store, under a prefix. Not probed.
    pub fn remote(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        options: ObjectsOptions,
    ) -> Result<Arc<Objects>> {
        let maps = MapTable::new(options.cache_bytes_max);
        let store = RemoteStore::open(store, prefix, options)?;
        for (path, bytes) in store.cached_files()? {
            maps.add_cached(&path, bytes);
        }
        let objects = Objects { store: Store::Remote(store), maps };
        objects.drop_cached(&objects.maps.make_room(0));
        Ok(Arc::new(objects))
    }

    /// Writes, reads and deletes a small object.
    fn probe(self: &Arc<Self>) -> Result<()> {
        let path = format!("probe-{}", uuid::Uuid::new_v4().simple());
        // First: some S3 servers make a bucket that is written to, and none lists one that is not there.
        self.list(&path)?;
        let written = self.put(&path, b"quiver")?;
        let read = self.read(&written);
        self.delete(&path)?;
        read.map(drop)
    }

    /// Writes an object; when this returns it survives a power cut. Paths are not used twice.
    pub fn put(self: &Arc<Self>, path: &str, bytes: &[u8]) -> Result<ObjectRef> {
        let mut writer = self.create(path)?;
        writer.append(bytes)?;
        writer.finish()
    }

    /// Begins an object that is written piece by piece. It exists once [`ObjectWriter::finish`] has returned.
    pub fn create(self: &Arc<Self>, path: &str) -> Result<ObjectWriter> {
        check_path(path)?;
        let temp = match &self.store {
            Store::Local(store) => store.create_temp()?,
            Store::Remote(store) => store.create_temp()?,
        };
        Ok(ObjectWriter::new(self.clone(), path, temp))
    }

    /// A file where objects are built; removed when dropped.
    pub fn scratch_file(&self) -> Result<NamedTempFile> {
        let dir = match &self.store {
            Store::Local(store) => store.temp_dir(),
            Store::Remote(store) => store.temp_dir(),
        };
        NamedTempFile::new_in(&dir).map_err(|e| Error::io(format!("making a file in {}", dir.display()), e))
    }

    /// Reads an object whole, unchecked.
    pub fn get(&self, path: &str) -> Result<Bytes> {
        check_path(path)?;
        match &self.store {
            Store::Local(store) => store.get(path),
            Store::Remote(store) => store.get(path),
        }
    }

    /// Reads a part of an object, unchecked. Reading past the end fails.
    pub fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        check_path(path)?;
        match &self.store {
            Store::Local(store) => store.get_range(path, range),
            Store::Remote(store) => store.get_range(path, range),
        }
    }

    /// Reads an object whole and checks it; damage is XX001 and names it.
    pub fn read(&self, object: &ObjectRef) -> Result<Bytes> {
        let bytes = self.get(&object.path)?;
        check_bytes(object, &bytes)?;
        Ok(bytes)
    }

    /// Maps an object into memory: in place if it is local, else from the cache after one download, however many ask.
    /// All of it is checked the first time that this process maps it; damage is XX001 and names it.
    ///
    /// A cached file stays as long as the answer lives, whatever has been cloned out of it.
    pub fn map(&self, object: &ObjectRef) -> Result<Arc<ObjectMap>> {
        let map = self.map_unchecked(object)?;
        if self.maps.is_verified(&object.path) {
            return Ok(map);
        }
        let _flight = self.maps.enter(&object.path);
        if !self.maps.is_verified(&object.path) {
            check_bytes(object, &map)?;
            self.maps.set_verified(&object.path);
        }
        Ok(map)
    }

    /// [`Objects::map`] for large objects of which little may be read: a local one is checked block by block, as it is read.
    /// `blocks` are from [`ObjectWriter::finish_with_blocks`].
    pub fn map_blocks(&self, object: &ObjectRef, blocks: &[u32]) -> Result<BlockMap> {
        // What has come through a cache has been read as a whole anyway.
        let lazily = matches!(self.store, Store::Local(_)) && blocks::count(object.bytes) == blocks.len();
        if !lazily || self.maps.is_verified(&object.path) {
            return Ok(BlockMap::checked(object, self.map(object)?));
        }
        Ok(BlockMap::unchecked(object, self.map_unchecked(object)?, blocks))
    }

    /// Maps an object; its length is right, its content checked only if it came through the cache.
    fn map_unchecked(&self, object: &ObjectRef) -> Result<Arc<ObjectMap>> {
        check_path(&object.path)?;
        if let Some(map) = self.maps.live(&object.path) {
            return Ok(map);
        }
        let _flight = self.maps.enter(&object.path);
        if let Some(map) = self.maps.live(&object.path) {
            return Ok(map);
        }
        let mapped = match &self.store {
            Store::Local(store) => map_file(object, &store.file_path(&object.path))?,
            Store::Remote(store) => self.map_cached(object, store)?,
        };
        Ok(self.maps.add_live(&object.path, mapped))
    }

    fn map_cached(&self, object: &ObjectRef, store: &RemoteStore) -> Result<Mapped> {
        let file = store.cache_path(&object.path);
        if self.maps.is_cached(&object.path) {
            match self.map_checked(object, &file) {
                Ok(mapped) => return Ok(mapped),
                // Of an earlier life of this process, or harmed since: the store has the good one.
                Err(error) => tracing::warn!(object = %object.path, %error, "fetching a cached object again"),
            }
            self.drop_cached(std::slice::from_ref(&object.path));
        }
        self.drop_cached(&self.maps.make_room(object.bytes));
        store.download(object)?;
        self.maps.add_cached(&object.path, object.bytes);
        self.map_checked(object, &file)
    }

    fn map_checked(&self, object: &ObjectRef, file: &Path) -> Result<Mapped> {
        let mapped = map_file(object, file)?;
        if !self.maps.is_verified(&object.path) {
            check_bytes(object, &mapped)?;
            self.maps.set_verified(&object.path);
        }
        Ok(mapped)
    }

    fn drop_cached(&self, paths: &[String]) {
        for path in paths {
            self.maps.forget(path);
            if let Store::Remote(store) = &self.store {
                store.remove_cached(path);
            }
        }
    }

    /// Deletes an object. One that is not there is no error. What is mapped stays readable.
    pub fn delete(&self, path: &str) -> Result<()> {
        check_path(path)?;
        self.drop_cached(&[path.to_owned()]);
        match &self.store {
            Store::Local(store) => store.delete(path),
            Store::Remote(store) => store.delete(path),
        }
    }

    /// Objects whose path begins with `prefix` as a folder, by path; all of them for "".
    pub fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = match &self.store {
            Store::Local(store) => store.list(prefix)?,
            Store::Remote(store) => store.list(prefix)?,
        };
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Reads an object from where it is stored, not from a cache, and checks it; damage is XX001 and names it.
    pub fn verify(&self, object: &ObjectRef) -> Result<()> {
        const STEP_BYTES: u64 = 8 << 20;
        let (mut at, mut crc) = (0, 0);
        while at < object.bytes {
            let end = object.bytes.min(at + STEP_BYTES);
            crc = crc32c::crc32c_append(crc, &self.get_range(&object.path, at..end)?);
            at = end;
        }
        if crc != object.crc32c {
            return Err(damaged(object, "its checksum is wrong"));
        }
        Ok(())
    }

    /// Makes what a writer wrote an object.
    fn finish(&self, written: &ObjectRef, temp: &Path, file: &File) -> Result<()> {
        match &self.store {
            Store::Local(store) => store.publish(&written.path, temp, file),
            Store::Remote(store) => {
                store.upload(&written.path, file, written.bytes)?;
                if store.adopt(&written.path, temp) {
                    self.maps.add_cached(&written.path, written.bytes);
                    self.drop_cached(&self.maps.make_room(0));
                }
                Ok(())
            }
        }
    }
}

/// Paths are relative, without empty, `.` or `..` parts; parts that begin with a dot are the store's own.
fn check_path(path: &str) -> Result<()> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    if path.split('/').all(plain) {
        return Ok(());
    }
    Err(Error::internal(format!("\"{path}\" is not a path of an object")))
}

fn map_file(object: &ObjectRef, file: &Path) -> Result<Mapped> {
    let mapped = Mapped::from_file(file).map_err(|e| missing_or(&object.path, file, e))?;
    check_len(object, &mapped)?;
    Ok(mapped)
}

fn check_len(object: &ObjectRef, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 != object.bytes {
        return Err(damaged(object, &format!("it has {} bytes, not {}", bytes.len(), object.bytes)));
    }
    Ok(())
}

fn check_bytes(object: &ObjectRef, bytes: &[u8]) -> Result<()> {
    check_len(object, bytes)?;
    if crc32c::crc32c(bytes) != object.crc32c {
        return Err(damaged(object, "its checksum is wrong"));
    }
    Ok(())
}

fn damaged(object: &ObjectRef, how: &str) -> Error {
    Error::corrupt(format!("object \"{}\": {how}", object.path))
}

fn missing(path: &str) -> Error {
    Error::new(SqlState::UNDEFINED_FILE, format!("object \"{path}\" does not exist"))
}

fn missing_or(path: &str, file: &Path, error: Error) -> Error {
    if file.exists() { error.context(format!("object \"{path}\"")) } else { missing(path) }
}

#[cfg(test)]
mod tests;
