//! Messages of the protocol, byte by byte, for what no driver would send.

use super::TestServer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Messages as they are on the wire.
pub(crate) struct Raw<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// A message without a type.
    pub(crate) async fn packet(&mut self, body: &[u8]) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.stream.write_all(&[&length, body].concat()).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// A request that is answered by one byte.
    pub(crate) async fn request(&mut self, code: u32) -> u8 {
        self.packet(&code.to_be_bytes()).await;
        self.stream.read_u8().await.expect("an answer")
    }

    /// The startup packet of the role `quiver`.
    pub(crate) async fn startup(&mut self, version: u32, options: &[(&str, &str)]) {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in [("user", "quiver"), ("database", "quiver")].iter().chain(options) {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        self.packet(&body).await;
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> (u8, Vec<u8>) {
        let ty = self.stream.read_u8().await.expect("a message");
        let length = self.stream.read_u32().await.expect("a length") as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.expect("a body");
        (ty, body)
    }

    /// The first message of a type; those before it are given up.
    pub(crate) async fn find(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let (ty, body) = self.message().await;
            if ty == wanted {
                return body;
            }
        }
    }

    /// A message.
    pub(crate) async fn send(&mut self, ty: u8, body: &[u8]) {
        self.stream.write_u8(ty).await.expect("sent");
        self.packet(body).await;
    }
}

/// A connection that nothing has been said on.
pub(crate) async fn raw(server: &TestServer) -> Raw<TcpStream> {
    let stream = TcpStream::connect(server.address()).await.expect("connected");
    // A message leaves in two pieces, the second of which would wait for the first to be acknowledged.
    stream.set_nodelay(true).expect("set");
    Raw { stream }
}

/// A session that is ready.
pub(crate) async fn session(server: &TestServer) -> Raw<TcpStream> {
    let mut session = raw(server).await;
    session.startup(3 << 16, &[]).await;
    session.find(b'Z').await;
    session
}
