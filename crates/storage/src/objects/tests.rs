#![allow(clippy::unwrap_used)] // tests
use super::testing::LossyFs;
use super::*;
