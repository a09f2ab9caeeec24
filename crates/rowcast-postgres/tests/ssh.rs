//! The SSH tunnel against a real sshd: what works, what is refused, and what it says then.

use std::sync::OnceLock;

use rowcast_core::{Code, Reason, Secret};
use rowcast_postgres::connect::{
    ConnectConfig, Connection, Connector, Password, RootCert, SshConfig, SslMode, Transport,
    Verified, db_error, is_connection_lost,
};
use rowcast_testkit::postgres::{Cluster, Options};
use rowcast_testkit::sshd::{KeyPair, Sshd, key_pair};

struct World {
    server: Sshd,
    host: [KeyPair; 3],
    user: KeyPair,
    rsa: KeyPair,
    ecdsa: KeyPair,
    locked: KeyPair,
}

const PASSPHRASE: &str = "open sesame";

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let host = ["ed25519", "ecdsa", "rsa"].map(|kind| key_pair(kind, ""));
        let user = key_pair("ed25519", "");
        let rsa = key_pair("rsa", "");
        let ecdsa = key_pair("ecdsa", "");
        let locked = key_pair("ed25519", PASSPHRASE);
        let keys: Vec<&KeyPair> = host.iter().collect();
        let server = Sshd::start(&[&user, &rsa, &ecdsa, &locked], &keys, &[]);
        World {
            server,
            host,
            user,
            rsa,
            ecdsa,
            locked,
        }
    })
}

fn secret(text: &str) -> Password {
    Password::Secret(Secret::new(text.to_owned()))
}

fn ssh(server: &Sshd, key: &KeyPair, host_key: &str) -> SshConfig {
    SshConfig {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        user: server.user.clone(),
        key: secret(&key.private),
        passphrase: None,
        host_key: Some(host_key.to_owned()),
    }
}

fn config(ssh: SshConfig) -> ConnectConfig {
    let mut config = ConnectConfig::new("localhost", "postgres", "postgres");
    config.port = Cluster::shared().port;
    config.sslmode = SslMode::Disable;
    config.ssh = Some(ssh);
    config
}

async fn connect(ssh: SshConfig) -> Result<Connection, Reason> {
    Connector::new(config(ssh)).connect().await
}

async fn refused(ssh: SshConfig) -> Reason {
    let reason = connect(ssh).await.expect_err("no connection");
    let text = format!("{reason:?}").replace("-----BEGIN OPENSSH PRIVATE KEY-----", "");
    for secret in ["PRIVATE KEY", PASSPHRASE] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(reason.hint.is_some(), "{text}");
    reason
}

#[tokio::test]
async fn a_database_is_reached_through_a_pinned_server() {
    let world = world();
    let ssh = ssh(&world.server, &world.user, &world.host[0].public);
    let connection = connect(ssh.clone()).await.unwrap();
    assert_eq!(connection.server.user, "postgres");
    assert_eq!(connection.tls.transport, Transport::Plain);
    let place = connection.config().place();
    assert!(
        place.ends_with(&format!("through SSH host 127.0.0.1:{}", ssh.port)),
        "{place}"
    );
    // More than the windows of the channel hold, in both directions.
    let long = "x".repeat(8 << 20);
    let row = connection
        .client
        .query_one("SELECT $1::text || 'y'", &[&long])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0).len(), long.len() + 1);

    // A unix socket of the SSH host.
    let mut socket = config(ssh);
    socket.host = Cluster::shared().socket.display().to_string();
    let connection = Connector::new(socket).connect().await.unwrap();
    assert!(connection.cancel_handle().cancel().await.is_ok());
}

#[tokio::test]
async fn every_host_key_and_every_fingerprint_of_it_can_be_pinned() {
    let world = world();
    for host in &world.host {
        for pin in [&host.public, &host.fingerprint] {
            let result = connect(ssh(&world.server, &world.user, pin)).await;
            assert!(result.is_ok(), "{pin}: {result:?}");
        }
    }
}

#[tokio::test]
async fn keys_of_every_kind_log_in_and_one_with_its_passphrase() {
    let world = world();
    let pin = &world.host[0].fingerprint;
    for key in [&world.rsa, &world.ecdsa] {
        let result = connect(ssh(&world.server, key, pin)).await;
        assert!(result.is_ok(), "{}: {result:?}", key.public);
    }
    let mut locked = ssh(&world.server, &world.locked, pin);
    let reason = refused(locked.clone()).await;
    assert_eq!(reason.code, Code::SshAuth);
    assert!(
        reason
            .detail
            .unwrap()
            .contains("no passphrase is configured")
    );
    locked.passphrase = Some(secret("wrong"));
    let reason = refused(locked.clone()).await;
    assert_eq!(reason.code, Code::SshAuth);
    assert!(reason.detail.unwrap().contains("could not be decrypted"));
    locked.passphrase = Some(secret(PASSPHRASE));
    connect(locked).await.unwrap();

    // A key's file is read at each connection.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no key yet").unwrap();
    let mut from_file = ssh(&world.server, &world.user, pin);
    from_file.key = Password::File(file.path().to_owned());
    let connector = Connector::new(config(from_file));
    let reason = connector.connect().await.unwrap_err();
    assert!(reason.hint.unwrap().contains("${file:"));
    std::fs::write(file.path(), &world.user.private).unwrap();
    connector.connect().await.unwrap();
}

