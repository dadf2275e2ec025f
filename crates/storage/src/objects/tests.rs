#![allow(clippy::unwrap_used)] // tests

mod local;
mod remote;
mod s3;
