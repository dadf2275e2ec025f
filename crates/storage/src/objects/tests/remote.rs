//! Objects behind a network that fails, and the folder they are cached in.

use crate::objects::testing::{Fault, FaultyStore};
use crate::objects::*;
use std::fs;
use tempfile::TempDir;

struct Remote {
    dir: TempDir,
    store: Arc<FaultyStore>,
}

impl Remote {
    fn new() -> Remote {
        Remote { dir: tempfile::tempdir().unwrap(), store: Arc::default() }
    }

    fn open(&self, cache_bytes_max: u64) -> Arc<Objects> {
        let options = ObjectsOptions {
            cache_bytes_max,
            attempts_max: 3,
            request_timeout: Duration::from_millis(200),
            part_bytes: 100,
            ..ObjectsOptions::new(self.dir.path())
        };
        Objects::remote(self.store.clone(), "some/prefix", options).unwrap()
    }

    fn cached(&self, object: &ObjectRef) -> PathBuf {
        self.dir.path().join(&object.path)
    }

    /// Puts objects of 150 bytes, then begins anew with an empty cache.
    fn with_objects(&self, count: u8, cache_bytes_max: u64) -> (Vec<ObjectRef>, Arc<Objects>) {
        let objects = self.open(u64::MAX);
        let put = (0..count).map(|at| objects.put(&format!("o/{at}"), &[at; 150]).unwrap()).collect();
        let _ = fs::remove_dir_all(self.dir.path().join("o"));
        (put, self.open(cache_bytes_max))
    }
}

#[test]
fn small_and_large_objects_come_back() {
    let remote = Remote::new();
    let objects = remote.open(u64::MAX);
    objects.probe().unwrap();
    for bytes in [0, 1, 99, 100, 101, 1234] {
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let object = objects.put(&format!("a/{bytes}"), &content).unwrap();
        assert_eq!(objects.read(&object).unwrap(), content);
        objects.verify(&object).unwrap();
        assert_eq!(&**objects.map(&object).unwrap(), &content[..]);
        fs::remove_file(remote.cached(&object)).unwrap();
        assert_eq!(&**remote.open(u64::MAX).map(&object).unwrap(), &content[..]);
        let range = bytes as u64 / 3..bytes as u64;
        assert_eq!(objects.get_range(&object.path, range).unwrap(), content[bytes / 3..]);
    }
    let list = objects.list("a").unwrap();
    assert_eq!(list.len(), 6);
    assert_eq!(list[5], ObjectInfo { path: "a/99".into(), bytes: 99 });
    objects.delete("a/99").unwrap();
    objects.delete("a/99").unwrap();
    assert_eq!(objects.list("").unwrap().len(), 5);
    let gone = objects.get("a/99").unwrap_err();
    assert_eq!(gone.state(), SqlState::UNDEFINED_FILE);
    assert_eq!(gone.message(), "object \"a/99\" does not exist");
    assert!(fs::read_dir(remote.dir.path().join(".tmp")).unwrap().next().is_none());
}

#[test]
fn failures_that_pass_are_not_noticed() {
    let remote = Remote::new();
    let objects = remote.open(u64::MAX);
    for fault in [Fault::Fail, Fault::Hang] {
        for bytes in [50, 250] {
            remote.store.inject(fault, 2);
            let object = objects.put(&format!("a/{fault:?}{bytes}"), &vec![7; bytes]).unwrap();
            remote.store.inject(fault, 1);
            assert_eq!(objects.read(&object).unwrap().len(), bytes);
        }
    }
}

#[test]
fn failures_that_stay_are_reported_in_bounded_time() {
    let remote = Remote::new();
    let objects = remote.open(u64::MAX);
    for (fault, state, words, requests) in [
        (Fault::Fail, SqlState::IO_ERROR, "injected", 3),
        (Fault::Hang, SqlState::IO_ERROR, "no answer within 0.2 s", 3),
        (Fault::Deny, SqlState::INSUFFICIENT_PRIVILEGE, "permission denied", 1),
        (Fault::NoBucket, SqlState::UNDEFINED_FILE, "the bucket does not exist", 1),
    ] {
        let before = remote.store.requests();
        remote.store.inject(fault, 3);
        let error = objects.put("a/b", b"x").unwrap_err();
        assert_eq!(error.state(), state, "{error}");
        assert!(error.message().contains("object \"a/b\"") && error.message().contains(words), "{error}");
        assert_eq!(remote.store.requests() - before, requests);
        remote.store.clear();
    }
    assert!(objects.list("").unwrap().is_empty());
}