#[tokio::test]
async fn a_host_key_that_is_not_pinned_is_never_trusted() {
    let world = world();
    let stranger = key_pair("ed25519", "");
    let ed25519 = &world.host[0].fingerprint;
    let mut unpinned = ssh(&world.server, &world.user, "");
    unpinned.host_key = None;
    let reason = refused(unpinned).await;
    assert_eq!(reason.code, Code::SshHostKey);
    assert!(reason.detail.unwrap().contains(ed25519));
    assert!(
        reason
            .hint
            .unwrap()
            .contains(&format!("host_key: \"{ed25519}\""))
    );

    for pin in [&stranger.public, &stranger.fingerprint] {
        let reason = refused(ssh(&world.server, &world.user, pin)).await;
        assert_eq!(reason.code, Code::SshHostKey, "{reason:?}");
        let detail = reason.detail.unwrap();
        assert!(
            detail.contains(&stranger.fingerprint) && detail.contains(ed25519),
            "{detail}"
        );
    }
    // The user's key was never shown to a server that is not known.
    assert!(!world.server.log().contains(&stranger.fingerprint));

    let reason = refused(ssh(&world.server, &world.user, "sesame")).await;
    assert_eq!(reason.code, Code::WrongType);
}

#[tokio::test]
async fn a_key_that_is_not_authorized_says_what_to_add() {
    let world = world();
    let stranger = key_pair("ed25519", "");
    let reason = refused(ssh(&world.server, &stranger, &world.host[0].public)).await;
    assert_eq!(reason.code, Code::SshAuth);
    assert!(reason.detail.unwrap().contains(&stranger.fingerprint));
    let data = stranger.public.split(' ').nth(1).unwrap();
    assert!(reason.hint.unwrap().contains(data));
}

#[tokio::test]
async fn unreachable_servers_and_databases_are_told_apart() {
    let world = world();
    let free = rowcast_testkit::postgres::free_port();
    let mut away = ssh(&world.server, &world.user, &world.host[0].public);
    away.port = free;
    let reason = refused(away.clone()).await;
    assert_eq!(reason.code, Code::SshUnreachable);
    assert!(reason.detail.unwrap().contains("refused the connection"));

    away.host = "no-such-host.invalid".to_owned();
    assert_eq!(refused(away.clone()).await.code, Code::SshUnreachable);

    // A PostgreSQL server is no SSH server.
    away.host = "127.0.0.1".to_owned();
    away.port = Cluster::shared().port;
    let mut quick = config(away);
    quick.connect_timeout = std::time::Duration::from_secs(2);
    let reason = Connector::new(quick).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::SshUnreachable, "{reason:?}");

    let mut database = config(ssh(&world.server, &world.user, &world.host[0].public));
    database.port = free;
    let reason = Connector::new(database).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::ConnectFailed);
    assert!(
        reason
            .detail
            .unwrap()
            .contains("the SSH server could not connect")
    );
    assert!(reason.message.contains("through SSH host"));
}

#[tokio::test]
async fn a_server_that_forwards_nothing_says_what_to_allow() {
    let world = world();
    let host = &world.host[0];
    let closed = Sshd::start(&[&world.user], &[host], &["AllowTcpForwarding no"]);
    let reason = refused(ssh(&closed, &world.user, &host.public)).await;
    assert_eq!(reason.code, Code::SshForwarding);
    assert!(reason.hint.unwrap().contains("AllowTcpForwarding"));
}

#[tokio::test]
async fn a_query_is_cancelled_through_the_tunnel() {
    let world = world();
    let connection = connect(ssh(&world.server, &world.user, &world.host[0].public))
        .await
        .unwrap();
    let cancel = connection.cancel_handle();
    let client = &connection.client;
    let error = {
        let sleeping = client.query_typed("SELECT pg_sleep(60)", &[]);
        tokio::pin!(sleeping);
        // A cancel that comes too early has no effect: it is sent until it has.
        loop {
            tokio::select! {
                result = &mut sleeping => break result.unwrap_err(),
                sent = cancel.cancel() => sent.unwrap(),
            }
        }
    };
    assert_eq!(db_error(&error, "sleeping").code, Code::Deadline);
}

#[tokio::test]
async fn a_cut_tunnel_is_a_lost_connection_and_the_next_one_stands() {
    let host = key_pair("ed25519", "");
    let user = key_pair("ed25519", "");
    let server = Sshd::start(&[&user], &[&host], &[]);
    let connector = Connector::new(config(ssh(&server, &user, &host.public)));
    let connection = connector.connect().await.unwrap();
    let query = connection.client.query_typed("SELECT pg_sleep(60)", &[]);
    let (result, ()) = tokio::join!(query, async { server.cut_connections() });
    let error = result.unwrap_err();
    assert!(is_connection_lost(&error), "{error:?}");
    connector.connect().await.unwrap();
}

#[tokio::test]
async fn tls_inside_the_tunnel_is_checked_against_the_databases_name() {
    let world = world();
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = issued.cert.pem();
    let cluster = Cluster::start(&Options {
        conf: vec!["ssl = on".to_owned()],
        files: vec![
            ("server.crt".to_owned(), pem.clone()),
            ("server.key".to_owned(), issued.signing_key.serialize_pem()),
        ],
        ..Options::default()
    });
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), pem).unwrap();
    let mut config = config(ssh(&world.server, &world.user, &world.host[0].public));
    config.port = cluster.port;
    config.sslmode = SslMode::VerifyFull;
    config.sslrootcert = Some(RootCert::File(root.path().to_owned()));
    let connection = Connector::new(config.clone()).connect().await.unwrap();
    assert_eq!(connection.tls.verified, Verified::Full);
    assert!(connection.cancel_handle().cancel().await.is_ok());

    config.host = "127.0.0.1".to_owned();
    let reason = Connector::new(config).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::TlsFailed, "{reason:?}");
}
