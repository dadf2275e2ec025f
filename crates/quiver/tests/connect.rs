//! Who gets in, and how: TLS, channel binding, host-based rules, passwords, protocol versions, cancel requests, databases.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use support::raw::{Raw, raw};
use support::{TestServer, rows, try_connect, value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An authority and a certificate for localhost, made by openssl.
struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        let dir = tempfile::tempdir().expect("temp dir");
        let openssl = |line: &str| {
            let words = line.split_whitespace();
            let output =
                Command::new("openssl").args(words).current_dir(dir.path()).output().expect("openssl runs");
            assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        std::fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            .expect("written");
        openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 30",
        );
        openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        );
        openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 -sha384 -extfile names",
        );
        openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out other.key");
        let certificates = Certificates { dir };
        for key in ["server.key", "other.key"] {
            set_mode(&certificates.path(key), 0o600);
        }
        certificates
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
}

/// What psql prints: rows, or the error.
fn psql(server: &TestServer, options: &str, password: &str, sql: &str) -> Result<String, String> {
    let port = server.address().port();
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--no-password", "-XqAt", "-v", "VERBOSITY=verbose", "-c", sql])
        .arg(format!("host=localhost hostaddr=127.0.0.1 port={port} {options}"))
        .env("PGPASSWORD", password)
        .output()
        .expect("psql runs");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

#[test]
fn tls_with_a_verified_name_and_channel_binding() {
    let certificates = Certificates::new();
    let dir = tempfile::tempdir().expect("temp dir");
    let rules = dir.path().join("rules");
    std::fs::write(&rules, "hostssl all all all scram-sha-256\n").expect("written");
    let server = TestServer::start_on(
        dir.path(),
        &[
            ("--tls-cert", &certificates.text("server.crt")),
            ("env:QUIVER_TLS_KEY", &certificates.text("server.key")),
            ("--hba", rules.to_str().expect("UTF-8")),
            ("--password", "secret"),
        ],
    );
    let root = certificates.text("ca.crt");
    let strict =
        format!("user=quiver dbname=quiver sslmode=verify-full sslrootcert={root} channel_binding=require");
    let shown =
        psql(&server, &strict, "secret", "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_eq!(shown.expect("connected"), "t|TLSv1.3");
    assert_eq!(psql(&server, &strict, "secret", "SHOW ssl").expect("connected"), "on");
    let unbound = "user=quiver dbname=quiver sslmode=require channel_binding=disable";
    assert_eq!(psql(&server, unbound, "secret", "SELECT 1").expect("connected"), "1");
    let older = "user=quiver dbname=quiver sslmode=require ssl_max_protocol_version=TLSv1.2";
    assert_eq!(psql(&server, older, "secret", "SELECT 1").expect("connected"), "1");
    let error = psql(&server, &strict, "wrong", "SELECT 1").expect_err("a wrong password");
    assert!(error.contains("password authentication failed for user \"quiver\""), "{error}");
    let error =
        psql(&server, "user=quiver dbname=quiver sslmode=disable", "secret", "SELECT 1").expect_err("plain");
    let expected =
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"quiver\", database \"quiver\", no encryption";
    assert!(error.contains(expected), "{error}");
    let stranger = "user=quiver dbname=quiver sslmode=verify-full sslrootcert=/dev/null";
    psql(&server, stranger, "secret", "SELECT 1").expect_err("an unknown authority");
}

#[test]
fn bad_certificates_and_keys_are_refused_by_name() {
    let certificates = Certificates::new();
    let dir = tempfile::tempdir().expect("temp dir");
    set_mode(&certificates.path("ca.key"), 0o644);
    let text = |name: &str| certificates.text(name);
    let cases = [
        (Some(text("server.crt")), None, "tls-cert is set and tls-key is not"),
        (None, Some(text("server.key")), "tls-key is set and tls-cert is not"),
        (Some(text("nowhere.crt")), Some(text("server.key")), "nowhere.crt"),
        (Some(text("names")), Some(text("server.key")), "it holds no certificate"),
        (Some(text("server.crt")), Some(text("nowhere.key")), "could not load private key file"),
        (Some(text("server.crt")), Some(text("other.key")), "cannot be used together"),
        (Some(text("server.crt")), Some(text("ca.key")), "has group or world access"),
    ];
    for (cert, key, expected) in cases {
        let mut options = Vec::new();
        options.extend(cert.as_deref().map(|path| ("--tls-cert", path)));
        options.extend(key.as_deref().map(|path| ("--tls-key", path)));
        let Err(message) = TestServer::try_start(dir.path(), &options) else {
            panic!("started with {options:?}")
        };
        assert!(message.contains(expected), "{options:?} gave: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_requests_versions_and_cancel() {
    let certificates = Certificates::new();
    let dir = tempfile::tempdir().expect("temp dir");
    let (cert, key) = (certificates.text("server.crt"), certificates.text("server.key"));
    let server = TestServer::start_on(dir.path(), &[("--tls-cert", &cert), ("--tls-key", &key)]);
    let mut session = raw(&server).await;
    assert_eq!(session.request(GSS_REQUEST).await, b'N');
    session.startup(3 << 16 | 9, &[("_pq_.wish", "1")]).await;
    let negotiated = session.find(b'v').await;
    assert_eq!(negotiated, [&[0, 3, 0, 2, 0, 0, 0, 1], &b"_pq_.wish\0"[..]].concat());
    let backend_key = session.find(b'K').await;
    assert_eq!(backend_key.len(), 4 + 32, "a long secret");
    session.find(b'Z').await;
    session.send(b'Q', b"SELECT pg_sleep(60)\0").await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;

    // Cancel requests come encrypted too, and with a wrong secret they do nothing.
    for (secret, stops) in [([0; 32].as_slice(), false), (&backend_key[4..], true)] {
        let mut plain = raw(&server).await;
        assert_eq!(plain.request(SSL_REQUEST).await, b'S');
        let mut canceller = Raw { stream: encrypted(plain.stream, &certificates).await };
        canceller.packet(&[&CANCEL_REQUEST.to_be_bytes(), &backend_key[..4], secret].concat()).await;
        assert_eq!(canceller.stream.read_u8().await.ok(), None, "closed without an answer");
        let waited = tokio::time::timeout(std::time::Duration::from_millis(500), session.find(b'E')).await;
        assert_eq!(waited.is_ok(), stops);
        if let Ok(error) = waited {
            assert!(String::from_utf8_lossy(&error).contains("57014"), "{error:?}");
        }
    }
    session.find(b'Z').await;

    // An old client has a short secret; bytes before the handshake are an attack.
    let mut old = raw(&server).await;
    old.startup(3 << 16, &[]).await;
    assert_eq!(old.find(b'K').await.len(), 8);
    let mut eager = raw(&server).await;
    let body = [&SSL_REQUEST.to_be_bytes()[..], &8_u32.to_be_bytes(), &SSL_REQUEST.to_be_bytes()].concat();
    eager.stream.write_all(&[&8_u32.to_be_bytes()[..], &body].concat()).await.expect("sent");
    let error = eager.find(b'E').await;
    assert!(String::from_utf8_lossy(&error).contains("received unencrypted data after SSL request"));
}

async fn encrypted(
    stream: TcpStream,
    certificates: &Certificates,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let path = certificates.path("ca.crt");
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(path).expect("read")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

#[tokio::test]
async fn without_a_certificate_the_answer_is_no() {
    let server = TestServer::start();
    let mut session = raw(&server).await;
    assert_eq!(session.request(SSL_REQUEST).await, b'N');
    assert_eq!(session.request(GSS_REQUEST).await, b'N');
    session.startup(3 << 16, &[]).await;
    session.find(b'Z').await;
    let error =
        psql(&server, "user=quiver dbname=quiver sslmode=require", "", "SELECT 1").expect_err("no TLS");
    assert!(error.contains("server does not support SSL"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_in_their_order() {
    let dir = tempfile::tempdir().expect("temp dir");
    let config = dir.path().join("quiver.toml");
    std::fs::write(
        &config,
        r#"hba-rules = [
            "host all quiver 127.0.0.1/32 trust",
            "host all locked all reject",
            "host sameuser all all trust",
            "host all +staff all scram-sha-256",
        ]"#,
    )
    .expect("written");
    let server = TestServer::start_on(dir.path(), &[("--config", config.to_str().expect("UTF-8"))]);
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE ROLE locked LOGIN; CREATE ROLE staff; CREATE ROLE idle ROLE locked;
             CREATE USER boss PASSWORD 'boss' IN ROLE staff; CREATE USER late PASSWORD 'late' VALID UNTIL '2001-01-01' IN ROLE staff;
             CREATE USER few PASSWORD 'few' CONNECTION LIMIT 0 IN ROLE staff",
        )
        .await
        .expect("made");
    for database in ["locked", "boss", "ghost", "idle"] {
        client.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("made");
    }
    client
        .batch_execute(
            "ALTER ROLE boss SET work_mem = '9MB'; ALTER ROLE boss IN DATABASE quiver SET work_mem = '7MB'",
        )
        .await
        .expect("set");
    let connect = |user: &str, database: &str, password: &str, sql: &str| {
        psql(&server, &format!("user={user} dbname={database} sslmode=disable"), password, sql)
    };
    assert_eq!(connect("boss", "quiver", "boss", "SHOW work_mem").as_deref(), Ok("7MB"));
    assert_eq!(connect("boss", "postgres", "boss", "SHOW work_mem").as_deref(), Ok("9MB"));
    assert_eq!(connect("boss", "boss", "", "SELECT current_user").as_deref(), Ok("boss"));
    let refusals = [
        ("locked", "quiver", "", "pg_hba.conf rejects connection for host"),
        ("locked", "locked", "", "pg_hba.conf rejects connection for host"),
        ("boss", "quiver", "wrong", "password authentication failed for user \"boss\""),
        ("late", "quiver", "late", "password authentication failed for user \"late\""),
        ("few", "quiver", "few", "too many connections for role \"few\""),
        ("ghost", "ghost", "", "role \"ghost\" does not exist"),
        ("ghost", "quiver", "", "no pg_hba.conf entry for host"),
        ("idle", "idle", "", "role \"idle\" is not permitted to log in"),
    ];
    for (user, database, password, expected) in refusals {
        let error = connect(user, database, password, "SELECT 1").expect_err(expected);
        assert!(error.contains(expected), "{user} to {database}: {error}");
    }
    let listed = rows(
        &client,
        "SELECT line_number, type, database, user_name, auth_method FROM pg_hba_file_rules ORDER BY 1",
    )
    .await;
    assert_eq!(listed.len(), 4);
    assert_eq!(
        listed[3].iter().map(|it| it.clone().unwrap_or_default()).collect::<Vec<_>>(),
        ["4", "host", "{all}", "{+staff}", "scram-sha-256"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_apart_and_stay_while_somebody_is_in() {
    let dir = tempfile::tempdir().expect("temp dir");
    let server = TestServer::start_on(dir.path(), &[]);
    let client = server.connect().await;
    client.batch_execute("CREATE DATABASE shop").await.expect("made");
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .expect("made");
    let connect = async |database: &str| {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(server.address().port()).user("quiver").dbname(database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    };
    let shop = connect("shop").await.expect("connected");
    assert!(shop.batch_execute("SELECT * FROM t").await.is_err(), "another database's table");
    shop.batch_execute("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i")
        .await
        .expect("made");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "1");
    assert_eq!(value(&shop, "SELECT current_database() || count(*) FROM t").await, "shop100");
    let error = client.batch_execute("DROP DATABASE shop").await.expect_err("in use");
    let error = error.as_db_error().expect("an answer");
    assert_eq!(
        (error.code().code(), error.detail()),
        ("55006", Some("There is 1 other session using the database."))
    );
    let error = client.batch_execute("ALTER DATABASE shop RENAME TO store").await.expect_err("in use");
    assert_eq!(error.code().map(|code| code.code()), Some("55006"));
    client.batch_execute("DROP DATABASE shop WITH (FORCE)").await.expect("dropped");
    assert!(shop.batch_execute("SELECT 1").await.is_err(), "its session was ended");
    assert!(connect("shop").await.is_err());
    client.batch_execute("CREATE DATABASE shop; ").await.expect("made again");
    let shop = connect("shop").await.expect("connected");
    assert!(shop.batch_execute("SELECT * FROM t").await.is_err(), "nothing is left of the first one");
    drop(shop);
    let server = server.crash_and_restart(&[]);
    let client = try_connect(server.address()).await.expect("connected");
    assert_eq!(value(&client, "SELECT count(*) FROM pg_database WHERE datname = 'shop'").await, "1");
}
