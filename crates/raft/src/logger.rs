//! raft-rs logs through slog; its records go to tracing. Knows neither's settings.

use std::fmt::Write as _;

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

/// A logger for raft-rs whose records become tracing events of target `raft`.
pub(crate) fn to_tracing() -> Logger {
    Logger::root(ToTracing, o!())
}

struct ToTracing;

/// `key=value` pairs after the message.
struct Pairs(String);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // Elections are news to whoever watches a cluster, every message is not.
        let level = record.level();
        let important = level.is_at_least(Level::Warning);
        let enabled = if important {
            tracing::enabled!(target: "raft", tracing::Level::WARN)
        } else {
            tracing::enabled!(target: "raft", tracing::Level::DEBUG)
        };
        if !enabled {
            return Ok(());
        }
        let mut pairs = Pairs(String::new());
        // Formatting into a string cannot fail; a record without its pairs is still worth having.
        let _incomplete = record.kv().serialize(record, &mut pairs);
        let _incomplete = values.serialize(record, &mut pairs);
        if important {
            tracing::warn!(target: "raft", "{}{}", record.msg(), pairs.0);
        } else {
            tracing::debug!(target: "raft", "{}{}", record.msg(), pairs.0);
        }
        Ok(())
    }
}
