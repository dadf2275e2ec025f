//! COPY FROM STDIN at the level of messages: what the client may send meanwhile, and what ends it.

use super::Session;
use super::guard::{Watch, guarded, waiting};
use crate::outcome::CopySink;
use crate::wire::connection::Connection;
use crate::wire::frontend::Message;
use crate::wire::{backend, frontend};
use quiver_base::{Error, Result, SqlState};

impl Session {
    /// Takes COPY data until the client says that it is all; gives the tag.
    pub(super) async fn copy_in(
        &mut self,
        conn: &mut Connection,
        mut sink: Box<dyn CopySink>,
        watch: &Watch,
    ) -> Result<String> {
        self.tell(conn);
        backend::copy_response(&mut conn.output.buffer, b'G', sink.format());
        conn.output.flush().await?;
        let info = self.info.clone();
        loop {
            let message = waiting(&info, watch, conn.input.message()).await?;
            let message = message.ok_or_else(|| {
                let message = "unexpected EOF on client connection during COPY from stdin";
                Error::new(SqlState::CONNECTION_FAILURE, message)
            })?;
            self.hear(true);
            match message {
                Message::CopyData(bytes) => {
                    let mut ctx = self.context(watch, true)?;
                    guarded(&mut conn.input, &info, watch, sink.data(&mut ctx, bytes)).await?;
                }
                Message::CopyDone => {
                    let mut ctx = self.context(watch, true)?;
                    let rows = guarded(&mut conn.input, &info, watch, sink.finish(&mut ctx)).await?;
                    return Ok(format!("COPY {rows}"));
                }
                Message::CopyFail(reason) => {
                    return Err(Error::new(
                        SqlState::QUERY_CANCELED,
                        format!("COPY from stdin failed: {reason}"),
                    ));
                }
                // Allowed so that a client need not know that a COPY has begun.
                Message::Flush | Message::Sync => {}
                Message::Terminate => {
                    return Err(Error::new(SqlState::CONNECTION_FAILURE, "connection to client lost"));
                }
                Message::Malformed { error, .. } => return Err(error),
                _ => return Err(frontend::violation("unexpected message type during COPY from stdin")),
            }
        }
    }
}
