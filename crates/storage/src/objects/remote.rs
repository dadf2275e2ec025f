//! Objects behind a network: bounded tries with deadlines, large ones in parts, and the folder they are cached in.

use super::local::{RealFs, TempFile, list_files, sweep};
use super::{ObjectInfo, ObjectRef, ObjectsOptions, missing};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as StorePath;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use quiver_base::{Error, Result, SqlState};
use std::fmt;
use std::fs::{self, File};
use std::future::Future;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit};

const TEMP_DIR: &str = ".tmp";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Parts of one object on their way at once.
const PARTS_IN_FLIGHT: usize = 4;
/// Parts of objects on their way at once for searches, and their bytes.
const RANGES_IN_FLIGHT: usize = 128;
const KILOBYTES_IN_FLIGHT: usize = 64 * 1024;
/// How many times the usual deadline a server gets to join the parts.
const JOIN_TIMEOUTS: u32 = 10;

pub(super) struct RemoteStore {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    options: ObjectsOptions,
    gate: Arc<Gate>,
    /// Taken out when dropped: a runtime must not be dropped by a worker of another one in the usual way.
    runtime: Option<Runtime>,
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({}/{})", self.store, self.prefix)
    }
}

impl Drop for RemoteStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl RemoteStore {
    pub(super) fn open(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        options: ObjectsOptions,
    ) -> Result<RemoteStore> {
        let temp_dir = options.cache_dir.join(TEMP_DIR);
        fs::create_dir_all(&temp_dir).map_err(|e| Error::io(format!("making {}", temp_dir.display()), e))?;
        sweep(&temp_dir);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("objects")
            .enable_all()
            .build()
            .map_err(|e| Error::io("starting the threads of the object store", e))?;
        let gate = Arc::new(Gate::new());
        Ok(RemoteStore { store, prefix: prefix.to_owned(), options, gate, runtime: Some(runtime) })
    }

    pub(super) fn temp_dir(&self) -> PathBuf {
        self.options.cache_dir.join(TEMP_DIR)
    }

    pub(super) fn create_temp(&self) -> Result<TempFile> {
        TempFile::create(Arc::new(RealFs), &self.temp_dir())
    }

    pub(super) fn get(&self, path: &str) -> Result<Bytes> {
        let at = self.store_path(path);
        let head = self.run("reading", path, || {
            let (store, at) = (self.store.clone(), at.clone());
            async move { store.head(&at).await }
        })?;
        self.get_parts(path, 0..head.size)
    }

