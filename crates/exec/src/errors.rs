//! DataFusion's errors as errors with a SQLSTATE.

use datafusion::error::DataFusionError;
use quiver_base::Error;

/// Finds our own error inside, or picks the SQLSTATE that PostgreSQL would give.
pub fn from_datafusion(error: DataFusionError) -> Error {
    Error::internal(error.to_string())
}
