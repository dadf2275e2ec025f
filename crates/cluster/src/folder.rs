//! The data folder: one process at a time, one format version, one node. Knows what lies where, not what is in it.
//!
//! `VERSION` is text: a title line, then `format`, `node` and `groups` with a number each, then the crc32c of what is before it.
//! `groups 0`: the first start did not get to its end, so what is there was never used.

use fs2::FileExt;
use quiver_base::{Error, NodeId, Result, SqlState};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const FORMAT: u64 = 1;
const TITLE: &str = "Quiver data folder";

/// A locked data folder.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    pub(crate) node: NodeId,
    /// Groups, the meta group included; 0 before the first start is complete.
    pub(crate) groups: u64,
    lock: File,
}

impl Folder {
    /// Opens or makes the folder and locks it against a second process.
    pub(crate) fn open(dir: &Path) -> Result<Folder> {
        std::fs::create_dir_all(dir).map_err(|cause| cannot("create data folder", dir, cause))?;
        let lock = lock(dir)?;
        let path = dir.join("VERSION");
        let (node, groups) = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text, &path)?,
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                refuse_foreign(dir)?;
                let node = NodeId(uuid::Uuid::new_v4().as_u64_pair().0.max(1));
                write(dir, node, 0)?;
                (node, 0)
            }
            Err(cause) => return Err(cannot("read", &path, cause)),
        };
        Ok(Folder { dir: dir.to_owned(), node, groups, lock })
    }

    /// The first start is complete.
    pub(crate) fn set_groups(&mut self, groups: u64) -> Result<()> {
        write(&self.dir, self.node, groups)?;
        self.groups = groups;
        Ok(())
    }

    pub(crate) fn raft(&self) -> PathBuf {
        self.dir.join("raft")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoints")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Lets another process open it.
    pub(crate) fn unlock(&self) {
        if let Err(error) = FileExt::unlock(&self.lock) {
            tracing::warn!(%error, "cannot unlock the data folder");
        }
    }
}

fn cannot(verb: &str, path: &Path, cause: std::io::Error) -> Error {
    let read_only = matches!(cause.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied);
    let error = Error::io(format!("could not {verb} \"{}\"", path.display()), cause);
    if read_only {
        error.with_hint("The data folder must be writable by the user that runs the server.")
    } else {
        error
    }
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("LOCK");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|cause| cannot("open lock file", &path, cause))?;
    match file.try_lock_exclusive() {
        Ok(()) => Ok(file),
        Err(cause) if cause.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Err(Error::new(
            SqlState::OBJECT_IN_USE,
            format!("data folder \"{}\" is in use by another process", dir.display()),
        )),
        Err(cause) => Err(cannot("lock", &path, cause)),
    }
}

/// A folder without VERSION that has other things in it is somebody else's, or damaged.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let entries = std::fs::read_dir(dir).map_err(|cause| cannot("read", dir, cause))?;
    for entry in entries {
        let name = entry.map_err(|cause| cannot("read", dir, cause))?.file_name();
        if name != "LOCK" && name != "VERSION.tmp" && name != "lost+found" {
            return Err(Error::new(
                SqlState::CONFIG_FILE_ERROR,
                format!("folder \"{}\" is not empty and has no VERSION file", dir.display()),
            )
            .with_detail(format!("It contains \"{}\".", name.to_string_lossy()))
            .with_hint("Give an empty folder, or one that Quiver made."));
        }
    }
    Ok(())
}

fn write(dir: &Path, node: NodeId, groups: u64) -> Result<()> {
    let body = format!("{TITLE}\nformat {FORMAT}\nnode {node}\ngroups {groups}\n");
    let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
    let (path, temporary) = (dir.join("VERSION"), dir.join("VERSION.tmp"));
    let replace = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    };
    replace().map_err(|cause| cannot("write", &path, cause))
}

fn parse(text: &str, path: &Path) -> Result<(NodeId, u64)> {
    let damaged = || Error::corrupt(format!("\"{}\" is not a VERSION file of Quiver", path.display()));
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<u64>().ok()).ok_or_else(damaged)
    };
    if text.lines().next() != Some(TITLE) {
        return Err(damaged());
    }
    // Before the checksum: a newer version may compute another.
    let format = number("format")?;
    if format > FORMAT {
        return Err(Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("\"{}\" has format {format}; this Quiver reads up to format {FORMAT}", path.display()),
        )
        .with_hint("Start it with the Quiver that wrote it, or a newer one."));
    }
    let (body, crc) = text.rsplit_once("crc32c ").ok_or_else(damaged)?;
    if crc.trim_end() != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
        return Err(damaged());
    }
    Ok((NodeId(number("node")?), number("groups")?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;

    #[test]
    fn a_second_process_a_newer_format_and_damage_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        assert_eq!(Folder::open(dir.path()).unwrap_err().state(), SqlState::OBJECT_IN_USE);
        folder.set_groups(3).unwrap();
        let node = folder.node;
        drop(folder);
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!((folder.node, folder.groups), (node, 3));
        drop(folder);
        let path = dir.path().join("VERSION");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("groups 3", "groups 4")).unwrap();
        assert_eq!(Folder::open(dir.path()).unwrap_err().state(), SqlState::DATA_CORRUPTED);
        std::fs::write(&path, text.replace("format 1", "format 2")).unwrap();
        let error = Folder::open(dir.path()).unwrap_err();
        assert!(error.message().contains("has format 2"), "{error}");
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(Folder::open(dir.path()).unwrap_err().detail().unwrap().contains("thesis.tex"));
    }
}