    pub(super) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.get_parts(path, range)
    }

    fn get_parts(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let mut parts = self.parts(range.clone());
        if parts.len() == 1 {
            return self.get_part(path, parts.remove(0));
        }
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        for part in parts {
            bytes.extend_from_slice(&self.get_part(path, part)?);
        }
        Ok(Bytes::from(bytes))
    }

    fn get_part(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let at = self.store_path(path);
        let bytes = self.run("reading", path, || {
            let (store, at, range) = (self.store.clone(), at.clone(), range.clone());
            async move { store.get_range(&at, range).await }
        })?;
        whole(path, &range, bytes)
    }

    /// Parts of an object, side by side; each request is tried as often as any other.
    pub(super) fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts: Vec<Range<u64>> = ranges.iter().flat_map(|range| self.parts(range.clone())).collect();
        let requests: Vec<_> = parts.into_iter().map(|part| self.get_part_of(path, part)).collect();
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            let _ = sender.send(futures::future::try_join_all(requests).await);
        });
        let read =
            receiver.recv().map_err(|_| Error::internal("a request for parts of an object panicked"))?;
        let mut read = read?.into_iter();
        let join = |range: &Range<u64>| {
            let mut parts: Vec<Bytes> = read.by_ref().take(self.parts(range.clone()).len()).collect();
            if parts.len() == 1 { parts.remove(0) } else { Bytes::from(parts.concat()) }
        };
        Ok(ranges.iter().map(join).collect())
    }

    /// One request as a future: waits until there is room for it, and tries again as [`RemoteStore::run`] does.
    fn get_part_of(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Bytes>> + Send + 'static {
        let (store, at, gate) = (self.store.clone(), self.store_path(path), self.gate.clone());
        let (path, attempts, timeout) =
            (path.to_owned(), self.options.attempts_max, self.options.request_timeout);
        async move {
            let _room = gate.enter(range.end - range.start).await?;
            let mut pause = FIRST_PAUSE;
            for attempt in 1.. {
                let answer = tokio::time::timeout(timeout, store.get_range(&at, range.clone())).await;
                match answered(&path, timeout, answer).and_then(|bytes| whole(&path, &range, bytes)) {
                    Err(error) if error.state() == SqlState::IO_ERROR && attempt < attempts => {
                        tracing::debug!(%error, "trying again");
                        tokio::time::sleep(pause).await;
                        pause *= 3;
                    }
                    done => return done,
                }
            }
            Err(Error::internal("requests are tried at least once"))
        }
    }

    pub(super) fn parts(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let step = self.options.part_bytes;
        (range.start..range.end).step_by(step).map(|at| at..range.end.min(at + step as u64)).collect()
    }

    /// Fetches an object into the cache folder.
    pub(super) fn download(&self, object: &ObjectRef) -> Result<()> {
        let failed = |e| Error::io(format!("caching object \"{}\"", object.path), e);
        let temp = self.create_temp()?;
        let next = parking_lot::Mutex::new(self.parts(0..object.bytes).into_iter());
        let fetch = || -> Result<()> {
            loop {
                let Some(part) = next.lock().next() else { return Ok(()) };
                let bytes = self.get_part(&object.path, part.clone())?;
                temp.file.write_all_at(&bytes, part.start).map_err(failed)?;
            }
        };
        std::thread::scope(|scope| {
            let helpers: Vec<_> =
                (1..PARTS_IN_FLIGHT.min(next.lock().len())).map(|_| scope.spawn(fetch)).collect();
            let own = fetch();
            helpers.into_iter().fold(own, |all, helper| {
                all.and(helper.join().unwrap_or_else(|_| Err(Error::internal("a download thread panicked"))))
            })
        })?;
        if !self.adopt(&object.path, &temp.path) {
            return Err(failed(std::io::Error::other("the cache folder cannot be written")));
        }
        Ok(())
    }

    /// Sends a file's content.
    pub(super) fn upload(&self, path: &str, file: &File, bytes: u64) -> Result<()> {
        let failed = |e| Error::io(format!("writing object \"{path}\""), e);
        let at = self.store_path(path);
        let read = |part: &Range<u64>| -> Result<Bytes> {
            let mut buffer = vec![0; (part.end - part.start) as usize];
            file.read_exact_at(&mut buffer, part.start).map_err(failed)?;
            Ok(Bytes::from(buffer))
        };
        let parts = self.parts(0..bytes);
        if parts.len() <= 1 {
            let content = read(&(0..bytes))?;
            return self.run("writing", path, || {
                let (store, at, content) = (self.store.clone(), at.clone(), content.clone());
                async move { store.put(&at, PutPayload::from_bytes(content)).await.map(drop) }
            });
        }
        let upload = self.run("writing", path, || {
            let (store, at) = (self.store.clone(), at.clone());
            async move { store.put_multipart(&at).await }
        })?;
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        let sent = self.send_parts(path, &upload, &parts, &read);
        if sent.is_err() {
            // What cannot be taken back now, the bucket's own rule for unfinished uploads removes.
            let _ = self.run("writing", path, || {
                let upload = upload.clone();
                async move { upload.lock().await.abort().await }
            });
        }
        sent
    }

    fn send_parts(
        &self,
        path: &str,
        upload: &Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
        parts: &[Range<u64>],
        read: &dyn Fn(&Range<u64>) -> Result<Bytes>,
    ) -> Result<()> {
        for batch in parts.chunks(PARTS_IN_FLIGHT) {
            let contents = batch.iter().map(read).collect::<Result<Vec<_>>>()?;
            // A part has a number once it was begun, so a part is not begun again: the client retries inside.
            self.run_once("writing", path, contents.len() as u32, {
                let upload = upload.clone();
                async move {
                    let mut upload = upload.lock().await;
                    let sends: Vec<_> = contents
                        .into_iter()
                        .map(|content| upload.put_part(PutPayload::from_bytes(content)))
                        .collect();
                    futures::future::try_join_all(sends).await
                }
            })?;
        }
        // Servers take their time to join many parts.
        self.run_once("writing", path, JOIN_TIMEOUTS, {
            let upload = upload.clone();
            async move { upload.lock().await.complete().await.map(drop) }
        })
    }

    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let at = self.store_path(path);
        let deleted = self.run("deleting", path, || {
            let (store, at) = (self.store.clone(), at.clone());
            async move { store.delete(&at).await }
        });
        match deleted {
            Err(e) if e.state() == SqlState::UNDEFINED_FILE => Ok(()),
            other => other,
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let at = self.store_path(prefix);
        let found = self.run("listing", prefix, || {
            let (store, at) = (self.store.clone(), at.clone());
            async move { store.list(Some(&at)).map(|meta| meta).try_collect::<Vec<_>>().await }
        })?;
        let skip = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let info = |meta: object_store::ObjectMeta| {
            let path = meta.location.as_ref().get(skip..)?.to_owned();
            Some(ObjectInfo { path, bytes: meta.size })
        };
        Ok(found.into_iter().filter_map(info).collect())
    }

    fn store_path(&self, path: &str) -> StorePath {
        StorePath::from(format!("{}/{path}", self.prefix))
    }

    /// Runs a request until it is done, hopeless, or the tries are used up.
    fn run<T, F>(&self, doing: &str, path: &str, request: impl Fn() -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let mut pause = FIRST_PAUSE;
        for _ in 1..self.options.attempts_max {
            match self.run_once(doing, path, 1, request()) {
                Err(error) if error.state() == SqlState::IO_ERROR => {
                    tracing::debug!(%error, "trying again");
                    std::thread::sleep(pause);
                    pause *= 3;
                }
                done => return done,
            }
        }
        self.run_once(doing, path, 1, request())
    }

    fn run_once<T, F>(&self, doing: &str, path: &str, parts: u32, request: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let timeout = self.options.request_timeout * parts;
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            let _ = sender.send(tokio::time::timeout(timeout, request).await);
        });
        let failed = |why: &dyn fmt::Display| {
            Error::new(SqlState::IO_ERROR, format!("{doing} object \"{path}\": {why}"))
        };
        match receiver.recv() {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(error))) => Err(explain(doing, path, error)),
            Ok(Err(_)) => Err(failed(&format_args!("no answer within {} s", timeout.as_secs_f32()))),
            Err(_) => Err(failed(&"the request panicked")),
        }
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().ok_or_else(|| Error::internal("the object store is closed"))
    }

    // The cache folder.

    pub(super) fn cache_path(&self, path: &str) -> PathBuf {
        self.options.cache_dir.join(path)
    }

    /// Moves a finished file into the cache. False if that failed; the object is then fetched when it is wanted.
    pub(super) fn adopt(&self, path: &str, temp: &Path) -> bool {
        let target = self.cache_path(path);
        let dir = target.parent().unwrap_or(&self.options.cache_dir);
        let moved = fs::create_dir_all(dir).and_then(|()| fs::rename(temp, &target));
        if let Err(error) = &moved {
            tracing::warn!(object = path, %error, "cannot cache an object");
        }
        moved.is_ok()
    }

    pub(super) fn remove_cached(&self, path: &str) {
        // Not there is as good; a file that cannot be removed is found again at the next start.
        let _ = fs::remove_file(self.cache_path(path));
    }

    /// What an earlier process left in the cache folder, oldest first.
    pub(super) fn cached_files(&self) -> Result<Vec<(String, u64)>> {
        let dir = &self.options.cache_dir;
        let mut found = Vec::new();
        list_files(dir, "", &mut found).map_err(|e| Error::io(format!("reading {}", dir.display()), e))?;
        found.sort_by_key(|file| fs::metadata(dir.join(&file.path)).and_then(|meta| meta.modified()).ok());
        Ok(found.into_iter().map(|file| (file.path, file.bytes)).collect())
    }
}

