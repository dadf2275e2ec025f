//! A socket with its two buffers. Reading stops at a bound, so that a client cannot fill the memory by not waiting for answers;
//! writing waits for the client.

use super::frontend::{self, Message, violation};
use super::socket::{self, Reader, Writer};
use super::tls::Tls;
use bytes::{Buf, Bytes, BytesMut};
use quiver_base::{Error, Result, SqlState};
use socket2::SockRef;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message's type and length.
const HEAD_BYTES: usize = 5;
/// What is sent once the output has grown to it.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;
/// How far ahead of a running statement input is read.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// What is taken at once of what has arrived: a query's vector of some hundred dimensions, too.
const PIECE_BYTES: usize = 4 * 1024;
/// The output buffer is given back to the allocator past this.
const KEEP_BYTES_MAX: usize = 1024 * 1024;

/// How long an ended connection waits for a client that does not read.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// From the client.
    pub input: Input,
    /// To the client.
    pub output: Output,
    /// The client's address.
    pub peer: SocketAddr,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
}

/// An encrypted connection's properties, as pg_stat_ssl shows them.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    /// `TLSv1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
}

impl Connection {
    /// Takes a socket.
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, message_bytes_max: usize) -> Connection {
        let (read, write) = socket::plain(stream);
        Connection {
            input: Input { half: read, buffer: BytesMut::new(), message_bytes_max },
            output: Output { half: write, buffer: Vec::new() },
            peer,
            encryption: None,
        }
    }

    /// Goes on encrypted: the client has been told to begin its handshake.
    pub(super) async fn encrypt(&mut self, tls: &Tls) -> Result<()> {
        let reader = std::mem::replace(&mut self.input.half, Reader::Gone);
        let writer = std::mem::replace(&mut self.output.half, Writer::Gone);
        let plain = socket::reunite(reader, writer).ok_or_else(|| violation("already encrypted"))?;
        let stream = tls.acceptor.accept(plain).await.map_err(|error| {
            Error::new(SqlState::CONNECTION_FAILURE, format!("could not accept SSL connection: {error}"))
        })?;
        let (_, session) = stream.get_ref();
        let name = |name: Option<String>| name.unwrap_or_default();
        self.encryption = Some(Encryption {
            version: name(session.protocol_version().map(|version| format!("{version:?}").replace('_', "."))),
            cipher: name(
                session
                    .negotiated_cipher_suite()
                    .map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")),
            ),
        });
        (self.input.half, self.output.half) = socket::encrypted(stream);
        Ok(())
    }
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct Input {
    half: Reader,
    buffer: BytesMut,
    message_bytes_max: usize,
}

impl Input {
    /// The next message; `None` at the end of the connection. Dropping the future loses nothing. An `Err` is fatal: where the next
    /// message begins is not known.
    pub(crate) async fn message(&mut self) -> Result<Option<Message>> {
        if !self.fill(HEAD_BYTES).await? {
            return Ok(None);
        }
        let bytes = self.message_bytes()?;
        if !self.fill(bytes).await? {
            return Ok(None);
        }
        Ok(Some(self.take_message(bytes)))
    }

    /// [`Self::message`] if it has been read already: those of a pipeline arrive together.
    pub(crate) fn message_at_hand(&mut self) -> Result<Option<Message>> {
        if self.buffer.len() < HEAD_BYTES {
            return Ok(None);
        }
        let bytes = self.message_bytes()?;
        Ok((self.buffer.len() >= bytes).then(|| self.take_message(bytes)))
    }

    /// How long the message is that begins here, its head included.
    fn message_bytes(&self) -> Result<usize> {
        let ty = self.buffer[0];
        if !frontend::is_known(ty) {
            return Err(violation(format!("invalid frontend message type {ty}")));
        }
        let limit =
            if frontend::may_be_long(ty) { self.message_bytes_max } else { frontend::SHORT_BYTES_MAX };
        Ok(1 + self.length_at(1, limit)?)
    }

    fn take_message(&mut self, bytes: usize) -> Message {
        let ty = self.buffer[0];
        let mut body = self.buffer.split_to(bytes).freeze();
        body.advance(HEAD_BYTES);
        frontend::decode(ty, body).unwrap_or_else(|error| Message::Malformed { ty, error })
    }

