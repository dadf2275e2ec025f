//! A file layer that forgets, at a power cut, what was not fsynced.
//!
//! Modelled: writes, truncations and reservations are lost, kept, or kept in part (sectors of 512 bytes, in
//! any order) unless the file was synced after them. A created, renamed or removed name is undone unless
//! its folder was synced after it; of the changes since, any prefix may survive. An fsync that returned keeps
//! its promise, unless `ignore_syncs` says otherwise: then a test must see loss. From the cut until `power_on` every
//! operation fails, and files opened before the cut fail for ever.
//!
//! Not modelled: loss of folders themselves, bit rot, and the lock file and folder listing of raft-engine,
//! which go to the real disk. Files lie on the real disk at their real paths.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::Dice;
use crate::fs::{DiskFs, RaftFile, RaftFs};

const SECTOR_LEN: usize = 512;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residue {
    /// Nothing: the disk as of the last fsyncs.
    Nothing,
    /// Some of it: any sectors of any write, any prefix of a folder's changes.
    Some,
    /// All of it: as if only the process had died.
    All,
}

/// Files that forget. Clones are handles of the same disk.
#[derive(Clone, Default)]
pub struct LossyFs(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    inodes: HashMap<u64, Inode>,
    next_inode: u64,
    /// Names as the process sees them, and as the folders on disk have them.
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since their folder was synced.
    name_changes: Vec<NameChange>,
    /// Raised by a cut; files of an older generation are dead.
    generation: u64,
    power_is_off: bool,
    operations: u64,
    cut_at: Option<u64>,
    ignored: Option<fn(&Path) -> bool>,
    fail_syncs: bool,
    syncs: u64,
}

struct Inode {
    file: File,
    unsynced: Vec<Change>,
}

enum Change {
    Write { offset: u64, old: Vec<u8>, new: Vec<u8>, old_len: u64 },
    Resize { old_len: u64, new_len: u64, cut: Vec<u8> },
}

struct NameChange {
    path: PathBuf,
    /// The inode the name leads to afterwards; none if it is gone.
    to: Option<u64>,
    /// Changes of one rename survive together.
    with_next: bool,
}

struct LossyFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    generation: u64,
}

impl LossyFs {
    /// A disk with the power on.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on fsyncs of these files and folders do nothing and say they did.
    pub fn ignore_syncs(&self, of: fn(&Path) -> bool) {
        self.0.lock().ignored = Some(of);
    }

    /// From now on fsyncs of files fail.
    pub fn fail_syncs(&self, fail: bool) {
        self.0.lock().fail_syncs = fail;
    }

    /// Fsyncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Changes (writes, resizes, fsyncs, names) so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Cuts the power right before the change that comes after so many more.
    pub fn cut_power_after(&self, operations: u64) {
        let mut disk = self.0.lock();
        disk.cut_at = Some(disk.operations + operations);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.0.lock().power_is_off = true;
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.0.lock().power_is_off
    }

    /// Puts the power on again; the disk holds what survived.
    pub fn power_on(&self, residue: Residue, seed: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        let mut dice = Dice::new(seed);
        disk.restore_contents(residue, &mut dice)?;
        disk.restore_names(residue, &mut dice)?;
        disk.generation += 1;
        disk.power_is_off = false;
        disk.cut_at = None;
        Ok(())
    }
}

impl Disk {
    /// Counts a change; fails if the power is off, or goes off here.
    fn change(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.cut_at.is_some_and(|at| self.operations > at) {
            self.power_is_off = true;
        }
        self.powered()
    }

    fn ignores(&self, path: &Path) -> bool {
        self.ignored.is_some_and(|of| of(path))
    }

    fn powered(&self) -> io::Result<()> {
        if self.power_is_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// The inode of a path; one found on the real disk only was there before and is durable.
    fn inode(&mut self, path: &Path, create: bool) -> io::Result<u64> {
        if let Some(inode) = self.names.get(path) {
            return Ok(*inode);
        }
        let existed = path.exists();
        if create && !existed {
            self.change()?;
        }
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode { file, unsynced: Vec::new() });
        self.names.insert(path.to_owned(), inode);
        if existed {
            self.durable_names.insert(path.to_owned(), inode);
        } else {
            self.name_changes.push(NameChange { path: path.to_owned(), to: Some(inode), with_next: false });
        }
        Ok(inode)
    }

    /// Undoes what was not synced, then does again what the dice keep of it.
    fn restore_contents(&mut self, residue: Residue, dice: &mut Dice) -> io::Result<()> {
        for inode in self.inodes.values_mut() {
            let changes = std::mem::take(&mut inode.unsynced);
            if residue == Residue::All {
                continue;
            }
            for change in changes.iter().rev() {
                match change {
                    Change::Write { offset, old, old_len, .. } => {
                        inode.file.write_all_at(old, *offset)?;
                        inode.file.set_len(*old_len)?;
                    }
                    Change::Resize { old_len, cut, .. } => {
                        inode.file.set_len(*old_len)?;
                        inode.file.write_all_at(cut, old_len - cut.len() as u64)?;
                    }
                }
            }
            for change in changes.iter().filter(|_| residue == Residue::Some) {
                match change {
                    Change::Write { offset, new, .. } => {
                        for (i, sector) in new.chunks(SECTOR_LEN).enumerate() {
                            if dice.chance(50) {
                                inode.file.write_all_at(sector, offset + (i * SECTOR_LEN) as u64)?;
                            }
                        }
                    }
                    Change::Resize { new_len, .. } if dice.chance(50) => inode.file.set_len(*new_len)?,
                    Change::Resize { .. } => {}
                }
            }
        }
        Ok(())
    }

