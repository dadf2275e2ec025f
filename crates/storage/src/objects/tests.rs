//! Object stores: what is written is read, and damage is noticed.

#![allow(clippy::unwrap_used)] // tests

mod local;
mod remote;
mod s3;
