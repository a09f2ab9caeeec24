//! Certificates that are made in unusual ways, end soon or come with an old version of TLS: what is
//! accepted, and what the refusal says.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rowcast_core::{Check, CheckStatus, Code};
use rowcast_postgres::check::{CheckRequest, StatePlace, check};
use rowcast_postgres::connect::{Connector, SslMode, Verified};
use rowcast_testkit::postgres::Cluster;

use crate::world::{config, connect, encrypted_for_the_server, leaf, server, world};

fn openssl(folder: &Path, arguments: &[&str]) {
    let out = std::process::Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("run openssl; install it: apt-get install -y openssl");
    assert!(
        out.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// What the PostgreSQL manual tells people to make: a certificate marked as an authority, with
/// the host as its common name only.
#[tokio::test]
async fn a_certificate_of_plain_openssl_is_its_own_root() {
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        &[
            "req",
            "-new",
            "-x509",
            "-days",
            "365",
            "-nodes",
            "-out",
            "server.crt",
            "-keyout",
            "server.key",
            "-subj",
            "/CN=localhost",
        ],
    );
    let file = folder.path().join("server.crt");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let cluster = server(&read("server.crt"), &read("server.key"), &[]);
    let connection = connect(&cluster, SslMode::VerifyFull, Some(&file))
        .await
        .unwrap();
    assert_eq!(connection.tls.verified, Verified::Full);
    assert!(encrypted_for_the_server(&connection).await);
    // The name is still compared.
    let mut other = config(&cluster, SslMode::VerifyFull, Some(&file));
    other.host = "127.0.0.1".to_owned();
    let reason = Connector::new(other.clone()).connect().await.unwrap_err();
    assert!(
        reason
            .to_string()
            .contains("is for localhost, not for \"127.0.0.1\""),
        "{reason}"
    );
    other.sslmode = SslMode::VerifyCa;
    Connector::new(other).connect().await.unwrap();
    // Another self-signed certificate of the same name is not it.
    let stranger = tempfile::tempdir().unwrap();
    openssl(
        stranger.path(),
        &[
            "req",
            "-new",
            "-x509",
            "-nodes",
            "-out",
            "server.crt",
            "-keyout",
            "server.key",
            "-subj",
            "/CN=localhost",
        ],
    );
    let file = stranger.path().join("server.crt");
    let reason = connect(&cluster, SslMode::VerifyFull, Some(&file))
        .await
        .unwrap_err();
    assert!(
        reason.to_string().contains("self-signed and not in"),
        "{reason}"
    );
    assert!(reason.hint.unwrap().contains("sslrootcert"));
}

/// `openssl x509 -req` without extensions makes version 1 certificates.
#[tokio::test]
async fn a_version_1_certificate_signed_by_the_root_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| openssl(folder.path(), arguments);
    for (name, algorithm) in [("rsa", "rsa:2048"), ("ec", "ec")] {
        let curve: &[&str] = if name == "ec" {
            &["-pkeyopt", "ec_paramgen_curve:prime256v1"]
        } else {
            &[]
        };
        let mut root = vec![
            "req",
            "-new",
            "-x509",
            "-nodes",
            "-out",
            "root.crt",
            "-keyout",
            "root.key",
            "-subj",
            "/CN=Manual Root",
            "-newkey",
            algorithm,
        ];
        root.extend(curve);
        run(&root);
        let mut request = vec![
            "req",
            "-new",
            "-nodes",
            "-out",
            "server.csr",
            "-keyout",
            "server.key",
            "-subj",
            "/CN=localhost",
            "-newkey",
            algorithm,
        ];
        request.extend(curve);
        run(&request);
        run(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-days",
            "365",
            "-CA",
            "root.crt",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-out",
            "server.crt",
        ]);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let root = folder.path().join("root.crt");
        for protocol in ["TLSv1.2", "TLSv1.3"] {
            let limit = format!("ssl_max_protocol_version = '{protocol}'");
            let cluster = server(&read("server.crt"), &read("server.key"), &[&limit]);
            let connection = connect(&cluster, SslMode::VerifyFull, Some(&root))
                .await
                .unwrap();
            assert_eq!(connection.tls.verified, Verified::Full);
            let version = connection.tls.version.unwrap();
            assert_eq!(version.replace(' ', "v"), protocol);
            connect(&cluster, SslMode::Require, None).await.unwrap();
            let stranger = world().stranger();
            let reason = connect(&cluster, SslMode::VerifyCa, Some(&stranger))
                .await
                .unwrap_err();
            assert!(reason.to_string().contains("version 1"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of() {
    let world = world();
    let root = world.root();
    let mut connection = connect(&world.right, SslMode::VerifyFull, Some(&root))
        .await
        .unwrap();
    assert_eq!(connection.tls.expires_soon(), None);
    let ends = connection.tls.expires_at_s.unwrap();
    connection.tls.at_s = ends - 13 * 24 * 3600;
    assert!(connection.tls.expires_soon().is_some());
}

/// The `connect` check of a source over TLS.
async fn connect_check(cluster: &Cluster, mode: SslMode, root: Option<&Path>) -> Check {
    let request = CheckRequest {
        connector: Connector::new(config(cluster, mode, root)),
        models: Vec::new(),
        state: StatePlace::Here {
            schema: "_rowcast".to_owned(),
        },
    };
    let checks = check(&request).await;
    checks.into_iter().find(|c| c.name == "connect").unwrap()
}

#[tokio::test]
async fn the_check_of_a_source_warns_of_a_certificate_that_ends_within_14_days() {
    let world = world();
    let root = world.root();
    #[expect(
        clippy::disallowed_methods,
        reason = "the certificate must end some days from now"
    )]
    let now = SystemTime::now();
    let days = |days: u64| now + Duration::from_secs(days * 24 * 3600);
    for (left, status) in [(13, CheckStatus::Warned), (15, CheckStatus::Passed)] {
        let mut params = leaf(&["localhost"], "ending");
        params.not_after = days(left).into();
        let (cert, key) = world.authority.issue(&params);
        let cluster = server(&cert, &key, &[]);
        let check = connect_check(&cluster, SslMode::VerifyFull, Some(&root)).await;
        assert_eq!(check.status, status, "{left} days: {check:?}");
        if status == CheckStatus::Warned {
            let reason = check.reason.unwrap();
            assert_eq!(reason.code, Code::TlsFailed);
            assert!(reason.message.contains("certificate ends at"), "{reason}");
            assert!(reason.hint.unwrap().contains("renew"));
        }
    }
    // Also where nobody verifies it: clients that do are about to fail.
    let mut params = leaf(&["localhost"], "ending");
    params.not_after = days(13).into();
    let (cert, key) = world.authority.issue(&params);
    let cluster = server(&cert, &key, &[]);
    let check = connect_check(&cluster, SslMode::Require, None).await;
    assert_eq!(check.status, CheckStatus::Warned, "{check:?}");
}

/// The ciphers are lowered to a level at which OpenSSL speaks TLS 1.1 at all, and it does: the
/// refusal is ours.
#[tokio::test]
async fn a_server_that_speaks_tls_1_1_at_most_is_refused_in_every_mode_that_needs_tls() {
    let world = world();
    let root = world.root();
    let (cert, key) = world.authority.issue(&leaf(&["localhost"], "old"));
    let old = server(
        &cert,
        &key,
        &[
            "ssl_min_protocol_version = 'TLSv1'",
            "ssl_max_protocol_version = 'TLSv1.1'",
            "ssl_ciphers = 'ALL:@SECLEVEL=0'",
        ],
    );
    let spoken = std::process::Command::new("openssl")
        .args(["s_client", "-starttls", "postgres", "-tls1_1"])
        .args(["-cipher", "ALL:@SECLEVEL=0", "-connect"])
        .arg(format!("127.0.0.1:{}", old.port))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("run openssl; install it: apt-get install -y openssl");
    let spoken = String::from_utf8_lossy(&spoken.stdout).into_owned();
    assert!(spoken.contains("Protocol  : TLSv1.1"), "{spoken}");
    assert!(spoken.contains("BEGIN CERTIFICATE"), "{spoken}");
    for (mode, root) in [
        (SslMode::Require, None),
        (SslMode::VerifyCa, Some(root.as_path())),
        (SslMode::VerifyFull, Some(root.as_path())),
    ] {
        let reason = connect(&old, mode, root).await.unwrap_err();
        assert_eq!(reason.code, Code::TlsFailed, "{mode}: {reason:?}");
        assert!(
            reason.to_string().contains("TLS handshake failed"),
            "{mode}: {reason}"
        );
        let hint = reason.hint.unwrap();
        assert!(hint.contains("TLS 1.2 or newer"), "{mode}: {hint}");
    }
}
