//! Stores that fail on purpose: a file layer that forgets, at a simulated power cut, everything that was not synced, and a
//! remote store whose requests fail or hang when told to.

use super::{LocalFs, RealFs};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Dir,
    /// A file, by the number it got when it was made; renames keep it.
    File(u64),
}

#[derive(Debug, Default)]
struct State {
    files_made: u64,
    /// What the folder shows.
    current: BTreeMap<PathBuf, Entry>,
    /// What survives: the entries of each folder as of its last sync …
    durable_entries: HashMap<PathBuf, BTreeMap<OsString, Entry>>,
    /// … and the content of each file as of its last sync.
    durable_content: HashMap<u64, Vec<u8>>,
    fail: Option<io::ErrorKind>,
}

/// Works in a folder that exists and is durable; see [`LossyFs::power_cut`].
#[derive(Debug)]
pub struct LossyFs {
    root: PathBuf,
    state: Mutex<State>,
}

impl LossyFs {
    /// A layer under `root`, which must be empty.
    pub fn new(root: &Path) -> LossyFs {
        LossyFs { root: root.to_owned(), state: Mutex::default() }
    }

    /// Makes every change fail from now on, or work again.
    pub fn fail(&self, kind: Option<io::ErrorKind>) {
        self.state.lock().fail = kind;
    }

    /// Puts the folder into the state that a disk would show after a power cut now: folders without what was not synced
    /// in them, files without content that was not synced.
    pub fn power_cut(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        let mut current = BTreeMap::new();
        rebuild(&state, &self.root, &mut current)?;
        state.current = current;
        Ok(())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        match state.fail {
            Some(kind) => Err(kind.into()),
            None => change(&mut state),
        }
    }
}

fn rebuild(state: &State, dir: &Path, current: &mut BTreeMap<PathBuf, Entry>) -> io::Result<()> {
    for (name, entry) in state.durable_entries.get(dir).into_iter().flatten() {
        let path = dir.join(name);
        current.insert(path.clone(), *entry);
        match entry {
            Entry::Dir => {
                fs::create_dir(&path)?;
                rebuild(state, &path, current)?;
            }
            Entry::File(id) => {
                fs::write(&path, state.durable_content.get(id).map_or(&[][..], Vec::as_slice))?;
            }
        }
    }
    Ok(())
}

impl LocalFs for LossyFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            RealFs.create_dir(path)?;
            state.current.insert(path.to_owned(), Entry::Dir);
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.change(|state| {
            let file = RealFs.create(path)?;
            state.files_made += 1;
            state.current.insert(path.to_owned(), Entry::File(state.files_made));
            Ok(file)
        })
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.change(|_| RealFs.write(file, bytes))
    }

    fn sync_file(&self, path: &Path, _file: &File) -> io::Result<()> {
        self.change(|state| {
            if let Some(Entry::File(id)) = state.current.get(path) {
                state.durable_content.insert(*id, fs::read(path)?);
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            RealFs.rename(from, to)?;
            if let Some(entry) = state.current.remove(from) {
                state.current.insert(to.to_owned(), entry);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            RealFs.remove(path)?;
            state.current.remove(path);
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            let inside = |child: &&PathBuf| child.parent() == Some(path);
            let name = |child: &PathBuf| child.file_name().map(OsString::from).unwrap_or_default();
            let entries = state
                .current
                .keys()
                .filter(inside)
                .map(|child| (name(child), state.current[child]))
                .collect();
            state.durable_entries.insert(path.to_owned(), entries);
            Ok(())
        })
    }
}

/// What the next requests of a [`FaultyStore`] do instead of their work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fail as a server in trouble does.
    Fail,
    /// Fail for want of a permission.
    Deny,
    /// Fail as a bucket that does not exist does.
    NoBucket,
    /// Never answer.
    Hang,
}

/// A remote store in memory.
#[derive(Debug, Default)]
pub struct FaultyStore {
    store: InMemory,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<u64>,
    reads: Mutex<Reads>,
}

/// Reads of a [`FaultyStore`].
#[derive(Debug, Default)]
struct Reads {
    in_flight: u64,
    rounds: u64,
}

impl FaultyStore {
    /// Makes the next `count` requests fail.
    pub fn inject(&self, fault: Fault, count: usize) {
        self.faults.lock().extend(std::iter::repeat_n(fault, count));
    }

    /// Takes back what was injected and not used.
    pub fn clear(&self) {
        self.faults.lock().clear();
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        *self.requests.lock()
    }

    /// How often a read began when no other was on its way: what depends on one another is that many reads deep.
    pub fn rounds(&self) -> u64 {
        self.reads.lock().rounds
    }

    /// Changes the bytes of an object from a place on.
    pub async fn damage(&self, path: &str, from: usize) -> object_store::Result<()> {
        let path = StorePath::from(path);
        let mut bytes = self.store.get(&path).await?.bytes().await?.to_vec();
        bytes.iter_mut().skip(from).for_each(|byte| *byte ^= 0x10);
        self.store.put(&path, PutPayload::from(bytes)).await.map(drop)
    }

    async fn request(&self, path: &StorePath) -> object_store::Result<()> {
        *self.requests.lock() += 1;
        let fault = self.faults.lock().pop();
        let path = path.to_string();
        let source = "injected".into();
        match fault {
            None => Ok(()),
            Some(Fault::Fail) => Err(object_store::Error::Generic { store: "faulty", source }),
            Some(Fault::Deny) => Err(object_store::Error::PermissionDenied { path, source }),
            Some(Fault::NoBucket) => Err(object_store::Error::NotFound { path, source }),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.request(location).await?;
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.request(location).await?;
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> object_store::Result<GetResult> {
        {
            let mut reads = self.reads.lock();
            reads.rounds += u64::from(reads.in_flight == 0);
            reads.in_flight += 1;
        }
        // So that those which were asked for together are on their way together.
        tokio::task::yield_now().await;
        let requested = self.request(location).await;
        let read = match requested {
            Ok(()) => self.store.get_opts(location, options).await,
            Err(error) => Err(error),
        };
        self.reads.lock().in_flight -= 1;
        read
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<StorePath>>,
    ) -> BoxStream<'static, object_store::Result<StorePath>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