#[test]
fn one_download_serves_all_who_ask() {
    let remote = Remote::new();
    let (put, objects) = remote.with_objects(1, u64::MAX);
    let before = remote.store.requests();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(objects.map(&put[0]).unwrap().len(), 150));
        }
    });
    assert_eq!(remote.store.requests() - before, 2, "two parts, once each");
}

#[test]
fn the_cache_drops_what_nobody_reads() {
    let remote = Remote::new();
    let (put, objects) = remote.with_objects(5, 350);
    let held = objects.map(&put[0]).unwrap();
    drop(objects.map(&put[1]).unwrap());
    drop(objects.map(&put[2]).unwrap());
    let cached = || put.iter().map(|object| remote.cached(object).exists()).collect::<Vec<_>>();
    assert_eq!(cached(), [true, false, true, false, false], "the one in use stays, though it is older");
    let second = objects.map(&put[2]).unwrap();
    let third = objects.map(&put[3]).unwrap();
    assert_eq!(cached(), [true, false, true, true, false], "all in use: the bound gives way");
    assert_eq!(objects.maps.cached_bytes(), 450);
    drop((held, second, third));
    drop(objects.map(&put[4]).unwrap());
    assert_eq!(cached(), [false, false, false, true, true]);
    assert_eq!(objects.maps.cached_bytes(), 300);
    objects.delete(&put[4].path).unwrap();
    assert!(!remote.cached(&put[4]).exists());
}

#[test]
fn the_cache_outlives_the_process_and_is_checked() {
    let remote = Remote::new();
    let (put, objects) = remote.with_objects(2, u64::MAX);
    put.iter().for_each(|object| drop(objects.map(object).unwrap()));
    fs::write(remote.cached(&put[1]), [9; 150]).unwrap();
    let objects = remote.open(u64::MAX);
    let before = remote.store.requests();
    drop(objects.map(&put[0]).unwrap());
    assert_eq!(remote.store.requests(), before, "it was still there");
    assert_eq!(&**objects.map(&put[1]).unwrap(), &[1; 150], "fetched again, since it was damaged");
    assert!(remote.store.requests() > before);

    let wrong = ObjectRef { crc32c: 1, ..put[0].clone() };
    let objects = remote.open(u64::MAX);
    for error in [objects.map(&wrong).unwrap_err(), objects.verify(&wrong).unwrap_err()] {
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
        assert!(error.message().contains("object \"o/0\""), "{error}");
    }
    // A smaller bound than what is there.
    let objects = remote.open(100);
    drop(objects.map(&put[1]).unwrap());
    assert!(!remote.cached(&put[0]).exists());
}

#[tokio::test]
async fn workers_of_another_runtime_may_call() {
    let remote = Remote::new();
    let objects = remote.open(u64::MAX);
    let object = objects.put("a/b", b"x").unwrap();
    assert_eq!(objects.read(&object).unwrap(), b"x"[..]);
    drop(objects);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    Objects::open(&url, dir.path()).await.unwrap();
}

#[test]
fn urls_are_checked() {
    for url in ["", "x", "file://relative", "s3://", "ftp://host/x", "s3:///prefix"] {
        let error = Objects::open_with(url, ObjectsOptions::new("unused")).unwrap_err();
        assert_eq!(error.state(), SqlState::INVALID_PARAMETER_VALUE, "{url}");
        assert!(error.message().contains(&format!("invalid object store URL \"{url}\"")), "{error}");
    }
    let error = Objects::open_with("file:///proc/quiver", ObjectsOptions::new("unused")).unwrap_err();
    assert!(error.message().contains("/proc/quiver"), "{error}");
}
