//! Every setting of the process: from the command line, else the environment (`QUIVER_…`), else the file, else a default.

use clap::Args;
use quiver_base::{Error, Result, SqlState};
use quiver_sql::{HbaSource, TlsFiles};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Settings as given, on the command line or in the file. Absent ones are filled from the next source.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Options {
    /// Where the log, the catalog and (by default) segments are kept [default: ./quiver-data]
    #[arg(long, env = "QUIVER_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// Where PostgreSQL clients connect [default: 127.0.0.1:5433]
    #[arg(long, env = "QUIVER_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where other nodes will connect; recorded, not yet listened on: a cluster of processes comes later [default: 127.0.0.1:7433]
    #[arg(long, env = "QUIVER_RPC", value_name = "ADDR")]
    rpc: Option<SocketAddr>,
    /// Where /healthz, /readyz and /metrics are served [default: 127.0.0.1:8433]
    #[arg(long, env = "QUIVER_HTTP", value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where segments go: file:///path, s3://bucket/prefix, gs://…, az://… [default: inside the data folder]
    #[arg(long, env = "QUIVER_OBJECT_STORE", value_name = "URL")]
    object_store: Option<String>,
    /// Password of the role `quiver`; needed to listen on an address that is not loopback
    #[arg(long, env = "QUIVER_PASSWORD", value_name = "TEXT", hide_env_values = true)]
    password: Option<String>,
    /// The server's certificate and those that lead to its authority, as PEM; clients may then ask for TLS
    #[arg(long, env = "QUIVER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, as PEM
    #[arg(long, env = "QUIVER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Who may connect from where and how, in the format of pg_hba.conf [default: loopback without a password, others with]
    #[arg(long, env = "QUIVER_HBA", value_name = "FILE")]
    hba: Option<PathBuf>,
    /// The lines of such a file, in the configuration file itself
    #[arg(skip)]
    hba_rules: Option<Vec<String>>,
    /// Memory for queries, memtables, index builds and caches, as 8GB, 512MB … [default: 60 % of the machine's]
    #[arg(long, env = "QUIVER_MEMORY_LIMIT", value_name = "SIZE")]
    memory_limit: Option<String>,
    /// Connections served at once [default: 1000]
    #[arg(long, env = "QUIVER_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// Threads for flushes, merges and index builds [default: the number of cores]
    #[arg(long, env = "QUIVER_BACKGROUND_THREADS", value_name = "N")]
    background_threads: Option<usize>,
    /// Unflushed bytes of one shard past which it is written as a segment; less where rows come slowly and have a vector index [default: 64MB]
    #[arg(long, env = "QUIVER_MEMTABLE_SIZE", value_name = "SIZE")]
    memtable_size: Option<String>,
    /// Vectors of a segment in a remote object store from which size on an ivfflat search reads parts of them in place of fetching
    /// them into the cache [default: 2GB]
    #[arg(long, env = "QUIVER_COLD_SIZE", value_name = "SIZE")]
    cold_size: Option<String>,
    /// What to log, as error, warn, info, debug or a tracing filter [default: warn]
    #[arg(long, env = "QUIVER_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// A TOML file with these settings, named as here without the dashes in front
    #[arg(long, env = "QUIVER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// Settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) object_store: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) hba: Option<HbaSource>,
    pub(crate) memory_limit_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) background_threads: usize,
    pub(crate) memtable_bytes: usize,
    pub(crate) cold_bytes: usize,
    pub(crate) log: String,
}

