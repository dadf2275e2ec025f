//! From the URL in the configuration to a store.

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use quiver_base::{Error, Result, SqlState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Retries inside one request; whole requests are tried again by their caller.
const REQUEST_RETRIES: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) enum Location {
    Local(PathBuf),
    Remote { store: Arc<dyn ObjectStore>, prefix: String },
}

pub(super) fn parse(url: &str) -> Result<Location> {
    let invalid = |why: &str| {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid object store URL \"{url}\""))
            .with_detail(why.to_owned())
            .with_hint("Use file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.")
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("It has no scheme."))?;
    if scheme == "file" {
        if !rest.starts_with('/') {
            return Err(invalid("The path must be absolute."));
        }
        return Ok(Location::Local(PathBuf::from(rest)));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(invalid("It names no bucket."));
    }
    let store = match scheme {
        "s3" | "s3a" => s3(bucket),
        "gs" => gcs(bucket),
        "az" => azure(bucket),
        _ => return Err(invalid("Its scheme is not known.")),
    };
    let store = store.map_err(|e| invalid(&e.to_string()).with_source(e))?;
    Ok(Location::Remote { store, prefix: prefix.trim_matches('/').to_owned() })
}

fn s3(bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    // Plain HTTP is for test servers: whoever names such an endpoint has decided.
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    Ok(Arc::new(builder.with_client_options(client().with_allow_http(plain)).build()?))
}

fn gcs(bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry());
    Ok(Arc::new(builder.with_client_options(client()).build()?))
}

fn azure(container: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let builder = MicrosoftAzureBuilder::from_env().with_container_name(container).with_retry(retry());
    Ok(Arc::new(builder.with_client_options(client()).build()?))
}

fn client() -> ClientOptions {
    // Whole requests have a deadline of their own, which allows for their size.
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout_disabled()
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: REQUEST_RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}