/// The answer to a read with a deadline.
fn answered(
    path: &str,
    timeout: Duration,
    answer: std::result::Result<object_store::Result<Bytes>, tokio::time::error::Elapsed>,
) -> Result<Bytes> {
    match answer {
        Ok(read) => read.map_err(|error| explain("reading", path, error)),
        Err(_) => {
            let why = format!("reading object \"{path}\": no answer within {} s", timeout.as_secs_f32());
            Err(Error::new(SqlState::IO_ERROR, why))
        }
    }
}

fn whole(path: &str, range: &Range<u64>, bytes: Bytes) -> Result<Bytes> {
    let wanted = range.end - range.start;
    if bytes.len() as u64 != wanted {
        let why = format!("reading object \"{path}\": got {} of {wanted} bytes", bytes.len());
        return Err(Error::new(SqlState::IO_ERROR, why));
    }
    Ok(bytes)
}

/// Keeps reads of parts within bounds, those of all searches together.
struct Gate {
    requests: Semaphore,
    kilobytes: Semaphore,
}

impl Gate {
    fn new() -> Gate {
        Gate { requests: Semaphore::new(RANGES_IN_FLIGHT), kilobytes: Semaphore::new(KILOBYTES_IN_FLIGHT) }
    }

    /// Waits for room for a request. One that is larger than all the room takes all of it.
    async fn enter(&self, bytes: u64) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        let closed = |_| Error::internal("the object store is closed");
        let kilobytes = bytes.div_ceil(1024).min(KILOBYTES_IN_FLIGHT as u64) as u32;
        let request = self.requests.acquire().await.map_err(closed)?;
        Ok((request, self.kilobytes.acquire_many(kilobytes).await.map_err(closed)?))
    }
}

