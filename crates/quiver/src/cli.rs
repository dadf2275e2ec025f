//! Commands and their arguments.

use crate::config::{Config, Options};
use crate::{allocator, demo, server};
use clap::{Parser, Subcommand};
use quiver_base::{Error, Result, SqlState};

/// A vector database that speaks PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "quiver", version, about, max_term_width = 100)]
#[command(
    after_help = "Start with `quiver demo`, then connect with any PostgreSQL client:\n  psql -h 127.0.0.1 -p 5433"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server. An empty data folder becomes a complete one; nothing else is needed.
    Start(Options),
    /// Start a server, load a sample of real embeddings through a PostgreSQL connection, search it, and go on serving.
    Demo(Options),
}

/// How many threads run what statements start beside themselves: more than there are processors, so that queries which compute for
/// long leave the others to the system's scheduler.
fn workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    processors * 2 + 2
}

/// Runs a command until it is done or the process is told to stop.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let (options, is_demo) = match cli.command {
        Command::Start(options) => (options, false),
        Command::Demo(options) => (options, true),
    };
    let config = Config::load(options)?;
    install_logging(&config.log)?;
    allocator::trim_in_background()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("quiver")
        .thread_stack_size(quiver_sql::STACK_BYTES)
        .worker_threads(workers())
        .build()
        .map_err(|cause| Error::io("cannot start threads", cause))?;
    runtime.block_on(async {
        let server = server::Server::open(&config).await?;
        let address = server.postgres_address();
        let demo = is_demo.then(|| tokio::spawn(demo::run(address)));
        server.serve(server::stop_signal(), demo).await
    })
}

/// Logs go to standard error; the one line for people and scripts, and the demo, go to standard output.
fn install_logging(filter: &str) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|cause| {
        Error::new(SqlState::CONFIG_FILE_ERROR, format!("invalid log filter \"{filter}\": {cause}"))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
