//! Runs every `tests/sql/**/*.slt` over the wire, each file on a database folder of its own.

mod support;

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use std::path::{Path, PathBuf};
use support::{TestServer, try_connect};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A connection as sqllogictest sees it: results as text.
struct Wire {
    client: Client,
}

/// The SQLSTATE and message of a failed statement.
#[derive(Debug)]
struct WireError(String, String);

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}) {}", self.0, self.1)
    }
}

impl std::error::Error for WireError {}

impl From<tokio_postgres::Error> for WireError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => WireError(db.code().code().to_owned(), db.message().to_owned()),
            None => WireError("connection".to_owned(), error.to_string()),
        }
    }
}

#[async_trait::async_trait]
impl AsyncDB for Wire {
    type Error = WireError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, WireError> {
        let messages = self.client.simple_query(sql).await?;
        let mut columns = None;
        let mut rows = Vec::new();
        let mut affected = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => columns = Some(description.len()),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|i| cell(row.get(i))).collect()),
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows },
            None => DBOutput::StatementComplete(affected),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "quiver"
    }

    fn error_sql_state(error: &WireError) -> Option<String> {
        Some(error.0.clone())
    }
}

fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("tests/sql") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "slt") {
            found.push(path);
        }
    }
}

/// `SLT=dml cargo test --test sql` runs the files whose path has that text in it.
#[tokio::test(flavor = "multi_thread")]
async fn every_file_answers_as_written() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql"), &mut found);
    found.sort();
    if let Ok(only) = std::env::var("SLT") {
        found.retain(|it| it.to_string_lossy().contains(&only));
    }
    assert!(!found.is_empty(), "no files");
    let mut failures = Vec::new();
    for file in &found {
        let server = TestServer::start();
        let address = server.address();
        let mut runner = Runner::new(move || async move { Ok(Wire { client: try_connect(address).await? }) });
        match runner.run_file_async(file).await {
            Ok(()) => println!("ok   {}", file.display()),
            Err(error) => {
                println!("FAIL {}\n{}", file.display(), error.display(false));
                failures.push(file);
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} files failed: {failures:?}", failures.len(), found.len());
}
