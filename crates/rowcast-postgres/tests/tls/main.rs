//! The six encryption modes against real servers with real certificates, and what each failure
//! says. The mode that was negotiated is asserted, never assumed.

#![allow(clippy::print_stdout, reason = "it says how many cases ran")]
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod certificates;
mod world;

use std::path::Path;
use std::time::Duration;

use rcgen::KeyPair;
use rowcast_core::Code;
use rowcast_postgres::connect::{ConnectConfig, Connector, RootCert, SslMode, Transport, Verified};
use rowcast_testkit::postgres::{Cluster, Options};

use world::{config, connect, encrypted_for_the_server, leaf, server, world};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Plain,
    Tls(Verified),
    Refused(&'static str),
}

use Expect::{Plain, Refused, Tls};

#[tokio::test]
async fn the_six_modes_mean_what_libpq_means() {
    let world = world();
    let (root, stranger) = (world.root(), world.stranger());
    let no = Tls(Verified::No);
    let (chain, full) = (Tls(Verified::Chain), Tls(Verified::Full));
    let (no_tls, not_known, expired) = (
        Refused("does not offer TLS"),
        Refused("is not in"),
        Refused("expired at 2021-01-01T00:00:00Z"),
    );
    let name = Refused("is for elsewhere.example, not for \"localhost\"");
    // In the order of SslMode::ALL: disable, allow, prefer, require, verify-ca, verify-full.
    let matrix: [(&str, &Cluster, Option<&Path>, [Expect; 6]); 6] = [
        (
            "server without TLS",
            world.plain,
            Some(&root),
            [Plain, Plain, Plain, no_tls, no_tls, no_tls],
        ),
        (
            "no root certificate",
            &world.right,
            None,
            [
                Plain,
                Plain,
                no,
                no,
                Refused("needs a root certificate"),
                not_known,
            ],
        ),
        (
            "root certificate, wrong host",
            &world.wrong,
            Some(&root),
            [Plain, Plain, no, chain, chain, name],
        ),
        (
            "root certificate, right host",
            &world.right,
            Some(&root),
            [Plain, Plain, no, chain, chain, full],
        ),
        (
            "expired",
            &world.expired,
            Some(&root),
            [Plain, Plain, no, expired, expired, expired],
        ),
        (
            "unknown authority",
            &world.right,
            Some(&stranger),
            [Plain, Plain, no, not_known, not_known, not_known],
        ),
    ];
    let mut cases = 0;
    for (case, cluster, root, expected) in matrix {
        for (mode, expected) in SslMode::ALL.into_iter().zip(expected) {
            let result = connect(cluster, mode, root).await;
            let seen = match &result {
                Ok(connection) => {
                    let encrypted = encrypted_for_the_server(connection).await;
                    assert_eq!(encrypted, connection.tls.encrypted(), "{case}, {mode}");
                    assert_eq!(connection.tls.mode, mode);
                    if encrypted {
                        assert_eq!(connection.tls.version, Some("TLS 1.3"));
                        assert!(connection.tls.subject.as_deref().unwrap().contains("CN="));
                        Tls(connection.tls.verified)
                    } else {
                        assert_eq!(connection.tls.transport, Transport::Plain);
                        Plain
                    }
                }
                Err(reason) => {
                    assert_eq!(reason.code, Code::TlsFailed, "{case}, {mode}: {reason:?}");
                    assert!(reason.hint.is_some(), "{case}, {mode}");
                    match expected {
                        Refused(says) if reason.to_string().contains(says) => expected,
                        _ => panic!("{case}, {mode}: {reason:?}"),
                    }
                }
            };
            assert_eq!(seen, expected, "{case}, {mode}");
            cases += 1;
        }
    }
    println!("the matrix of modes: {cases} cases ran");
    assert_eq!(cases, 36);
}

/// A pool once lost the mode of a URL, stayed at "prefer" and went on in clear.
#[tokio::test]
async fn the_mode_of_a_url_is_never_lost() {
    let world = world();
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let url = format!(
            "postgres://postgres@localhost:{}/postgres?sslmode={mode}&sslrootcert={}",
            world.plain.port,
            world.root().display()
        );
        let connector = Connector::new(ConnectConfig::from_url(&url).unwrap());
        for connector in [connector.clone(), connector] {
            let reason = connector.connect().await.unwrap_err();
            assert!(
                reason.to_string().contains("does not offer TLS"),
                "{reason}"
            );
        }
    }
    // Nor is it weakened by not being there.
    let url = format!(
        "postgres://postgres@localhost:{}/postgres",
        world.plain.port
    );
    let connector = Connector::new(ConnectConfig::from_url(&url).unwrap());
    assert_eq!(connector.connect().await.unwrap_err().code, Code::TlsFailed);
}

