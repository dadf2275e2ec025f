//! Run-time settings (GUCs) of one session.

/// SET, SET LOCAL, RESET, SHOW. Names are case-insensitive; unknown names with a dot are accepted, as in PostgreSQL.
#[derive(Clone, Debug, Default)]
pub struct Settings {}
