//! The way from a URL and the environment to an S3 server, here one of a few lines.

use crate::objects::*;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

/// Serves what [`Objects`] asks of one bucket by path, to one client at a time.
fn serve(listener: TcpListener) {
    let objects = Mutex::new(BTreeMap::new());
    for stream in listener.incoming().flatten() {
        let _ = serve_one(stream, &objects);
    }
}

fn serve_one(mut stream: TcpStream, objects: &Mutex<BTreeMap<String, Vec<u8>>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |bytes| bytes.parse().unwrap())];
    reader.read_exact(&mut body)?;
    let mut objects = objects.lock();
    let mut answer = |status: &str, extra: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"e\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\n{extra}"
        );
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes())?;
        stream.write_all(if method == "HEAD" { b"" } else { body })
    };
    if !headers.get("authorization").is_some_and(|value| value.contains("Credential=good/")) {
        return answer("403 Forbidden", "", b"<Error><Code>AccessDenied</Code></Error>");
    }
    if method == "POST" && path == "/bucket?delete" {
        let request = String::from_utf8_lossy(&body);
        let key = request.split_once("<Key>").and_then(|(_, rest)| rest.split_once("</Key>")).unwrap().0;
        objects.remove(&format!("/bucket/{key}"));
        let done = format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>");
        return answer("200 OK", "", done.as_bytes());
    }
    if method == "GET" && path.starts_with("/bucket?list-type=2") {
        return answer(
            "200 OK",
            "",
            b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
        );
    }
    if !path.starts_with("/bucket/") {
        return answer("404 Not Found", "", b"<Error><Code>NoSuchBucket</Code></Error>");
    }
    match (method.as_str(), objects.get(&path)) {
        ("PUT", _) => {
            objects.insert(path, body);
            answer("200 OK", "", b"")
        }
        (_, None) => answer("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"),
        (_, Some(object)) => {
            match headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
                Some((start, end)) => {
                    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                    let range = format!("Content-Range: bytes {start}-{end}/{}\r\n", object.len());
                    answer("206 Partial Content", &range, &object[start..=end])
                }
                None => answer("200 OK", "", object),
            }
        }
    }
}

/// Runs [`client`] in a process of its own, since the environment belongs to the whole process.
fn run_client(url: &str, endpoint: &str, key: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "objects::tests::s3::client", "--ignored", "--nocapture"])
        .env("QUIVER_TEST_URL", url)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap()
}

#[test]
#[ignore = "run by the tests below, with an environment"]
fn client() {
    let Ok(url) = std::env::var("QUIVER_TEST_URL") else { return };
    let dir = tempfile::tempdir().unwrap();
    let options = ObjectsOptions {
        request_timeout: Duration::from_secs(2),
        attempts_max: 1,
        ..ObjectsOptions::new(dir.path())
    };
    match Objects::open_with(&url, options) {
        Ok(objects) => {
            let object = objects.put("shards/1/x", b"content").unwrap();
            fs::remove_file(dir.path().join("shards/1/x")).unwrap();
            assert_eq!(&**objects.map(&object).unwrap(), b"content");
            objects.delete("shards/1/x").unwrap();
            assert_eq!(objects.get("shards/1/x").unwrap_err().state(), SqlState::UNDEFINED_FILE);
            println!("worked");
        }
        Err(error) => println!("refused: {error:?}"),
    }
}

#[test]
fn the_environment_says_where_s3_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(listener));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    for (url, endpoint, key, expected) in [
        ("s3://bucket/some/prefix", &endpoint, "good", vec!["worked"]),
        ("s3://bucket", &endpoint, "good", vec!["worked"]),
        (
            "s3://other/prefix",
            &endpoint,
            "good",
            vec!["cannot use object store \"s3://other/prefix\"", "the bucket does not exist"],
        ),
        ("s3://bucket", &endpoint, "bad", vec!["cannot use object store", "42501", "permission denied"]),
        ("s3://bucket", &closed, "good", vec!["cannot use object store", "58030"]),
    ] {
        let output = run_client(url, endpoint, key);
        let printed = String::from_utf8_lossy(&output.stdout);
        for words in expected {
            assert!(
                printed.contains(words),
                "{url} {key}: {printed} {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
