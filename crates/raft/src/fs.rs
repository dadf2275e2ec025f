//! The file layer under the log, the checkpoints and the identity file: small enough that a test can put
//! one in its place that forgets what was not fsynced. Knows nothing of formats.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// One open file. Offsets are explicit: there is no cursor to share.
pub trait RaftFile: Send + Sync {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends the file to this length.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space for the file up to this length; the file may grow to it.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// The current length.
    fn size(&self) -> io::Result<u64>;
    /// Returns once the content and length survive a power cut.
    fn sync(&self) -> io::Result<()>;
}

/// Files by path. A created, renamed or removed name survives a power cut only after `sync_dir`.
pub trait RaftFs: Send + Sync {
    /// Opens for reading and writing; creates the file if it is missing, keeps its content if it is not.
    fn create(&self, path: &Path) -> io::Result<Box<dyn RaftFile>>;
    /// Opens an existing file.
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn RaftFile>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file, replacing what is at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates a folder and its parents, durably.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Returns once the folder's names survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFs;

struct DiskFile(File);

impl RaftFile for DiskFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        fs2::FileExt::allocate(&self.0, len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl RaftFs for DiskFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn RaftFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Box::new(DiskFile(file)))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn RaftFile>> {
        Ok(Box::new(DiskFile(OpenOptions::new().read(true).write(writable).open(path)?)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = Some(path);
        while let Some(dir) = at.filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
            missing.push(dir);
            at = dir.parent();
        }
        std::fs::create_dir_all(path)?;
        for dir in missing {
            match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent)?,
                _ => self.sync_dir(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn RaftFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.size()? as usize];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a file so that after a power cut either the old or the new content is there, whole.
pub(crate) fn replace(fs: &dyn RaftFs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a file has no folder"))?;
    let temporary = path.with_extension(TEMPORARY);
    let file = fs.create(&temporary)?;
    file.set_len(0)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    drop(file);
    fs.rename(&temporary, path)?;
    fs.sync_dir(dir)
}

/// The extension of a file that is being written; one left by a crash is removed at the next start.
pub(crate) const TEMPORARY: &str = "tmp";
