//! One connection's state: who it is, its settings, its transaction, its prepared statements and portals.

mod command;
mod info;

pub(crate) use command::{SessionCommand, parse_command};
pub(crate) use info::SessionInfo;