    /// The body of a startup packet, which has no type.
    pub(crate) async fn startup_packet(&mut self) -> Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = self.length_at(0, frontend::SHORT_BYTES_MAX)?;
        if length < 8 {
            return Err(violation("invalid length of startup packet"));
        }
        if !self.fill(length).await? {
            return Ok(None);
        }
        Ok(Some(self.buffer.split_to(length).freeze().slice(4..)))
    }

    /// Whether bytes are waiting: after a refused SSLRequest they would have been sent without encryption on purpose or by an attacker.
    pub(crate) fn has_unread(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn length_at(&self, at: usize, limit: usize) -> Result<usize> {
        let length = self.buffer[at..at + 4].try_into().map(u32::from_be_bytes).unwrap_or(0) as usize;
        if length < 4 {
            return Err(violation("invalid message length"));
        }
        if length > limit {
            return Err(violation("invalid message length").with_detail(format!(
                "A message of {length} bytes is longer than the {limit} bytes that are accepted."
            )));
        }
        Ok(length)
    }

    /// Reads until so many bytes are there; false if the connection ends before.
    async fn fill(&mut self, bytes: usize) -> Result<bool> {
        while self.buffer.len() < bytes {
            // Room grows with what has arrived, not with what a length word promises.
            let room = (bytes - self.buffer.len()).clamp(8 * 1024, self.buffer.len().max(FLUSH_BYTES));
            self.buffer.reserve(room);
            if self.half.read_buf(&mut self.buffer).await.map_err(lost)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes what has arrived without waiting, as far as the bound, where the socket is not encrypted. Whether there was anything; an end or an
    /// error shows when the next message is waited for.
    pub(crate) fn take_arrived(&mut self) -> bool {
        let Reader::Plain(half) = &self.half else { return false };
        // Asked directly: the runtime asks only sockets that it was told of, which it hears when the thread sleeps.
        let socket = SockRef::from(half.as_ref());
        let before = self.buffer.len();
        let mut piece = [0; PIECE_BYTES];
        while self.buffer.len() < READ_AHEAD_BYTES {
            let Ok(bytes @ 1..) = (&*socket).read(&mut piece) else { break };
            if self.buffer.len() == before {
                self.buffer.reserve(2 * PIECE_BYTES);
            }
            self.buffer.extend_from_slice(&piece[..bytes]);
            if bytes < PIECE_BYTES {
                break;
            }
        }
        self.buffer.len() > before
    }

    /// Returns when the client has gone. Meanwhile reads ahead as far as the bound.
    pub(crate) async fn disconnected(&mut self) {
        loop {
            if self.buffer.len() >= READ_AHEAD_BYTES {
                // Nothing more is read until the statement ends, so the end of the connection shows when something is sent.
                std::future::pending::<()>().await;
            }
            self.buffer.reserve(8 * 1024);
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Output {
    half: Writer,
    /// Messages that are to be sent.
    pub buffer: Vec<u8>,
}

impl Output {
    /// Sends what has been written.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let sent = match self.half.write_all(&self.buffer).await {
                // Encrypted records may wait in a buffer of their own.
                Ok(()) => self.half.flush().await.map_err(lost),
                Err(error) => Err(lost(error)),
            };
            self.buffer.clear();
            if self.buffer.capacity() > KEEP_BYTES_MAX {
                self.buffer = Vec::new();
            }
            sent?;
        }
        Ok(())
    }

    /// Sends what has been written once it is enough to be worth it.
    pub(crate) async fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Says goodbye, as TLS wants it, so that the client can tell an end from a cut. It may be gone already.
    pub(crate) async fn close(&mut self) {
        if matches!(self.half, Writer::Tls(_)) {
            let _ = tokio::time::timeout(CLOSE_WAIT, self.half.shutdown()).await;
        }
    }

    /// One byte that is no message: the answer to SSLRequest.
    pub(crate) async fn byte(&mut self, byte: u8) -> Result<()> {
        self.buffer.push(byte);
        self.flush().await
    }
}

/// 08006: nobody is left to tell.
fn lost(error: std::io::Error) -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, format!("connection to client lost: {error}"))
}