/// A client once failed to verify a self-signed certificate under "prefer", which asks for no
/// verification, and went on in clear.
#[tokio::test]
async fn prefer_stays_encrypted_with_a_self_signed_server() {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf(&["localhost"], "self").self_signed(&key).unwrap();
    let cluster = server(&certificate.pem(), &key.serialize_pem(), &[]);
    let connection = connect(&cluster, SslMode::Prefer, None).await.unwrap();
    assert!(encrypted_for_the_server(&connection).await);
    assert_eq!(connection.tls.verified, Verified::No);
    assert!(
        connection
            .tls
            .summary()
            .contains("encrypted, not authenticated")
    );
}

#[tokio::test]
async fn a_query_is_cancelled_over_tls() {
    let world = world();
    let root = world.root();
    let connection = connect(&world.right, SslMode::VerifyFull, Some(&root))
        .await
        .unwrap();
    let result = connection
        .cancel_handle()
        .within(
            Some(Duration::from_millis(50)),
            "reading the model \"slow\"",
            async {
                connection
                    .client
                    .query_typed("SELECT pg_sleep(60)", &[])
                    .await
                    .map_err(|error| rowcast_postgres::connect::db_error(&error, "waiting"))
            },
        )
        .await;
    assert_eq!(result.unwrap_err().code, Code::Deadline);
    // The server has ended it, and the connection is usable.
    let row = connection
        .client
        .query_typed_one("SELECT 7", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
}

#[tokio::test]
async fn client_certificates_log_in_and_their_lack_is_named() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = world.authority.issue(&leaf(&["localhost"], "server"));
    let cluster = Cluster::start(&Options {
        conf: vec![
            "ssl = on".to_owned(),
            "ssl_cert_file = 'server.crt'".to_owned(),
            "ssl_key_file = 'server.key'".to_owned(),
            "ssl_ca_file = 'ca.crt'".to_owned(),
        ],
        hba: Some("local all all trust\nhostssl all all all cert\n".to_owned()),
        files: vec![
            ("server.crt".to_owned(), cert),
            ("server.key".to_owned(), key),
            ("ca.crt".to_owned(), world.authority.issuer.pem()),
        ],
    });
    let (cert, key) = world.authority.issue(&leaf(&[], "postgres"));
    let (cert_file, key_file) = (folder.path().join("c.crt"), folder.path().join("c.key"));
    std::fs::write(&cert_file, cert).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let mut config = config(&cluster, SslMode::VerifyFull, Some(&world.root()));
    let reason = Connector::new(config.clone()).connect().await.unwrap_err();
    assert!(
        reason.hint.as_deref().unwrap().contains("sslcert"),
        "{reason:?}"
    );
    config.sslcert = Some(cert_file);
    let reason = Connector::new(config.clone()).connect().await.unwrap_err();
    assert!(reason.message.contains("given together"));
    config.sslkey = Some(key_file);
    let connection = Connector::new(config.clone()).connect().await.unwrap();
    assert!(encrypted_for_the_server(&connection).await);
    config.sslkey = Some(folder.path().join("missing.key"));
    let reason = Connector::new(config).connect().await.unwrap_err();
    assert!(reason.message.contains("missing.key"), "{reason:?}");
}

#[tokio::test]
async fn the_system_trust_store_goes_with_verify_full_only() {
    let world = world();
    for mode in [SslMode::Require, SslMode::VerifyCa] {
        let mut config = config(&world.right, mode, None);
        config.sslrootcert = Some(RootCert::System);
        let reason = Connector::new(config).connect().await.unwrap_err();
        assert!(reason.hint.unwrap().contains("verify-full"));
    }
}

#[tokio::test]
async fn allow_and_prefer_follow_the_servers_rules() {
    let world = world();
    let (cert, key) = world.authority.issue(&leaf(&["localhost"], "server"));
    // Without TLS on offer the login's own failure is what is said.
    for mode in [SslMode::Allow, SslMode::Prefer] {
        let mut config = config(world.plain, mode, None);
        config.database = "nowhere".to_owned();
        let reason = Connector::new(config).connect().await.unwrap_err();
        assert_eq!(reason.code, Code::LoginFailed, "{mode}: {reason:?}");
    }
    for (rule, encrypted) in [("hostssl", true), ("hostnossl", false)] {
        let cluster = Cluster::start(&Options {
            conf: vec![
                "ssl = on".to_owned(),
                "ssl_cert_file = 'server.crt'".to_owned(),
                "ssl_key_file = 'server.key'".to_owned(),
            ],
            hba: Some(format!("local all all trust\n{rule} all all all trust\n")),
            files: vec![
                ("server.crt".to_owned(), cert.clone()),
                ("server.key".to_owned(), key.clone()),
            ],
        });
        for mode in [SslMode::Allow, SslMode::Prefer] {
            let connection = connect(&cluster, mode, None).await.unwrap();
            assert_eq!(
                encrypted_for_the_server(&connection).await,
                encrypted,
                "{rule}, {mode}"
            );
            assert_eq!(connection.tls.encrypted(), encrypted);
        }
        let refused = if encrypted {
            SslMode::Disable
        } else {
            SslMode::Require
        };
        let reason = connect(&cluster, refused, None).await.unwrap_err();
        assert_eq!(reason.code, Code::LoginFailed);
        assert!(reason.hint.unwrap().contains("pg_hba.conf"));
    }
}
