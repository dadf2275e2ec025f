//! The simple protocol: a string of statements, one implicit transaction around those that BEGIN does not take.

use super::run::Step;
use super::transaction::Block;
use super::{Flow, Session, in_query};
use crate::wire::backend;
use crate::wire::connection::Connection;
use quiver_base::Result;
use std::sync::Arc;

use super::guard::ends_session;

impl Session {
    /// Q: runs all statements of a string, up to the first that fails.
    pub(super) async fn simple_query(&mut self, conn: &mut Connection, query: String) -> Flow {
        self.info.begin_statement();
        self.info.set_query(&query);
        // As in PostgreSQL, the unnamed statement and portal go with every simple query.
        self.info.prepared.lock().remove("");
        self.portals.remove("");
        match self.run_string(conn, &query).await {
            Err(error) if ends_session(&error) => return Err(error),
            Err(error) => {
                self.fail().await;
                self.tell_error(conn, &error, false);
            }
            Ok(()) => {}
        }
        self.ready(conn).await
    }

    async fn run_string(&mut self, conn: &mut Connection, query: &str) -> Result<()> {
        let whole: Arc<str> = query.into();
        if let Some(analyzed) = self.recall(conn, query, &[]).await? {
            let step = Step { last: true, alone: true, query: whole };
            let run = Box::pin(self.run_analyzed(conn, &analyzed, &step)).await;
            return run.map_err(|error| in_query(error, query, analyzed.parsed.offset));
        }
        if self.run_lifted(conn, query).await? {
            return Ok(());
        }
        let statements = self.parse_text(query)?;
        let count = statements.len();
        for (place, parsed) in statements.into_iter().enumerate() {
            let offset = parsed.offset;
            let step = Step { last: place + 1 == count, alone: count == 1, query: whole.clone() };
            let run = Box::pin(self.run_parsed(conn, parsed, step)).await;
            run.map_err(|error| in_query(error, query, offset))?;
            conn.output.flush_if_full().await?;
        }
        if self.transaction.block == Block::Implicit {
            self.commit().await?;
        }
        Ok(())
    }

    /// The tag of a statement; if it is the last of its implicit transaction, after that has been committed.
    pub(super) async fn complete(&mut self, conn: &mut Connection, tag: &str, last: bool) -> Result<()> {
        if last && self.transaction.block == Block::Implicit {
            self.commit().await?;
        }
        self.shared.metrics.count_statement();
        self.tell(conn);
        backend::command_complete(&mut conn.output.buffer, tag);
        Ok(())
    }
}
