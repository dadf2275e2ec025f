//! Connecting: encryption requests, the startup packet, authentication, the first messages.

use super::backend;
use super::connection::Connection;
use super::frontend::{Body, Message, violation};
use super::listener::Server;
use super::scram::{self, Exchange, Verifier};
use crate::session::{Identity, Session};
use crate::settings::Settings;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::Role;
use std::sync::Arc;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const VERSION_3: u32 = 3;

/// The bootstrap superuser's oid.
const SUPERUSER: u32 = 10;

/// What a client asks for.
#[derive(Debug, Default)]
struct Startup {
    minor: u16,
    user: String,
    database: String,
    /// Settings, in the order they came; `options` taken apart.
    settings: Vec<(String, String)>,
    /// `_pq_.` options: extensions of the protocol, none of which is known.
    extensions: Vec<String>,
}

/// Brings a connection to where it can be served; `None`: it was a cancel request, or the client left. An error has not been told
/// to the client yet, and is fatal.
pub(super) async fn start(server: &Server, conn: &mut Connection) -> Result<Option<Session>> {
    let Some(startup) = negotiate(server, conn).await? else { return Ok(None) };
    if startup.minor > 0 || !startup.extensions.is_empty() {
        backend::negotiate_version(&mut conn.output.buffer, &startup.extensions);
    }
    let catalog = server.shared.cluster.catalog();
    let role = catalog.roles.values().find(|role| role.name == startup.user).cloned();
    if !conn.peer.ip().to_canonical().is_loopback() {
        authenticate(server, conn, &startup.user, role.as_deref()).await?;
    } else if role.as_ref().is_some_and(|role| !role.login) {
        return Err(cannot_login(&startup.user));
    }
    let database = server.shared.cluster.database(&startup.database)?;
    let settings = settings_of(&startup, role.as_deref(), server.config.max_connections)?;
    let identity = Identity {
        role: role.map_or(SUPERUSER, |role| role.id),
        user: startup.user,
        database: database.name.clone(),
        database_id: database.id,
        client: Some(conn.peer),
    };
    let registered = server.shared.backends.add(identity)?;
    backend::authentication_ok(&mut conn.output.buffer);
    backend::backend_key(&mut conn.output.buffer, registered.info.pid, registered.info.secret);
    Ok(Some(Session::new(server.shared.clone(), registered, settings)))
}

/// Answers encryption requests with no, carries out a cancel request, reads the startup packet.
async fn negotiate(server: &Server, conn: &mut Connection) -> Result<Option<Startup>> {
    // A client may ask for each kind of encryption once.
    for _ in 0..3 {
        let Some(packet) = conn.input.startup_packet().await? else { return Ok(None) };
        let mut body = Body { bytes: packet };
        match body.u32()? {
            SSL_REQUEST | GSS_REQUEST => {
                conn.output.byte(b'N').await?;
                if conn.input.has_unread() {
                    return Err(violation("received unencrypted data after encryption request"));
                }
            }
            CANCEL_REQUEST => {
                let (pid, secret) = (body.u32()? as i32, body.u32()? as i32);
                server.shared.backends.cancel_by_secret(pid, secret);
                return Ok(None);
            }
            version if version >> 16 == VERSION_3 => return read_startup(body, version as u16).map(Some),
            version => {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!(
                        "unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                        version >> 16,
                        version & 0xffff
                    ),
                ));
            }
        }
    }
    Err(violation("invalid startup packet"))
}

