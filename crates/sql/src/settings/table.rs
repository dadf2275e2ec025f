//! Every setting: its name, kind, default and what it does here. `SHOW ALL`, pg_settings and the documentation read this list.

use hashbrown::HashMap;
use std::sync::LazyLock;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// on or off.
    Bool,
    /// A whole number, between limits, in a unit.
    Int {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// What one counts.
        unit: Unit,
    },
    /// A number, between limits.
    Real {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// One of some words.
    Enum(&'static [&'static str]),
    /// Text, as it is.
    Text,
    /// Checked and rewritten by a rule of its own.
    Special(Special),
}

/// Settings with a rule of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the settings' names
pub(crate) enum Special {
    TimeZone,
    DateStyle,
    ClientEncoding,
    SearchPath,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // say it themselves
pub(crate) enum Unit {
    None,
    Milliseconds,
    Kilobytes,
}

/// What a setting does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What it does in PostgreSQL or pgvector.
    Works,
    /// Accepted, checked, shown and without effect: for clients that set it as a matter of course.
    Ignored,
    /// Tells something and cannot be set: 55P02.
    Fixed,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// As SHOW ALL and pg_settings write it.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value unless somebody says otherwise, as text.
    pub default: &'static str,
    /// What it does here.
    pub effect: Effect,
    /// The client is told when it changes.
    pub reported: bool,
    /// One line about it.
    pub description: &'static str,
}

const fn works(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, effect: Effect::Works, reported: false, description }
}

const fn ignored(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, effect: Effect::Ignored, reported: false, description }
}

const fn fixed(name: &'static str, default: &'static str, description: &'static str) -> Definition {
    Definition { name, kind: Kind::Text, default, effect: Effect::Fixed, reported: false, description }
}

const fn told(definition: Definition) -> Definition {
    Definition { reported: true, ..definition }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max, unit: Unit::None }
}

const fn ms(min: i64) -> Kind {
    Kind::Int { min, max: INT_MAX, unit: Unit::Milliseconds }
}

const fn kb(min: i64) -> Kind {
    Kind::Int { min, max: INT_MAX, unit: Unit::Kilobytes }
}

const INT_MAX: i64 = i32::MAX as i64;
const MESSAGE_LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];
const ISOLATION_LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];

/// `server_version`: the PostgreSQL whose catalogs and protocol are spoken.
pub(crate) const SERVER_VERSION: &str = "16.14";

