//! Objects in a local folder, made durable as a power cut demands: file synced, renamed, folder synced. All changes go
//! through [`LocalFs`], so that a test can lose what was not synced.

use super::{ObjectInfo, missing};
use bytes::Bytes;
use parking_lot::Mutex;
use quiver_base::{Error, Result};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Folder of the store where objects are written before they get their name.
const TEMP_DIR: &str = ".tmp";

/// Temporary files older than this belong to no living process.
const TEMP_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What changes files. Reads go to the files themselves.
pub trait LocalFs: Send + Sync + fmt::Debug {
    /// Makes one folder; it must not exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file to write and read; it must not exist.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Adds bytes at the end.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's content durable.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's entries durable: what has been made in it, renamed into it and removed from it.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug)]
pub struct RealFs;

impl LocalFs for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_file(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// A file without an object's name yet; removed when dropped, unless it was renamed.
#[derive(Debug)]
pub(super) struct TempFile {
    fs: Arc<dyn LocalFs>,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl TempFile {
    pub(super) fn create(fs: Arc<dyn LocalFs>, dir: &Path) -> Result<TempFile> {
        let path = dir.join(uuid::Uuid::new_v4().simple().to_string());
        let file = fs.create(&path).map_err(|e| Error::io(format!("making {}", path.display()), e))?;
        Ok(TempFile { fs, path, file })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.write(&mut self.file, bytes)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.path.exists() {
            // Left behind, it is swept a day later.
            let _ = self.fs.remove(&self.path);
        }
    }
}

#[derive(Debug)]
pub(super) struct LocalStore {
    root: PathBuf,
    fs: Arc<dyn LocalFs>,
    /// Folders under the root that are known to be there after a power cut. Held while a folder is made or removed and
    /// while a file is renamed into one.
    durable_dirs: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    pub(super) fn open(root: &Path, fs: Arc<dyn LocalFs>) -> Result<LocalStore> {
        let store = LocalStore { root: root.to_owned(), fs, durable_dirs: Mutex::new(HashSet::new()) };
        store
            .make_dir(root)
            .and_then(|()| store.make_dir(&store.temp_dir()))
            .map_err(|e| Error::io(format!("opening {}", root.display()), e))?;
        sweep(&store.temp_dir());
        Ok(store)
    }

    pub(super) fn temp_dir(&self) -> PathBuf {
        self.root.join(TEMP_DIR)
    }

    pub(super) fn file_path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(super) fn create_temp(&self) -> Result<TempFile> {
        TempFile::create(self.fs.clone(), &self.temp_dir())
    }

    /// Makes a folder and those above it, as needed, and what holds each durable. A folder that is there already may be
    /// one whose maker stopped before the sync, so under the root it counts only once this process has synced it.
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        make_dirs(&*self.fs, &self.root, dir, &mut self.durable_dirs.lock())
    }

    /// Gives a finished file its name: the order of syncs is what makes it durable.
    pub(super) fn publish(&self, path: &str, temp: &Path, file: &File) -> Result<()> {
        let failed = |e| Error::io(format!("writing object \"{path}\""), e);
        let target = self.file_path(path);
        let dir = target.parent().unwrap_or(&self.root);
        self.fs.sync_file(temp, file).map_err(failed)?;
        {
            let mut durable = self.durable_dirs.lock();
            make_dirs(&*self.fs, &self.root, dir, &mut durable).map_err(failed)?;
            self.fs.rename(temp, &target).map_err(failed)?;
        }
        self.fs.sync_dir(dir).map_err(failed)
    }

    pub(super) fn get(&self, path: &str) -> Result<Bytes> {
        fs::read(self.file_path(path)).map(Bytes::from).map_err(|e| read_failed(path, e))
    }

    pub(super) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let file = File::open(self.file_path(path)).map_err(|e| read_failed(path, e))?;
        let bytes_max = file.metadata().map_err(|e| read_failed(path, e))?.len();
        if range.start > range.end || range.end > bytes_max {
            let error = format!("bytes {} to {} of {bytes_max}", range.start, range.end);
            return Err(read_failed(path, io::Error::new(io::ErrorKind::UnexpectedEof, error)));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).map_err(|e| read_failed(path, e))?;
        Ok(Bytes::from(bytes))
    }

    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let file = self.file_path(path);
        match self.fs.remove(&file) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(format!("deleting object \"{path}\""), e)),
        }
        let mut durable = self.durable_dirs.lock();
        for dir in file.ancestors().skip(1).take_while(|dir| *dir != self.root) {
            // Refused while something is in it.
            if fs::remove_dir(dir).is_err() {
                break;
            }
            durable.remove(dir);
        }
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        list_files(&self.root.join(prefix), prefix.trim_end_matches('/'), &mut found)
            .map_err(|e| Error::io(format!("listing objects under \"{prefix}\""), e))?;
        Ok(found)
    }
}

fn make_dirs(fs: &dyn LocalFs, root: &Path, dir: &Path, durable: &mut HashSet<PathBuf>) -> io::Result<()> {
    if durable.contains(dir) {
        return Ok(());
    }
    let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    let outside = !dir.starts_with(root);
    if outside && dir.is_dir() {
        return Ok(());
    }
    make_dirs(fs, root, parent, durable)?;
    match fs.create_dir(dir) {
        Ok(()) => fs.sync_dir(parent)?,
        // The root's own parent need not be readable by us once the root is there.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if dir != root {
                fs.sync_dir(parent)?;
            }
        }
        Err(_) if dir == root && dir.is_dir() => {}
        Err(e) => return Err(e),
    }
    durable.insert(dir.to_owned());
    Ok(())
}

fn read_failed(path: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => missing(path),
        _ => Error::io(format!("reading object \"{path}\""), error),
    }
}

/// Files under a folder, except those in folders that begin with a dot. A folder that is not there is empty.
pub(super) fn list_files(dir: &Path, prefix: &str, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => list_files(&entry.path(), &path, found)?,
            Ok(meta) => found.push(ObjectInfo { path, bytes: meta.len() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Removes what earlier processes left. Failures only leave it longer.
pub(super) fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > TEMP_AGE_MAX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
