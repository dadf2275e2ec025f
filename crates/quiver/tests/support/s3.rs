//! An S3 server of the tests: `tests/s3-server` as a child process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An S3 server over a folder whose sub-folders are the buckets. Killed when dropped.
pub(crate) struct S3Server {
    child: Child,
    address: String,
}

impl S3Server {
    /// Begins to serve.
    pub(crate) fn start(folder: &Path) -> S3Server {
        let mut child =
            Command::new(binary()).arg(folder).stdout(Stdio::piped()).spawn().expect("the S3 server runs");
        let mut address = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut address).expect("its address");
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        S3Server { child, address: address.trim().to_owned() }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Options of a server that keeps its segments under `url`.
    pub(crate) fn options<'a>(endpoint: &'a str, url: &'a str) -> [(&'a str, &'a str); 6] {
        [
            ("--object-store", url),
            ("env:AWS_ENDPOINT", endpoint),
            ("env:AWS_ALLOW_HTTP", "true"),
            ("env:AWS_ACCESS_KEY_ID", "test"),
            ("env:AWS_SECRET_ACCESS_KEY", "testtest"),
            ("env:AWS_REGION", "us-east-1"),
        ]
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `QUIVER_S3_SERVER`, or `tests/s3-server` built now.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("QUIVER_S3_SERVER") {
        return path.into();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3-server");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/s3-server/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "tests/s3-server does not build");
    target.join("debug/s3-server")
}
