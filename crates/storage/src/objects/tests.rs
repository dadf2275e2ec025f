//! Objects: in a folder, in a remote store, over S3.

#![allow(clippy::unwrap_used)] // tests

mod local;
mod remote;
mod s3;