fn read_startup(mut body: Body, minor: u16) -> Result<Startup> {
    let mut startup = Startup { minor, ..Startup::default() };
    loop {
        let name = body.text()?;
        if name.is_empty() {
            break;
        }
        let value = body.text()?;
        match name.as_str() {
            "user" => startup.user = value,
            "database" => startup.database = value,
            "options" => startup.settings.extend(read_options(&value)?),
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => return Err(Error::unsupported("replication")),
            _ if name.starts_with("_pq_.") => startup.extensions.push(name),
            _ => startup.settings.push((name, value)),
        }
    }
    if startup.user.is_empty() {
        return Err(Error::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

/// `-c name=value --name=value`, with backslashes before blanks that belong to a value.
fn read_options(options: &str) -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = options.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.extend(characters.next()),
            c if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) => rest.to_owned(),
            None => word.clone(),
        };
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                format!("invalid command-line argument for server process: {word}"),
            ));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn settings_of(startup: &Startup, role: Option<&Role>, max_connections: usize) -> Result<Settings> {
    let settings = Settings::new(&startup.user);
    let superuser = role.is_none_or(|role| role.superuser);
    settings.set_fixed("is_superuser", if superuser { "on" } else { "off" });
    settings.set_fixed("session_authorization", &startup.user);
    settings.set_fixed("max_connections", &max_connections.to_string());
    for (name, value) in &startup.settings {
        settings.set_initial(name, value)?;
    }
    Ok(settings)
}

/// SCRAM-SHA-256 with the role's verifier; a superuser without one has the server's password.
async fn authenticate(server: &Server, conn: &mut Connection, user: &str, role: Option<&Role>) -> Result<()> {
    let own = role.and_then(|role| role.password.as_deref()).and_then(Verifier::parse);
    let bootstrap = || role.filter(|role| role.superuser).and(server.bootstrap_verifier.clone());
    let verifier = own.or_else(bootstrap).unwrap_or_else(Verifier::of_nobody);
    backend::authentication_sasl(&mut conn.output.buffer, scram::MECHANISM);
    conn.output.flush().await?;
    let mut initial = Body { bytes: password_message(conn).await? };
    let mechanism = initial.text()?;
    if mechanism != scram::MECHANISM {
        return Err(violation("client selected an invalid SASL authentication mechanism"));
    }
    // A length word, then the client's first message.
    initial.u32()?;
    let client_first = crate::decode::utf8(&initial.bytes)?.to_owned();
    let (exchange, server_first) = Exchange::begin(verifier, &client_first)?;
    backend::authentication_step(&mut conn.output.buffer, 11, &server_first);
    conn.output.flush().await?;
    let client_final = password_message(conn).await?;
    match exchange.finish(crate::decode::utf8(&client_final)?)? {
        Some(server_final) if role.is_some_and(|role| role.login) => {
            backend::authentication_step(&mut conn.output.buffer, 12, &server_final);
            Ok(())
        }
        Some(_) => Err(cannot_login(user)),
        None => Err(Error::new(
            SqlState::INVALID_PASSWORD,
            format!("password authentication failed for user \"{user}\""),
        )),
    }
}

async fn password_message(conn: &mut Connection) -> Result<bytes::Bytes> {
    match conn.input.message().await? {
        Some(Message::Password(bytes)) => Ok(bytes),
        Some(Message::Malformed { error, .. }) => Err(error),
        Some(_) => Err(violation("expected SASL response")),
        None => Err(Error::new(SqlState::CONNECTION_FAILURE, "client left during authentication")),
    }
}

fn cannot_login(user: &str) -> Error {
    Error::new(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        format!("role \"{user}\" is not permitted to log in"),
    )
}

/// The verifier of the password that the server was started with.
pub(super) fn bootstrap_verifier(password: Option<&str>) -> Option<Verifier> {
    password.map(Verifier::of_password)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_startup_packet_is_read() {
        let packet = b"user\0alice\0options\0-c work_mem=8MB --search-path=a,\\ b -cjit=off\0TimeZone\0UTC\0_pq_.x\0y\0\0";
        let startup = read_startup(Body { bytes: Bytes::from_static(packet) }, 2).unwrap();
        assert_eq!((startup.user.as_str(), startup.database.as_str()), ("alice", "alice"));
        let settings: Vec<_> =
            startup.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            settings,
            [("work_mem", "8MB"), ("search_path", "a, b"), ("jit", "off"), ("TimeZone", "UTC")]
        );
        assert_eq!(startup.extensions, ["_pq_.x"]);
        assert!(read_startup(Body { bytes: Bytes::from_static(b"database\0x\0\0") }, 0).is_err());
        assert!(read_startup(Body { bytes: Bytes::from_static(b"user\0x") }, 0).is_err());
    }
}
