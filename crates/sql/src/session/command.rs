//! Statements about the session itself, told apart by their first words and parsed from tokens by hand: sqlparser knows only
//! some of their forms.

use quiver_base::Result;

/// A statement about the session itself.
#[derive(Clone, Debug)]
pub(crate) enum SessionCommand {
    /// COMMIT or END.
    Commit,
}

/// Takes a statement if it is one of the session's, by its first words; `None`: it is somebody else's. `sql` is the text of one statement without its semicolon,
/// `offset` its byte offset in the query string.
pub(crate) fn parse_command(_sql: &str, _offset: usize) -> Result<Option<SessionCommand>> {
    Ok(None)
}
