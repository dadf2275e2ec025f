//! The session's transaction: implicit around a query string or a pipeline, explicit between BEGIN and COMMIT, failed after an
//! error until ROLLBACK.

use super::command::TransactionModes;
use super::{Session, isolation_named};
use crate::outcome::Notice;
use crate::settings::SetScope;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{Savepoint, Txn, TxnOptions};

/// Where a session stands.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Open; `None` also in a failed block that has no savepoint to go back to.
    pub txn: Option<Txn>,
    pub(super) block: Block,
    pub(super) failed: bool,
    savepoints: Vec<SavepointOfName>,
    /// A query ran: the isolation level is settled.
    pub(super) queried: bool,
    /// Indexes that CREATE INDEX left to the background: waited for after the commit of an implicit transaction.
    pub(super) unbuilt: Vec<(quiver_base::TableId, quiver_base::IndexId)>,
}

/// A savepoint of the session.
#[derive(Debug)]
struct SavepointOfName {
    name: String,
    savepoint: Savepoint,
    /// Advisory locks that were held to the end of the transaction then.
    advisory: usize,
}

/// Who ends the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Block {
    /// There is none.
    #[default]
    None,
    /// The end of the query string or Sync.
    Implicit,
    /// COMMIT or ROLLBACK.
    Explicit,
}

impl Transaction {
    /// ReadyForQuery's letter.
    pub(super) fn status(&self) -> u8 {
        match self.block {
            Block::Explicit if self.failed => b'E',
            Block::Explicit => b'T',
            _ => b'I',
        }
    }

    /// How many savepoints are open.
    pub(super) fn depth(&self) -> usize {
        self.savepoints.len()
    }
}

