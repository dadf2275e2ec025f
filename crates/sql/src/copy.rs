//! COPY.

use crate::outcome::Outcome;
use crate::parser::CopyStatement;
use crate::statement::StatementContext;
use quiver_base::{Error, Result};

/// Starts a COPY.
pub(crate) async fn execute(_ctx: &mut StatementContext<'_>, _copy: &CopyStatement) -> Result<Outcome> {
    Err(Error::unsupported("COPY"))
}
