//! Connecting: encryption requests, cancel requests, the startup packet, the first messages. Who may in is decided in `login`.

use super::backend;
use super::connection::Connection;
use super::frontend::{Body, violation};
use super::listener::Server;
use super::login::{admit, database_of};
use crate::session::{Identity, Session};
use crate::settings::Settings;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{BOOTSTRAP_ROLE, Catalog, Database, Role};
use rand::Rng;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const VERSION_3: u32 = 3;

/// The newest minor version of the protocol's version 3 that is spoken.
const MINOR_MAX: u16 = 2;
/// From this minor version on, what a cancel request must know may be longer than four bytes.
const LONG_SECRETS: u16 = 2;

/// What a client asks for.
#[derive(Debug, Default)]
pub(super) struct Startup {
    minor: u16,
    pub(super) user: String,
    pub(super) database: String,
    /// Settings, in the order they came; `options` taken apart.
    settings: Vec<(String, String)>,
    /// `_pq_.` options: extensions of the protocol, none of which is known.
    extensions: Vec<String>,
}

/// Brings a connection to where it can be served; `None`: it was a cancel request, or the client left. An error has not been told
/// to the client yet, and is fatal.
pub(super) async fn start(server: &Server, conn: &mut Connection) -> Result<Option<Session>> {
    let Some(startup) = negotiate(server, conn).await? else { return Ok(None) };
    if startup.minor > MINOR_MAX || !startup.extensions.is_empty() {
        let minor = startup.minor.min(MINOR_MAX);
        backend::negotiate_version(&mut conn.output.buffer, minor, &startup.extensions);
    }
    let role = admit(server, conn, &startup).await?;
    let catalog = server.shared.cluster.catalog();
    let database = database_of(&server.shared.cluster, &startup.database)?;
    let settings = settings_of(server, &startup, role.as_ref(), &database)?;
    let is_superuser = role.as_ref().is_none_or(|role| role.superuser);
    let identity = Identity {
        role: role.as_ref().map_or(BOOTSTRAP_ROLE, |role| role.id),
        user: startup.user,
        database: database.name.clone(),
        database_id: database.id,
        client: Some(conn.peer),
        encryption: conn.encryption.clone(),
        secret: secret(startup.minor),
        role_limit: role.filter(|_| !is_superuser).map_or(-1, |role| role.connection_limit),
        database_limit: if is_superuser { -1 } else { database.connection_limit },
    };
    let registered = server.shared.backends.add(identity, &server.shared.cluster)?;
    // Whoever drops a database looks for sessions first and then drops it: one of the two sees the other.
    still_there(&server.shared.cluster.catalog(), &catalog, &database)?;
    backend::authentication_ok(&mut conn.output.buffer);
    backend::backend_key(&mut conn.output.buffer, registered.info.pid, &registered.info.secret);
    Ok(Some(Session::new(server.shared.clone(), registered, settings)))
}

fn still_there(now: &Catalog, before: &Catalog, database: &Database) -> Result<()> {
    if now.version == before.version || now.databases.contains_key(&database.id) {
        return Ok(());
    }
    let message = format!("database \"{}\" does not exist", database.name);
    Err(Error::new(SqlState::INVALID_CATALOG_NAME, message))
}

/// What a cancel request must know.
fn secret(minor: u16) -> Vec<u8> {
    let mut secret = vec![0; if minor >= LONG_SECRETS { 32 } else { 4 }];
    rand::rng().fill(&mut secret[..]);
    secret
}

/// Answers encryption requests, carries out a cancel request, reads the startup packet.
async fn negotiate(server: &Server, conn: &mut Connection) -> Result<Option<Startup>> {
    // A client may ask for each kind of encryption once.
    for _ in 0..3 {
        let Some(packet) = conn.input.startup_packet().await? else { return Ok(None) };
        let mut body = Body { bytes: packet };
        match body.u32()? {
            request @ (SSL_REQUEST | GSS_REQUEST) => {
                let tls = server.tls.as_ref().filter(|_| request == SSL_REQUEST && conn.encryption.is_none());
                if conn.input.has_unread() {
                    return Err(violation("received unencrypted data after SSL request")
                        .with_detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."));
                }
                conn.output.byte(if tls.is_some() { b'S' } else { b'N' }).await?;
                if let Some(tls) = tls {
                    conn.encrypt(tls).await?;
                }
            }
            CANCEL_REQUEST => {
                let pid = body.u32()? as i32;
                server.shared.backends.cancel_by_secret(pid, &body.bytes);
                return Ok(None);
            }
            version if version >> 16 == VERSION_3 => return read_startup(body, version as u16).map(Some),
            version => {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!(
                        "unsupported frontend protocol {}.{}: server supports 3.0 to 3.{MINOR_MAX}",
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

/// What the session begins with: the database's settings, the role's, the role's in this database, the client's.
fn settings_of(
    server: &Server,
    startup: &Startup,
    role: Option<&Role>,
    database: &Database,
) -> Result<Settings> {
    let settings = Settings::new(&startup.user);
    let superuser = role.is_none_or(|role| role.superuser);
    settings.set_fixed("is_superuser", if superuser { "on" } else { "off" });
    settings.set_fixed("session_authorization", &startup.user);
    settings.set_fixed("max_connections", &server.config.max_connections.to_string());
    settings.set_fixed("ssl", if server.tls.is_some() { "on" } else { "off" });
    let of_role = |database: u32| {
        let all = role.into_iter().flat_map(|role| &role.settings);
        all.filter(move |setting| setting.database == database)
    };
    for setting in database.settings.iter().chain(of_role(0)).chain(of_role(database.id.0)) {
        if let Err(error) = settings.set_initial(&setting.name, &setting.value) {
            tracing::warn!(%error, user = startup.user, "a stored setting was left out");
        }
    }
    for (name, value) in &startup.settings {
        settings.set_initial(name, value)?;
    }
    Ok(settings)
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
