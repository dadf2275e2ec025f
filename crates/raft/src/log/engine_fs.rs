//! Puts `RaftFs` under raft-engine, and makes its failures safe. Knows no entries.
//!
//! raft-engine panics when an fsync fails. Instead the first failed write or fsync is remembered here,
//! the fsync pretends to succeed, everything after it is refused, and the log asks for the failure before
//! it reports anything as durable. Names of new and removed files are made durable at once: raft-engine does
//! not do so for its first files, and after a power cut the files must be a sequence without holes.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use raft_engine::env::{FileSystem, Handle, Permission, WriteExt};

use crate::fs::{RaftFile, RaftFs};

/// The first failure of the file layer; once set it stays.
#[derive(Default)]
pub(crate) struct Failure {
    first: Mutex<Option<(io::ErrorKind, String)>>,
    syncs: AtomicU64,
}

impl Failure {
    pub(super) fn get(&self) -> Option<io::Error> {
        self.first.lock().as_ref().map(|(kind, text)| io::Error::new(*kind, text.clone()))
    }

    /// How many fsyncs of log files were made.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn note<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &result {
            self.first.lock().get_or_insert_with(|| (e.kind(), format!("{what}: {e}")));
        }
        result
    }

    fn refuse_after(&self) -> io::Result<()> {
        match &*self.first.lock() {
            Some((_, first)) => Err(io::Error::other(format!("refused after a failure ({first})"))),
            None => Ok(()),
        }
    }
}

pub(crate) struct EngineFs {
    pub(super) fs: Arc<dyn RaftFs>,
    pub(super) failure: Arc<Failure>,
}

pub(crate) struct EngineFile {
    file: Box<dyn RaftFile>,
    failure: Arc<Failure>,
}

impl EngineFile {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.failure.refuse_after()?;
        self.failure.note("truncating the log", self.file.set_len(offset as u64))
    }
}

pub(crate) struct Cursor {
    file: Arc<EngineFile>,
    offset: u64,
}

impl EngineFs {
    fn handle(&self, file: Box<dyn RaftFile>) -> EngineFile {
        EngineFile { file, failure: self.failure.clone() }
    }

    fn sync_folder_of(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(dir) => self.failure.note("syncing the log folder", self.fs.sync_dir(dir)),
            None => Ok(()),
        }
    }
}

impl FileSystem for EngineFs {
    type Handle = EngineFile;
    type Reader = Cursor;
    type Writer = Cursor;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<EngineFile> {
        self.failure.refuse_after()?;
        let path = path.as_ref();
        let file = self.failure.note("creating a log file", self.fs.create(path))?;
        self.sync_folder_of(path)?;
        Ok(self.handle(file))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<EngineFile> {
        self.fs.open(path.as_ref(), permission == Permission::ReadWrite).map(|file| self.handle(file))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.failure.refuse_after()?;
        let path = path.as_ref();
        self.failure.note("removing a log file", self.fs.remove(path))?;
        self.sync_folder_of(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        self.failure.refuse_after()?;
        self.failure.note("renaming a log file", self.fs.rename(from.as_ref(), to.as_ref()))
    }

    fn new_reader(&self, file: Arc<EngineFile>) -> io::Result<Cursor> {
        Ok(Cursor { file, offset: 0 })
    }

    fn new_writer(&self, file: Arc<EngineFile>) -> io::Result<Cursor> {
        Ok(Cursor { file, offset: 0 })
    }
}

impl Handle for EngineFile {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.truncate(offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.file.size().map(|size| size as usize)
    }

    /// Never fails (see the head of this file). A second fsync after a failed one may wrongly succeed,
    /// because the kernel drops the dirty pages: so there is no second one.
    fn sync(&self) -> io::Result<()> {
        if self.failure.refuse_after().is_ok() {
            self.failure.syncs.fetch_add(1, Ordering::Relaxed);
            let _noted = self.failure.note("fsync of the log", self.file.sync());
        }
        Ok(())
    }
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.file.read_at(self.offset, buf)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Write for Cursor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.failure.refuse_after()?;
        self.file.failure.note("writing the log", self.file.file.write_at(self.offset, bytes))?;
        if self.offset == 0 {
            // raft-engine fsyncs the header of its first file together with the first batch; one that is
            // torn must not stand before a batch that is whole.
            self.file.failure.note("fsync of a new log file", self.file.file.sync())?;
        }
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.offset = match to {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => self.offset.saturating_add_signed(by),
            SeekFrom::End(by) => self.file.file.size()?.saturating_add_signed(by),
        };
        Ok(self.offset)
    }
}

impl WriteExt for Cursor {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        self.file.truncate(offset)?;
        self.offset = offset as u64;
        Ok(())
    }

    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        self.file.failure.refuse_after()?;
        // Only a reservation: a file system without it, or a full disk, shows at the write itself.
        self.file.file.allocate((offset + size) as u64)
    }
}
