//! Objects in a folder survive a power cut once they were put, and every sync on the way there is needed.

use crate::objects::testing::LossyFs;
use crate::objects::*;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

fn open() -> (tempfile::TempDir, Arc<Objects>) {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::open_with(
        &format!("file://{}", dir.path().join("new/store").display()),
        ObjectsOptions::new(dir.path().join("cache")),
    );
    (dir, objects.unwrap())
}

#[test]
fn objects_are_put_read_listed_and_deleted() {
    let (_dir, objects) = open();
    assert!(objects.list("").unwrap().is_empty(), "the probe is gone");
    let content: Vec<u8> = (0..700_000u32).map(|byte| byte as u8).collect();
    let small = objects.put("shards/1/2/small", b"hello").unwrap();
    let mut writer = objects.create("shards/1/3/large").unwrap();
    content.chunks(100_001).for_each(|chunk| writer.append(chunk).unwrap());
    assert!(objects.get("shards/1/3/large").is_err(), "not there before it is finished");
    let large = writer.finish().unwrap();
    assert_eq!((large.bytes, large.crc32c), (700_000, crc32c::crc32c(&content)));

    assert_eq!(objects.read(&large).unwrap(), content);
    assert_eq!(&objects.get_range(&large.path, 300..310).unwrap(), &content[300..310]);
    assert!(objects.get_range(&large.path, 699_999..700_001).is_err());
    let map = objects.map(&large).unwrap();
    assert_eq!(&**map, &content[..]);
    assert!(Arc::ptr_eq(&map, &objects.map(&large).unwrap()));
    objects.verify(&small).unwrap();

    let paths = |prefix| objects.list(prefix).unwrap().into_iter().map(|info| info.path).collect::<Vec<_>>();
    assert_eq!(paths(""), ["shards/1/2/small", "shards/1/3/large"]);
    assert_eq!(paths("shards/1/3"), ["shards/1/3/large"]);
    assert!(paths("shards/1/4").is_empty());

    objects.delete(&large.path).unwrap();
    objects.delete(&large.path).unwrap();
    assert_eq!(&**map, &content[..], "what is mapped stays readable");
    drop(map);
    for error in [objects.map(&large).unwrap_err(), objects.get(&large.path).unwrap_err()] {
        assert_eq!(error.state(), SqlState::UNDEFINED_FILE);
        assert_eq!(error.message(), "object \"shards/1/3/large\" does not exist");
    }
    assert_eq!(paths(""), ["shards/1/2/small"]);
}

#[test]
fn empty_folders_go_and_come_back() {
    let (dir, objects) = open();
    for _ in 0..2 {
        objects.put("shards/1/x", b"1").unwrap();
        objects.delete("shards/1/x").unwrap();
        assert!(!dir.path().join("new/store/shards").exists());
    }
}

#[test]
fn paths_stay_inside() {
    let (_dir, objects) = open();
    for path in ["", "/x", "a//b", "../x", "a/../../x", ".tmp/x", "a/.hidden", "a\\b"] {
        assert!(objects.put(path, b"x").is_err(), "{path}");
        assert!(objects.get(path).is_err(), "{path}");
        assert!(objects.delete(path).is_err(), "{path}");
    }
}

#[test]
fn damage_is_named() {
    let (dir, objects) = open();
    let object = objects.put("a/b", b"some content").unwrap();
    fs::write(dir.path().join("new/store/a/b"), b"some c0ntent").unwrap();
    for error in [
        objects.map(&object).unwrap_err(),
        objects.read(&object).unwrap_err(),
        objects.verify(&object).unwrap_err(),
    ] {
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
        assert!(error.message().contains("object \"a/b\""), "{error}");
    }
}

#[test]
fn a_full_disk_and_a_read_only_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Arc::new(LossyFs::new(dir.path()));
    let objects = Objects::local(dir.path(), fs.clone()).unwrap();
    for (kind, state) in [
        (io::ErrorKind::StorageFull, SqlState::DISK_FULL),
        (io::ErrorKind::ReadOnlyFilesystem, SqlState::IO_ERROR),
    ] {
        let mut writer = objects.create("a/full").unwrap();
        fs.fail(Some(kind));
        let failed = writer.append(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(failed.state(), state);
        assert!(failed.message().contains("object \"a/full\""), "{failed}");
        assert_eq!(writer.finish().unwrap_err().state(), state);
        assert_eq!(objects.create("a/full").unwrap_err().state(), state);
        fs.fail(None);
    }
    assert!(objects.list("").unwrap().is_empty());
}

#[test]
fn what_was_put_survives_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Arc::new(LossyFs::new(dir.path()));
    let objects = Objects::local(dir.path(), fs.clone()).unwrap();
    let mut put = Vec::new();
    let mut unfinished = objects.create("a/unfinished").unwrap();
    unfinished.append(b"x").unwrap();
    for path in ["a/b/c", "a/b/d", "a/e", "f"] {
        put.push(objects.put(path, path.as_bytes()).unwrap());
    }
    fs.power_cut().unwrap();
    let objects = Objects::local(dir.path(), fs.clone()).unwrap();
    put.iter().for_each(|object| objects.verify(object).unwrap());
    assert_eq!(objects.list("").unwrap().len(), 4);
    // Folders that the process before made are not taken on trust.
    put.push(objects.put("a/b/g", b"g").unwrap());
    fs.power_cut().unwrap();
    put.iter().for_each(|object| objects.verify(object).unwrap());
}

/// Leaves out one of the syncs.
#[derive(Debug)]
struct Skipping {
    fs: LossyFs,
    syncs: AtomicUsize,
    skipped: usize,
}

impl Skipping {
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.syncs.fetch_add(1, Ordering::Relaxed) == self.skipped { Ok(()) } else { sync() }
    }
}

impl LocalFs for Skipping {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<File> {
        self.fs.create(path)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.fs.write(file, bytes)
    }
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()> {
        self.sync(|| self.fs.sync_file(path, file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.sync(|| self.fs.sync_dir(path))
    }
}

#[test]
fn every_sync_is_needed() {
    // The first is of the folder of temporary files, whose loss costs nothing.
    let survives = |skipped: usize| {
        let dir = tempfile::tempdir().unwrap();
        let fs = Arc::new(Skipping { fs: LossyFs::new(dir.path()), syncs: AtomicUsize::new(0), skipped });
        let objects = Objects::local(dir.path(), fs.clone()).unwrap();
        let object = objects.put("a/b/c", b"content").unwrap();
        fs.fs.power_cut().unwrap();
        (objects.verify(&object).is_ok(), fs.syncs.load(Ordering::Relaxed))
    };
    let (survived, syncs) = survives(usize::MAX);
    assert!(survived);
    assert_eq!(syncs, 5);
    for skipped in 1..syncs {
        assert!(!survives(skipped).0, "sync {skipped} was left out and nothing was lost");
    }
}

/// Many put at once into folders that none of them has seen.
#[test]
fn puts_at_once_are_all_durable() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Arc::new(LossyFs::new(dir.path()));
    let objects = Objects::local(dir.path(), fs.clone()).unwrap();
    let put: Vec<ObjectRef> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let objects = &objects;
                scope.spawn(move || {
                    let put = |at| {
                        objects.put(&format!("s/{at}/x{thread}"), b"gone").unwrap();
                        objects.delete(&format!("s/{at}/x{thread}")).unwrap();
                        objects.put(&format!("s/{at}/{thread}"), &[thread; 10]).unwrap()
                    };
                    (0..5).map(put).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    fs.power_cut().unwrap();
    put.iter().for_each(|object| objects.verify(object).unwrap());
}