/// What a client reads: the object, the cause, and a state that says whether to try again.
fn explain(doing: &str, path: &str, error: object_store::Error) -> Error {
    use object_store::Error as E;
    let (state, why) = match &error {
        E::NotFound { .. } if doing == "reading" || doing == "deleting" => {
            return missing(path).with_source(error);
        }
        E::NotFound { .. } => no_bucket(),
        E::PermissionDenied { .. } => denied(&error),
        E::Unauthenticated { .. } => unaccepted(&error),
        E::Generic { .. } => match status_in(&error.to_string()) {
            Some(404) => no_bucket(),
            Some(403) => denied(&error),
            Some(401) => unaccepted(&error),
            _ => (SqlState::IO_ERROR, error.to_string()),
        },
        E::NotImplemented { .. } | E::NotSupported { .. } | E::InvalidPath { .. } => {
            (SqlState::FEATURE_NOT_SUPPORTED, error.to_string())
        }
        _ => (SqlState::IO_ERROR, error.to_string()),
    };
    Error::new(state, format!("{doing} object \"{path}\": {why}")).with_source(error)
}

fn no_bucket() -> (SqlState, String) {
    (SqlState::UNDEFINED_FILE, "the bucket does not exist".to_owned())
}

fn denied(error: &object_store::Error) -> (SqlState, String) {
    (SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied: {error}"))
}

fn unaccepted(error: &object_store::Error) -> (SqlState, String) {
    let message = format!("the credentials are not accepted: {error}");
    (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}

/// The HTTP status in an error's text: the errors of a listing come untyped.
fn status_in(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}