/// 25P02.
pub(super) fn aborted() -> Error {
    Error::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

impl Session {
    /// Opens an implicit transaction if none is open.
    pub(super) fn ensure_transaction(&mut self) -> Result<&mut Txn> {
        if self.transaction.failed {
            return Err(aborted());
        }
        if self.transaction.txn.is_none() {
            self.open(Block::Implicit, TransactionModes::default())?;
        }
        self.transaction
            .txn
            .as_mut()
            .ok_or_else(|| Error::internal("a transaction that was just opened is gone"))
    }

    fn open(&mut self, block: Block, modes: TransactionModes) -> Result<()> {
        self.info.begin_transaction();
        self.settings.begin();
        let (isolation, isolation_name) = match modes.isolation {
            Some(isolation) => isolation,
            None => self.settings.with("default_transaction_isolation", isolation_named)?,
        };
        let read_only =
            modes.read_only.unwrap_or_else(|| self.settings.is_on("default_transaction_read_only"));
        let read_only_name = if read_only { "on" } else { "off" };
        for (name, value) in
            [("transaction_isolation", isolation_name), ("transaction_read_only", read_only_name)]
        {
            // Mostly they are what they would be anyway, and nothing that looks at the settings need look again.
            if !self.settings.with(name, |kept| kept == value) {
                self.settings.set(name, value, SetScope::Local)?;
            }
        }
        let lock_timeout = self.settings.timeout("lock_timeout");
        let session = self.info.pid.unsigned_abs().into();
        let options = TxnOptions { isolation, read_only, lock_timeout, session };
        self.transaction = Transaction {
            txn: Some(self.shared.cluster.begin(self.info.database_id, options)),
            block,
            ..Transaction::default()
        };
        Ok(())
    }

    /// BEGIN.
    pub(super) fn begin(&mut self, modes: TransactionModes) -> Result<()> {
        match self.transaction.block {
            Block::None => self.open(Block::Explicit, modes),
            Block::Implicit => {
                self.transaction.block = Block::Explicit;
                self.set_modes(modes)
            }
            Block::Explicit => {
                self.notices.push(Notice::warning(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "there is already a transaction in progress",
                ));
                self.set_modes(modes)
            }
        }
    }

    /// SET TRANSACTION: the isolation level can change until the first query.
    pub(super) fn set_modes(&mut self, modes: TransactionModes) -> Result<()> {
        if modes == TransactionModes::default() {
            return Ok(());
        }
        let current = self.settings.with("transaction_isolation", str::to_owned);
        let is_new_level = modes.isolation.is_some_and(|(_, name)| name != current);
        let was_read_only = self.settings.is_on("transaction_read_only");
        let widens = was_read_only && modes.read_only == Some(false);
        if self.transaction.queried && (is_new_level || widens) {
            let what = if is_new_level {
                "SET TRANSACTION ISOLATION LEVEL must be called before any query"
            } else {
                "transaction read-write mode must be set before any query"
            };
            return Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, what));
        }
        if self.transaction.queried {
            return match modes.read_only {
                Some(true) if !was_read_only => {
                    Err(Error::unsupported("SET TRANSACTION READ ONLY after a query"))
                }
                _ => Ok(()),
            };
        }
        let block = self.transaction.block;
        let modes = TransactionModes {
            isolation: match modes.isolation {
                Some(isolation) => Some(isolation),
                None => Some(isolation_named(&current)?),
            },
            read_only: modes.read_only.or(Some(was_read_only)),
            deferrable: modes.deferrable,
        };
        // Nothing has been read or written, so that another transaction can take the place of this one.
        self.open(block, modes)
    }

    /// COMMIT: the tag tells whether it was one.
    pub(super) async fn commit(&mut self) -> Result<&'static str> {
        if self.transaction.failed {
            self.rollback().await;
            return Ok("ROLLBACK");
        }
        let held = self.hold_cursors().await;
        let Some(txn) = self.transaction.txn.take() else {
            return Ok("COMMIT");
        };
        let committed = match held {
            Ok(()) => txn.commit().await,
            Err(error) => {
                txn.rollback().await;
                Err(error)
            }
        };
        self.end(committed.is_ok()).await;
        committed.map(|()| "COMMIT")
    }

    /// ROLLBACK.
    pub(super) async fn rollback(&mut self) {
        if let Some(txn) = self.transaction.txn.take() {
            txn.rollback().await;
        }
        if self.transaction.block != Block::None {
            self.end(false).await;
        }
    }

    async fn end(&mut self, committed: bool) {
        self.info.advisory.lock().await.back_to(0);
        self.transaction = Transaction::default();
        self.settings.end(committed);
        self.portals.retain(|_, portal| portal.is_held());
    }

    /// An error: an implicit transaction is over; a block waits for ROLLBACK or for a way back to its last savepoint.
    pub(super) async fn fail(&mut self) {
        match self.transaction.block {
            Block::None => {}
            Block::Implicit => self.rollback().await,
            Block::Explicit => self.fail_block().await,
        }
    }

    async fn fail_block(&mut self) {
        self.transaction.failed = true;
        let depth = self.transaction.depth();
        self.portals.retain(|_, portal| portal.is_held() || portal.depth < depth);
        // Locks are given back at once, as in PostgreSQL.
        let kept = self.transaction.savepoints.last().map_or(0, |last| last.advisory);
        self.info.advisory.lock().await.back_to(kept);
        match (self.transaction.savepoints.last(), &mut self.transaction.txn) {
            (Some(last), Some(txn)) => txn.rollback_to(last.savepoint),
            _ => {
                if let Some(txn) = self.transaction.txn.take() {
                    txn.rollback().await;
                }
            }
        }
    }

    /// SAVEPOINT.
    pub(super) async fn savepoint(&mut self, name: String) -> Result<()> {
        self.require_block("SAVEPOINT")?;
        let savepoint = self.ensure_transaction()?.savepoint();
        let advisory = self.info.advisory.lock().await.position();
        self.transaction.savepoints.push(SavepointOfName { name, savepoint, advisory });
        self.settings.savepoint();
        Ok(())
    }

    /// RELEASE SAVEPOINT.
    pub(super) fn release(&mut self, name: &str) -> Result<()> {
        self.require_block("RELEASE SAVEPOINT")?;
        if self.transaction.failed {
            return Err(aborted());
        }
        let index = self.find_savepoint(name)?;
        if let Some(txn) = &mut self.transaction.txn {
            // While a savepoint is kept, everything written stays in memory.
            txn.release(self.transaction.savepoints[index].savepoint);
        }
        self.transaction.savepoints.truncate(index);
        self.settings.release(index + 1);
        for portal in self.portals.values_mut() {
            portal.depth = portal.depth.min(index);
        }
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT: also the way out of a failed block.
    pub(super) async fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let index = self.find_savepoint(name)?;
        let SavepointOfName { savepoint, advisory, .. } = self.transaction.savepoints[index];
        self.info.advisory.lock().await.back_to(advisory);
        if let Some(txn) = &mut self.transaction.txn {
            txn.rollback_to(savepoint);
        }
        self.transaction.savepoints.truncate(index + 1);
        self.transaction.failed = false;
        self.settings.rollback_to(index + 1);
        self.portals.retain(|_, portal| portal.is_held() || portal.depth <= index);
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        let found = self.transaction.savepoints.iter().rposition(|known| known.name == name);
        found.ok_or_else(|| {
            Error::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
        })
    }

    /// 25P01 outside of a block.
    pub(super) fn require_block(&self, what: &str) -> Result<()> {
        if self.transaction.block == Block::Explicit {
            return Ok(());
        }
        Err(Error::new(
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            format!("{what} can only be used in transaction blocks"),
        ))
    }

    /// COMMIT and ROLLBACK outside of a block do nothing and say so.
    pub(super) fn warn_without_block(&mut self) {
        if self.transaction.block != Block::Explicit {
            self.notices.push(Notice::warning(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "there is no transaction in progress",
            ));
        }
    }
}
