//! The life of a connection after it has logged in: wait for a message, handle it, until the client or the server ends it.

use super::guard::{ends_session, shut_down};
use super::transaction::Block;
use super::{Flow, Session};
use crate::wire::connection::Connection;
use crate::wire::frontend::Message;
use crate::wire::{backend, frontend};
use quiver_base::{Error, Result, SqlState, Turns, take_turns};
use std::time::Instant;

/// Between two looks at a socket: about a microsecond.
const POLL_PAUSES: usize = 30;

/// Long ones for COPY, whose batches take longer than others' searches.
fn turns(message: &Message) -> Turns {
    let is_copy =
        |query: &str| query.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy"));
    match message {
        Message::Query(query) if is_copy(query) => Turns::Long,
        _ => Turns::Usual,
    }
}

impl Session {
    /// Serves the connection to its end. A transaction that is open then is rolled back.
    pub(crate) async fn serve(mut self, conn: &mut Connection) {
        let ended = self.serve_messages(conn).await;
        self.rollback().await;
        if let Err(error) = ended {
            if error.state() != SqlState::CONNECTION_FAILURE {
                self.tell_error(conn, &error, true);
                // The client may be gone already.
                let _ = conn.output.flush().await;
            }
            tracing::debug!(pid = self.info.pid, %error, "connection ended");
        }
    }

    async fn serve_messages(&mut self, conn: &mut Connection) -> Flow {
        self.tell(conn);
        self.ready(conn).await?;
        while let Some(message) = self.next_message(conn).await? {
            take_turns(turns(&message));
            let handled = match message {
                Message::Terminate => return Ok(()),
                message if self.skip_until_sync && !matches!(message, Message::Sync) => Ok(()),
                Message::Sync => self.sync(conn).await,
                Message::Bind(bind) => {
                    let bound = self.bind(conn, bind);
                    self.extended(conn, bound).await
                }
                Message::Describe(target) => {
                    let described = self.describe(conn, &target);
                    self.extended(conn, described).await
                }
                Message::Execute { portal, rows_max } => {
                    let executed = self.execute_portal(conn, &portal, rows_max).await;
                    self.extended(conn, executed).await
                }
                // Apart: room for all that they hold would be made for each message otherwise.
                message => Box::pin(self.handle(conn, message)).await,
            };
            if let Err(error) = handled {
                if ends_session(&error) {
                    return Err(error);
                }
                self.fail().await;
                self.tell_error(conn, &error, false);
                conn.output.flush().await?;
            }
        }
        Ok(())
    }

    /// Waits for the client, but not for ever: the server may stop, an idle session time out.
    async fn next_message(&mut self, conn: &mut Connection) -> Result<Option<Message>> {
        if let Some(message) = conn.input.message_at_hand()? {
            return Ok(Some(message));
        }
        self.info.interrupt.finish();
        if self.poll_socket(conn)
            && let Some(message) = conn.input.message_at_hand()?
        {
            self.hear(false);
            return Ok(Some(message));
        }
        let idle_limit = match self.transaction.block {
            Block::Explicit => self.settings.timeout("idle_in_transaction_session_timeout").map(|limit| {
                let message = "terminating connection due to idle-in-transaction timeout";
                (limit, Error::new(SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, message))
            }),
            _ => self.settings.timeout("idle_session_timeout").map(|limit| {
                let message = "terminating connection due to idle-session timeout";
                (limit, Error::new(SqlState::IDLE_SESSION_TIMEOUT, message))
            }),
        };
        let too_long = async {
            match idle_limit {
                Some((limit, error)) => {
                    tokio::time::sleep(limit).await;
                    error
                }
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            biased;
            message = conn.input.message() => message,
            () = self.shared.shutdown.cancelled() => Err(shut_down()),
            () = self.info.interrupt.terminated() => Err(shut_down()),
            error = too_long => Err(error),
        };
        self.hear(true);
        message
    }

    /// Asks the socket for a moment whether something has arrived, if that is likely and no other session gets messages.
    fn poll_socket(&mut self, conn: &mut Connection) -> bool {
        let (limit, begun) = (self.settings.busy_poll(), Instant::now());
        // Of an encrypted socket the runtime alone can read.
        if limit.is_zero() || conn.encryption.is_some() || !self.busy_poll.wants(begun) {
            return false;
        }
        let mut found = conn.input.take_arrived();
        while !found && self.shared.talker.is(self.info.pid) && begun.elapsed() < limit {
            (0..POLL_PAUSES).for_each(|_| std::hint::spin_loop());
            found = conn.input.take_arrived();
        }
        self.busy_poll.polled(found);
        self.shared.metrics.count_busy_poll(found);
        found
    }

    /// A message has come, by a wait or by a poll.
    pub(super) fn hear(&mut self, waited: bool) {
        self.busy_poll.heard(&self.shared.talker, self.info.pid, Instant::now(), waited);
    }

    /// The end of a message of the extended protocol: after an error the others are skipped until Sync.
    async fn extended(&mut self, conn: &mut Connection, handled: Flow) -> Flow {
        self.skip_until_sync |= handled.is_err();
        handled?;
        conn.output.flush_if_full().await
    }

    /// Messages that are rarer than those which `serve_messages` handles itself.
    async fn handle(&mut self, conn: &mut Connection, message: Message) -> Flow {
        let extended = !matches!(
            message,
            Message::Query(_) | Message::FunctionCall | Message::Malformed { ty: b'Q' | b'F', .. }
        );
        let handled = match message {
            Message::Query(query) => return self.simple_query(conn, query).await,
            Message::Parse { name, query, types } => self.parse(conn, name, query, &types).await,
            Message::Close(target) => {
                self.close(conn, &target);
                Ok(())
            }
            Message::Flush => conn.output.flush().await,
            // Left over from a COPY that failed: its client did not know yet.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => return Ok(()),
            Message::FunctionCall => Err(Error::unsupported("the function call protocol")),
            Message::Password(_) => Err(frontend::violation("unexpected password message")),
            Message::Malformed { error, .. } => Err(error),
            Message::Bind(_)
            | Message::Describe(_)
            | Message::Execute { .. }
            | Message::Sync
            | Message::Terminate => Err(Error::internal("a message that is handled elsewhere")),
        };
        match handled {
            Err(error) if !extended => {
                self.fail().await;
                self.tell_error(conn, &error, false);
                self.ready(conn).await
            }
            handled => self.extended(conn, handled).await,
        }
    }

    /// Sync: the implicit transaction of a pipeline ends here.
    async fn sync(&mut self, conn: &mut Connection) -> Flow {
        self.skip_until_sync = false;
        if self.transaction.block == Block::Implicit {
            let watch = self.watch();
            if let Err(error) = self.commit_and_build(conn, &watch).await {
                self.tell_error(conn, &error, false);
            }
        }
        self.ready(conn).await
    }

    /// ReadyForQuery, and everything before it leaves.
    pub(super) async fn ready(&mut self, conn: &mut Connection) -> Flow {
        self.info.interrupt.finish();
        self.tell(conn);
        let status = self.transaction.status();
        backend::ready(&mut conn.output.buffer, status);
        self.info.set_state(match status {
            b'T' => "idle in transaction",
            b'E' => "idle in transaction (aborted)",
            _ => "idle",
        });
        conn.output.flush().await
    }
}