    fn restore_names(&mut self, residue: Residue, dice: &mut Dice) -> io::Result<()> {
        let changes = std::mem::take(&mut self.name_changes);
        let mut keep = match residue {
            Residue::Nothing => 0,
            Residue::Some => dice.below(changes.len() as u64 + 1) as usize,
            Residue::All => changes.len(),
        };
        while keep > 0 && changes[keep - 1].with_next {
            keep -= 1;
        }
        let mut names = std::mem::take(&mut self.durable_names);
        for change in changes.into_iter().take(keep) {
            match change.to {
                Some(inode) => drop(names.insert(change.path, inode)),
                None => drop(names.remove(&change.path)),
            }
        }
        let mut contents = Vec::new();
        for (path, inode) in &names {
            let file = &self.inodes[inode].file;
            let mut bytes = vec![0; file.metadata()?.len() as usize];
            file.read_exact_at(&mut bytes, 0)?;
            contents.push((path.clone(), bytes));
        }
        for path in self.names.keys() {
            std::fs::remove_file(path)?;
        }
        for (path, bytes) in contents {
            std::fs::write(path, bytes)?;
        }
        // Everything on the real disk is durable now, and is found there again when it is opened.
        self.names.clear();
        self.inodes.clear();
        Ok(())
    }
}

impl LossyFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        disk.powered()?;
        if disk.generation != self.generation {
            return Err(io::Error::other("this file was open when the power went off"));
        }
        Ok(disk)
    }

    /// Changes the file, with its inode and its length before.
    fn change(&self, act: impl FnOnce(&mut Inode, u64) -> io::Result<()>) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.change()?;
        let inode = disk.inodes.get_mut(&self.inode).unwrap();
        let len = inode.file.metadata()?.len();
        act(inode, len)
    }
}

fn read_range(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; to.saturating_sub(from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

impl RaftFile for LossyFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let disk = self.disk()?;
        let file = &disk.inodes[&self.inode].file;
        let left = file.metadata()?.len().saturating_sub(offset);
        let len = buf.len().min(left as usize);
        file.read_exact_at(&mut buf[..len], offset)?;
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|inode, old_len| {
            let old = read_range(&inode.file, offset, old_len.min(offset + bytes.len() as u64))?;
            inode.file.write_all_at(bytes, offset)?;
            inode.unsynced.push(Change::Write { offset, old, new: bytes.to_vec(), old_len });
            Ok(())
        })
    }

    fn set_len(&self, new_len: u64) -> io::Result<()> {
        self.change(|inode, old_len| {
            let cut = read_range(&inode.file, new_len, old_len)?;
            inode.file.set_len(new_len)?;
            inode.unsynced.push(Change::Resize { old_len, new_len, cut });
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(|inode, old_len| {
            if len > old_len {
                inode.file.set_len(len)?;
                inode.unsynced.push(Change::Resize { old_len, new_len: len, cut: Vec::new() });
            }
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk()?.inodes[&self.inode].file.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.change()?;
        if disk.fail_syncs {
            return Err(io::Error::other("the disk failed"));
        }
        disk.syncs += 1;
        let path = disk.names.iter().find(|(_, inode)| **inode == self.inode).map(|(path, _)| path);
        if !path.is_some_and(|path| disk.ignores(path)) {
            disk.inodes.get_mut(&self.inode).unwrap().unsynced.clear();
        }
        Ok(())
    }
}

impl RaftFs for LossyFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn RaftFile>> {
        let mut disk = self.0.lock();
        disk.powered()?;
        let inode = disk.inode(path, true)?;
        Ok(Box::new(LossyFile { disk: self.0.clone(), inode, generation: disk.generation }))
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Box<dyn RaftFile>> {
        let mut disk = self.0.lock();
        disk.powered()?;
        let inode = disk.inode(path, false)?;
        Ok(Box::new(LossyFile { disk: self.0.clone(), inode, generation: disk.generation }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.inode(path, false)?;
        disk.change()?;
        std::fs::remove_file(path)?;
        disk.names.remove(path);
        disk.name_changes.push(NameChange { path: path.to_owned(), to: None, with_next: false });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let inode = disk.inode(from, false)?;
        if to.exists() {
            // Known to the model before its name is taken away, so that the name can come back.
            disk.inode(to, false)?;
        }
        disk.change()?;
        std::fs::rename(from, to)?;
        disk.names.remove(from);
        disk.names.insert(to.to_owned(), inode);
        disk.name_changes.push(NameChange { path: to.to_owned(), to: Some(inode), with_next: true });
        disk.name_changes.push(NameChange { path: from.to_owned(), to: None, with_next: false });
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.lock().change()?;
        DiskFs.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.change()?;
        if disk.ignores(path) {
            return Ok(());
        }
        let changes = std::mem::take(&mut disk.name_changes);
        for change in changes {
            if change.path.parent() != Some(path) {
                disk.name_changes.push(change);
                continue;
            }
            match change.to {
                Some(inode) => drop(disk.durable_names.insert(change.path, inode)),
                None => drop(disk.durable_names.remove(&change.path)),
            }
        }
        Ok(())
    }
}