impl Config {
    /// Layers the sources and checks the result.
    pub(crate) fn load(given: Options) -> Result<Config> {
        let file = match &given.config {
            Some(path) => read_file(path)?,
            None => Options::default(),
        };
        let size = |name: &str, given: Option<String>, file: Option<String>| -> Result<Option<usize>> {
            given.or(file).map(|text| parse_size(name, &text)).transpose()
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Checked and recorded for the day when nodes talk to each other.
        let _rpc = given.rpc.or(file.rpc);
        let config = Config {
            data_dir: given.data_dir.or(file.data_dir).unwrap_or_else(|| "quiver-data".into()),
            listen: given.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5433))),
            http: given.http.or(file.http).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8433))),
            object_store: given.object_store.or(file.object_store),
            password: given.password.or(file.password),
            tls: tls_files(given.tls_cert.or(file.tls_cert), given.tls_key.or(file.tls_key))?,
            hba: match given.hba {
                Some(path) => Some(HbaSource::File(path)),
                None => hba_of_file(file.hba, file.hba_rules)?,
            },
            memory_limit_bytes: match size("memory-limit", given.memory_limit, file.memory_limit)? {
                Some(bytes) => bytes,
                None => machine_memory_bytes() / 10 * 6,
            },
            max_connections: given.max_connections.or(file.max_connections).unwrap_or(1000),
            background_threads: given.background_threads.or(file.background_threads).unwrap_or(cores),
            memtable_bytes: size("memtable-size", given.memtable_size, file.memtable_size)?
                .unwrap_or(64 << 20),
            cold_bytes: size("cold-size", given.cold_size, file.cold_size)?.unwrap_or(2 << 30),
            log: given.log.or(file.log).unwrap_or_else(|| "warn".into()),
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<()> {
        let at_least = |name: &str, value: usize, least: usize| match value < least {
            true => Err(config_error(format!("{name} must be at least {least}"))),
            false => Ok(()),
        };
        at_least("memory-limit", self.memory_limit_bytes, 64 << 20)?;
        at_least("memtable-size", self.memtable_bytes, 64 << 10)?;
        at_least("max-connections", self.max_connections, 1)?;
        at_least("background-threads", self.background_threads, 1)
    }
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(config_error("tls-cert is set and tls-key is not")),
        (None, Some(_)) => Err(config_error("tls-key is set and tls-cert is not")),
    }
}

fn hba_of_file(path: Option<PathBuf>, lines: Option<Vec<String>>) -> Result<Option<HbaSource>> {
    match (path, lines) {
        (Some(_), Some(_)) => Err(config_error("set either hba or hba-rules, not both")),
        (path, lines) => Ok(path.map(HbaSource::File).or(lines.map(HbaSource::Lines))),
    }
}

fn config_error(message: impl Into<String>) -> Error {
    Error::new(SqlState::CONFIG_FILE_ERROR, message)
}

fn read_file(path: &Path) -> Result<Options> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::io(path.display(), cause))?;
    toml::from_str(&text).map_err(|cause| config_error(format!("{}: {}", path.display(), cause.message())))
}

/// `8GB`, `512MB`, `64kB` or plain bytes; units of 1,024 as in PostgreSQL.
fn parse_size(name: &str, text: &str) -> Result<usize> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let shift = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        unit => {
            return Err(config_error(format!("invalid unit \"{unit}\" in {name}"))
                .with_hint("Valid units are B, kB, MB, GB and TB."));
        }
    };
    let count: usize =
        digits.parse().map_err(|_| config_error(format!("invalid size \"{text}\" for {name}")))?;
    count.checked_mul(1 << shift).ok_or_else(|| config_error(format!("{name} is too large: {text}")))
}

/// The machine's memory, or the container's if it has a lower limit.
fn machine_memory_bytes() -> usize {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_ascii_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib << 10)
    });
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok());
    machine.unwrap_or(4 << 30).min(container.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("x", "8GB").expect("valid"), 8 << 30);
        assert_eq!(parse_size("x", " 64 kB ").expect("valid"), 64 << 10);
        assert_eq!(parse_size("x", "123").expect("valid"), 123);
        for bad in ["", "GB", "1 XB", "-1", "99999999999TB", "1.5GB"] {
            assert_eq!(parse_size("x", bad).expect_err(bad).state(), SqlState::CONFIG_FILE_ERROR);
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("quiver.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nmemtable-size = \"1MB\"\n").expect("written");
        let given = Options {
            config: Some(path.clone()),
            listen: Some("127.0.0.1:2".parse().expect("address")),
            ..Options::default()
        };
        let config = Config::load(given).expect("valid");
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.memtable_bytes, 1 << 20);
        std::fs::write(&path, "lissen = 1\n").expect("written");
        let given = Options { config: Some(path), ..Options::default() };
        let error = Config::load(given).expect_err("unknown key");
        assert!(error.message().contains("lissen"), "{error}");
    }
}
