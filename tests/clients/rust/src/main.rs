//! tokio-postgres and sqlx against the server that libpq's variables name. Panics at the first thing that is not as PostgreSQL has it.

mod sqlx_checks;
mod tokio_checks;
mod tokio_vectors;
mod vector_samples;

/// A run's error: the checks only pass on what the clients say.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let which = std::env::args().nth(1).unwrap_or_default();
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    let url = format!(
        "postgresql://{}:{}@{}:{}/{}",
        value("PGUSER"),
        value("PGPASSWORD"),
        value("PGHOST"),
        value("PGPORT"),
        value("PGDATABASE")
    );
    match which.as_str() {
        "tokio-postgres" => tokio_checks::run(&url).await,
        "sqlx" => sqlx_checks::run(&url).await,
        _ => Err("usage: rust-clients tokio-postgres|sqlx".into()),
    }
}
