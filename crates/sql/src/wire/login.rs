//! Who may connect: the rules, the role, its password, the database.

use super::backend;
use super::connection::Connection;
use super::frontend::{Body, Message, violation};
use super::hba::{Candidate, Method};
use super::listener::Server;
use super::scram::{self, Binding, Exchange, Verifier};
use super::startup::Startup;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{Cluster, Database, Role};
use std::sync::Arc;

/// Lets a client in, or not. Gives its role; `None` for a name that is no role, which loopback lets in while there are no rules.
pub(super) async fn admit(server: &Server, conn: &mut Connection, startup: &Startup) -> Result<Option<Role>> {
    let catalog = server.shared.cluster.catalog();
    let role = catalog.role(&startup.user).cloned();
    let address = conn.peer.ip().to_canonical();
    let method = match &server.hba {
        Some(hba) => {
            let (user, database) = (startup.user.as_str(), startup.database.as_str());
            let candidate = Candidate { address, encrypted: conn.encryption.is_some(), user, database };
            hba.method(candidate, &catalog)?
        }
        None if address.is_loopback() => Method::Trust,
        None => Method::Scram,
    };
    if method == Method::Scram {
        authenticate(server, conn, &startup.user, role.as_ref()).await?;
    }
    match role {
        Some(role) if !role.login => {
            Err(no_login(&format!("role \"{}\" is not permitted to log in", role.name)))
        }
        None if server.hba.is_some() => Err(no_login(&format!("role \"{}\" does not exist", startup.user))),
        role => Ok(role),
    }
}

/// A database that may be connected to.
pub(super) fn database_of(cluster: &Cluster, name: &str) -> Result<Arc<Database>> {
    let database = cluster.database(name)?;
    if !database.allow_connections {
        let message = format!("database \"{name}\" is not currently accepting connections");
        return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    Ok(database)
}

fn no_login(message: &str) -> Error {
    Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}

/// SCRAM-SHA-256 with the role's verifier; a superuser without one has the server's password.
async fn authenticate(server: &Server, conn: &mut Connection, user: &str, role: Option<&Role>) -> Result<()> {
    let own = role.and_then(|role| role.password.as_deref()).and_then(Verifier::parse);
    let bootstrap = || role.filter(|role| role.superuser).and(server.bootstrap_verifier.clone());
    let verifier = own.or_else(bootstrap).unwrap_or_else(Verifier::of_nobody);
    let end_point = server.tls.as_ref().filter(|_| conn.encryption.is_some());
    let end_point = end_point.and_then(|tls| tls.end_point.as_deref());
    let mechanisms: &[&str] = match end_point {
        Some(_) => &[scram::MECHANISM_PLUS, scram::MECHANISM],
        None => &[scram::MECHANISM],
    };
    backend::authentication_sasl(&mut conn.output.buffer, mechanisms);
    conn.output.flush().await?;
    let mut initial = Body { bytes: password_message(conn).await? };
    let binding = match (initial.text()?.as_str(), end_point) {
        (scram::MECHANISM, None) => Binding::Impossible,
        (scram::MECHANISM, Some(_)) => Binding::Declined,
        (scram::MECHANISM_PLUS, Some(end_point)) => Binding::EndPoint(end_point),
        _ => return Err(violation("client selected an invalid SASL authentication mechanism")),
    };
    // A length word, then the client's first message.
    initial.u32()?;
    let client_first = crate::decode::utf8(&initial.bytes)?.to_owned();
    let (exchange, server_first) = Exchange::begin(verifier, &client_first, binding)?;
    backend::authentication_step(&mut conn.output.buffer, 11, &server_first);
    conn.output.flush().await?;
    let client_final = password_message(conn).await?;
    let proven = exchange.finish(crate::decode::utf8(&client_final)?)?;
    // A password that has expired looks like a wrong one, as in PostgreSQL.
    match proven.filter(|_| role.is_some_and(|role| !is_expired(role))) {
        Some(server_final) => {
            backend::authentication_step(&mut conn.output.buffer, 12, &server_final);
            Ok(())
        }
        None => Err(Error::new(
            SqlState::INVALID_PASSWORD,
            format!("password authentication failed for user \"{user}\""),
        )),
    }
}

fn is_expired(role: &Role) -> bool {
    role.valid_until.is_some_and(|until| until < crate::session::now_us())
}

async fn password_message(conn: &mut Connection) -> Result<bytes::Bytes> {
    match conn.input.message().await? {
        Some(Message::Password(bytes)) => Ok(bytes),
        Some(Message::Malformed { error, .. }) => Err(error),
        Some(_) => Err(violation("expected SASL response")),
        None => Err(Error::new(SqlState::CONNECTION_FAILURE, "client left during authentication")),
    }
}