/// All settings, by name.
pub(crate) const DEFINITIONS: &[Definition] = &[
    told(works(
        "application_name",
        Kind::Text,
        "",
        "Sets the application name to be reported in statistics and logs.",
    )),
    ignored(
        "backslash_quote",
        Kind::Enum(&["safe_encoding", "on", "off"]),
        "safe_encoding",
        "Sets whether \"\\'\" is allowed in string literals.",
    ),
    fixed("block_size", "8192", "Shows the size of a disk block."),
    works("bytea_output", Kind::Enum(&["escape", "hex"]), "hex", "Sets the output format for bytea."),
    ignored("check_function_bodies", Kind::Bool, "on", "Check routine bodies during CREATE FUNCTION."),
    told(works(
        "client_encoding",
        Kind::Special(Special::ClientEncoding),
        "UTF8",
        "Sets the client's character set encoding.",
    )),
    works(
        "client_min_messages",
        Kind::Enum(MESSAGE_LEVELS),
        "notice",
        "Sets the message levels that are sent to the client.",
    ),
    ignored(
        "constraint_exclusion",
        Kind::Enum(&["partition", "on", "off"]),
        "partition",
        "Enables the planner to use constraints to optimize queries.",
    ),
    ignored(
        "cpu_tuple_cost",
        Kind::Real { min: 0.0, max: f64::MAX },
        "0.01",
        "Sets the planner's estimate of the cost of processing each tuple.",
    ),
    told(works(
        "DateStyle",
        Kind::Special(Special::DateStyle),
        "ISO, MDY",
        "Sets the display format for date and time values.",
    )),
    ignored(
        "deadlock_timeout",
        ms(1),
        "1000",
        "Sets the time to wait on a lock before checking for deadlock; here they are found at once.",
    ),
    ignored(
        "default_table_access_method",
        Kind::Text,
        "heap",
        "Sets the default table access method for new tables.",
    ),
    ignored(
        "default_tablespace",
        Kind::Text,
        "",
        "Sets the default tablespace to create tables and indexes in.",
    ),
    works(
        "default_transaction_deferrable",
        Kind::Bool,
        "off",
        "Sets the default deferrable status of new transactions.",
    ),
    works(
        "default_transaction_isolation",
        Kind::Enum(ISOLATION_LEVELS),
        "read committed",
        "Sets the transaction isolation level of each new transaction.",
    ),
    told(works(
        "default_transaction_read_only",
        Kind::Bool,
        "off",
        "Sets the default read-only status of new transactions.",
    )),
    ignored(
        "effective_cache_size",
        kb(1),
        "4194304",
        "Sets the planner's assumption about the total size of the data caches.",
    ),
    ignored("enable_bitmapscan", Kind::Bool, "on", "Enables the planner's use of bitmap-scan plans."),
    ignored("enable_hashagg", Kind::Bool, "on", "Enables the planner's use of hashed aggregation plans."),
    ignored("enable_hashjoin", Kind::Bool, "on", "Enables the planner's use of hash join plans."),
    ignored("enable_indexonlyscan", Kind::Bool, "on", "Enables the planner's use of index-only-scan plans."),
    works(
        "enable_indexscan",
        Kind::Bool,
        "on",
        "Enables the planner's use of index-scan plans; off makes vector searches exact.",
    ),
    ignored("enable_material", Kind::Bool, "on", "Enables the planner's use of materialization."),
    ignored("enable_mergejoin", Kind::Bool, "on", "Enables the planner's use of merge join plans."),
    ignored("enable_nestloop", Kind::Bool, "on", "Enables the planner's use of nested-loop join plans."),
    ignored(
        "enable_parallel_append",
        Kind::Bool,
        "on",
        "Enables the planner's use of parallel append plans.",
    ),
    ignored("enable_parallel_hash", Kind::Bool, "on", "Enables the planner's use of parallel hash plans."),
    ignored(
        "enable_partition_pruning",
        Kind::Bool,
        "on",
        "Enables plan-time and execution-time partition pruning.",
    ),
    ignored("enable_seqscan", Kind::Bool, "on", "Enables the planner's use of sequential-scan plans."),
    ignored("enable_sort", Kind::Bool, "on", "Enables the planner's use of explicit sort steps."),
    ignored("enable_tidscan", Kind::Bool, "on", "Enables the planner's use of TID scan plans."),
    ignored(
        "escape_string_warning",
        Kind::Bool,
        "on",
        "Warn about backslash escapes in ordinary string literals.",
    ),
    works(
        "extra_float_digits",
        int(1, 3),
        "1",
        "Sets the number of digits displayed for floating-point values; always the shortest exact form.",
    ),
    ignored(
        "force_parallel_mode",
        Kind::Enum(&["off", "on", "regress"]),
        "off",
        "Forces use of parallel query facilities.",
    ),
    ignored(
        "from_collapse_limit",
        int(1, INT_MAX),
        "8",
        "Sets the FROM-list size beyond which subqueries are not collapsed.",
    ),
    ignored("geqo", Kind::Bool, "on", "Enables genetic query optimization."),
    ignored(
        "gin_fuzzy_search_limit",
        int(0, INT_MAX),
        "0",
        "Sets the maximum allowed result for exact search by GIN.",
    ),
    works("hnsw.ef_search", int(1, 1_000), "40", "Sets the size of the dynamic candidate list for search."),
    ignored(
        "hnsw.iterative_scan",
        Kind::Enum(&["off", "relaxed_order", "strict_order"]),
        "off",
        "Sets the mode for iterative scans; a filtered search returns all rows asked for in every mode.",
    ),
    ignored(
        "hnsw.max_scan_tuples",
        int(1, INT_MAX),
        "20000",
        "Sets the max number of tuples to visit for iterative scans.",
    ),
    ignored(
        "hnsw.scan_mem_multiplier",
        Kind::Real { min: 1.0, max: 1_000.0 },
        "1",
        "Sets the multiple of work_mem to use for iterative scans.",
    ),
    works(
        "idle_in_transaction_session_timeout",
        ms(0),
        "0",
        "Sets the maximum allowed idle time between queries, when in a transaction.",
    ),
    works(
        "idle_session_timeout",
        ms(0),
        "0",
        "Sets the maximum allowed idle time between queries, when not in a transaction.",
    ),
    told(fixed("in_hot_standby", "off", "Shows whether hot standby is currently active.")),
    told(fixed("integer_datetimes", "on", "Shows whether datetimes are integer based.")),
    told(works(
        "IntervalStyle",
        Kind::Enum(&["postgres", "iso_8601"]),
        "postgres",
        "Sets the display format for interval values.",
    )),
    ignored(
        "ivfflat.iterative_scan",
        Kind::Enum(&["off", "relaxed_order"]),
        "off",
        "Sets the mode for iterative scans.",
    ),
    ignored(
        "ivfflat.max_probes",
        int(1, 32_768),
        "32768",
        "Sets the max number of probes for iterative scans.",
    ),
    works("ivfflat.probes", int(1, 32_768), "1", "Sets the number of probes."),
    ignored("jit", Kind::Bool, "on", "Allow JIT compilation."),
    ignored(
        "join_collapse_limit",
        int(1, INT_MAX),
        "8",
        "Sets the FROM-list size beyond which JOIN constructs are not flattened.",
    ),
    fixed("lc_collate", "C", "Shows the collation order locale."),
    fixed("lc_ctype", "C.UTF-8", "Shows the character classification and case conversion locale."),
    ignored("lc_messages", Kind::Text, "C", "Sets the language in which messages are displayed."),
    ignored("lc_monetary", Kind::Text, "C", "Sets the locale for formatting monetary amounts."),
    ignored("lc_numeric", Kind::Text, "C", "Sets the locale for formatting numbers."),
    ignored("lc_time", Kind::Text, "C", "Sets the locale for formatting date and time values."),
    works("lock_timeout", ms(0), "0", "Sets the maximum allowed duration of any wait for a lock."),
    ignored("log_duration", Kind::Bool, "off", "Logs the duration of each completed SQL statement."),
    ignored(
        "log_min_duration_statement",
        ms(-1),
        "-1",
        "Sets the minimum execution time above which all statements will be logged.",
    ),
    ignored(
        "log_statement",
        Kind::Enum(&["none", "ddl", "mod", "all"]),
        "none",
        "Sets the type of statements logged.",
    ),
    ignored(
        "maintenance_work_mem",
        kb(1_024),
        "65536",
        "Sets the maximum memory to be used for maintenance operations; index builds draw from the server's memory limit.",
    ),
    fixed("max_connections", "100", "Sets the maximum number of concurrent connections."),
    fixed("max_identifier_length", "63", "Shows the maximum identifier length."),
    fixed("max_index_keys", "32", "Shows the maximum number of index keys."),
    ignored(
        "max_parallel_maintenance_workers",
        int(0, 1_024),
        "2",
        "Sets the maximum number of parallel processes per maintenance operation.",
    ),
    ignored(
        "max_parallel_workers",
        int(0, 1_024),
        "8",
        "Sets the maximum number of parallel workers that can be active at one time.",
    ),
    ignored(
        "max_parallel_workers_per_gather",
        int(0, 1_024),
        "2",
        "Sets the maximum number of parallel processes per executor node.",
    ),
    ignored(
        "min_parallel_index_scan_size",
        int(0, INT_MAX),
        "64",
        "Sets the minimum amount of index data for a parallel scan.",
    ),
    ignored(
        "min_parallel_table_scan_size",
        int(0, INT_MAX),
        "1024",
        "Sets the minimum amount of table data for a parallel scan.",
    ),
    ignored(
        "parallel_setup_cost",
        Kind::Real { min: 0.0, max: f64::MAX },
        "1000",
        "Sets the planner's estimate of the cost of starting up worker processes for parallel query.",
    ),
    ignored(
        "parallel_tuple_cost",
        Kind::Real { min: 0.0, max: f64::MAX },
        "0.1",
        "Sets the planner's estimate of the cost of passing each tuple from worker to leader backend.",
    ),
    ignored(
        "password_encryption",
        Kind::Enum(&["scram-sha-256"]),
        "scram-sha-256",
        "Chooses the algorithm for encrypting passwords.",
    ),
    ignored(
        "plan_cache_mode",
        Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]),
        "auto",
        "Controls the planner's selection of custom or generic plan.",
    ),
    ignored(
        "quote_all_identifiers",
        Kind::Bool,
        "off",
        "When generating SQL fragments, quote all identifiers.",
    ),
    works(
        "quiver.busy_poll_us",
        int(0, 1_000),
        "100",
        "Sets for how many microseconds a session that answers short statements, and alone gets messages, asks its socket for the next before it sleeps.",
    ),
    ignored(
        "random_page_cost",
        Kind::Real { min: 0.0, max: f64::MAX },
        "4",
        "Sets the planner's estimate of the cost of a nonsequentially fetched disk page.",
    ),
    works("role", Kind::Text, "none", "Sets the current role."),
    ignored("row_security", Kind::Bool, "on", "Enable row security."),
    told(fixed("scram_iterations", "4096", "Sets the iteration count for SCRAM secret generation.")),
    works(
        "search_path",
        Kind::Special(Special::SearchPath),
        "\"$user\", public",
        "Sets the schema search order for names that are not schema-qualified.",
    ),
    told(fixed("server_encoding", "UTF8", "Shows the server (database) character set encoding.")),
    told(fixed("server_version", SERVER_VERSION, "Shows the server version.")),
    fixed("server_version_num", "160014", "Shows the server version as an integer."),
    ignored(
        "session_replication_role",
        Kind::Enum(&["origin", "replica", "local"]),
        "origin",
        "Sets the session's behavior for triggers and rewrite rules.",
    ),
    ignored(
        "seq_page_cost",
        Kind::Real { min: 0.0, max: f64::MAX },
        "1",
        "Sets the planner's estimate of the cost of a sequentially fetched disk page.",
    ),
    ignored(
        "shared_buffers",
        kb(128),
        "131072",
        "Sets the number of shared memory buffers used by the server.",
    ),
    fixed("ssl", "off", "Enables SSL connections."),
    told(ignored(
        "standard_conforming_strings",
        Kind::Enum(&["on"]),
        "on",
        "Causes '...' strings to treat backslashes literally.",
    )),
    works("statement_timeout", ms(0), "0", "Sets the maximum allowed duration of any statement."),
    ignored("synchronize_seqscans", Kind::Bool, "on", "Enable synchronized sequential scans."),
    ignored(
        "synchronous_commit",
        Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]),
        "on",
        "Sets the current transaction's synchronization level; every commit waits for the log on disk.",
    ),
    ignored("tcp_keepalives_idle", int(0, INT_MAX), "0", "Time between issuing TCP keepalives."),
    ignored(
        "temp_buffers",
        kb(100),
        "8192",
        "Sets the maximum number of temporary buffers used by each session.",
    ),
    told(works(
        "TimeZone",
        Kind::Special(Special::TimeZone),
        "UTC",
        "Sets the time zone for displaying and interpreting time stamps.",
    )),
    works(
        "transaction_deferrable",
        Kind::Bool,
        "off",
        "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures.",
    ),
    works(
        "transaction_isolation",
        Kind::Enum(ISOLATION_LEVELS),
        "read committed",
        "Sets the current transaction's isolation level.",
    ),
    works("transaction_read_only", Kind::Bool, "off", "Sets the current transaction's read-only status."),
    ignored("transform_null_equals", Kind::Bool, "off", "Treats \"expr=NULL\" as \"expr IS NULL\"."),
    ignored(
        "vacuum_cost_delay",
        Kind::Real { min: 0.0, max: 100.0 },
        "0",
        "Vacuum cost delay in milliseconds.",
    ),
    fixed("wal_level", "replica", "Sets the level of information written to the WAL."),
    ignored(
        "work_mem",
        kb(64),
        "4096",
        "Sets the maximum memory to be used for query workspaces; queries draw from the server's memory limit.",
    ),
    ignored(
        "xmlbinary",
        Kind::Enum(&["base64", "hex"]),
        "base64",
        "Sets how binary values are to be encoded in XML.",
    ),
    ignored(
        "xmloption",
        Kind::Enum(&["content", "document"]),
        "content",
        "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments.",
    ),
];

/// Prefixes that an extension has reserved: an unknown name under one is an error.
pub(crate) const RESERVED_PREFIXES: &[&str] = &["hnsw", "ivfflat", "quiver"];

/// A setting by name, in any case.
pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
    static ALL: LazyLock<HashMap<String, &'static Definition>> = LazyLock::new(|| {
        let mut all: HashMap<_, _> =
            DEFINITIONS.iter().map(|definition| (definition.name.to_ascii_lowercase(), definition)).collect();
        for (alias, name) in [("time zone", "timezone"), ("debug_parallel_query", "force_parallel_mode")] {
            if let Some(definition) = all.get(name).copied() {
                all.insert(alias.to_owned(), definition);
            }
        }
        all
    });
    // Nearly all who ask have it in lower case.
    ALL.get(name).or_else(|| ALL.get(&name.to_ascii_lowercase())).copied()
}
