//! Statements about the session itself, told apart by their first words and parsed by hand: sqlparser knows only some of their
//! forms.

mod lexer;
mod parse;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use lexer::Token;
pub(crate) use parse::{isolation_named, parse_command};
pub(crate) use reader::Reader;

use crate::settings::SetScope;
use crate::statement::{ParamValue, Parsed};
use quiver_base::SqlType;
use quiver_cluster::Isolation;

/// A statement about the session itself.
#[derive(Clone, Debug)]
pub(crate) enum SessionCommand {
    /// BEGIN, START TRANSACTION; the latter has its own tag.
    Begin { modes: TransactionModes, start: bool },
    /// COMMIT, END.
    Commit { chain: bool },
    /// ROLLBACK, ABORT.
    Rollback { chain: bool },
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE SAVEPOINT.
    Release(String),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(String),
    /// SET TRANSACTION.
    SetTransaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetCharacteristics(TransactionModes),
    /// SET name TO values, or DEFAULT (`None`).
    Set { name: String, value: Option<String>, scope: SetScope },
    /// SET [SESSION | LOCAL] ROLE name, or NONE (`None`).
    SetRole { name: Option<String>, scope: SetScope },
    /// SET SESSION AUTHORIZATION name, or DEFAULT (`None`).
    SetAuthorization { name: Option<String>, scope: SetScope },
    /// SET CONSTRAINTS: every constraint is checked at once anyway.
    SetConstraints,
    /// RESET name.
    Reset(String),
    /// RESET ALL.
    ResetAll,
    /// SHOW name.
    Show(String),
    /// SHOW ALL.
    ShowAll,
    /// DISCARD.
    Discard(Discard),
    /// PREPARE: name, the texts of the parameters' types, statement.
    Prepare { name: String, types: Vec<String>, statement: Box<Parsed> },
    /// EXECUTE: name, the texts of the arguments.
    Execute { name: String, arguments: Vec<String> },
    /// DEALLOCATE name, or ALL (`None`).
    Deallocate(Option<String>),
    /// DECLARE … CURSOR FOR query.
    Declare {
        name: String,
        scroll: Option<bool>,
        hold: bool,
        binary: bool,
        query: Box<Parsed>,
        /// Of the query's parameters, in order; empty in a simple query.
        values: Vec<(SqlType, ParamValue)>,
    },
    /// FETCH, MOVE.
    Fetch { name: String, direction: Direction, moves: bool },
    /// CLOSE name, or ALL (`None`).
    Close(Option<String>),
    /// LISTEN.
    Listen,
    /// UNLISTEN.
    Unlisten,
    /// NOTIFY.
    Notify,
}

/// What BEGIN and SET TRANSACTION say; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransactionModes {
    /// ISOLATION LEVEL, as it is carried out and as it was called.
    pub isolation: Option<(Isolation, &'static str)>,
    /// READ ONLY, READ WRITE.
    pub read_only: Option<bool>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// What DISCARD drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // PostgreSQL's words
pub(crate) enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}

/// Where a cursor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// So many rows on; `u64::MAX`: all. 0: the current row again.
    Forward(u64),
    /// So many rows back; `u64::MAX`: all.
    Backward(u64),
    /// The n-th row, from the end if negative; 0: before the first.
    Absolute(i64),
    /// n rows on or back, and that row only.
    Relative(i64),
}
