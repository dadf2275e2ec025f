//! PostgreSQL's protocol: bytes to messages and back, connecting, authentication, the listener. Knows no SQL.
//!
//! The codec is written here and not taken from a crate: what must hold is that a message is read inside its own length and nowhere
//! else, that text which is not UTF-8 is refused and not repaired, and that rows go from Arrow to the socket without a copy
//! between.

pub(crate) mod backend;
pub(crate) mod connection;
pub(crate) mod frontend;
pub(crate) mod hba;
mod lanes;
mod listener;
mod login;
pub(crate) mod scram;
mod socket;
mod startup;
mod tls;

pub use hba::HbaSource;
pub use lanes::STACK_BYTES;
pub use listener::{ServerConfig, SqlMetrics, SqlServer};
pub use tls::TlsFiles;
