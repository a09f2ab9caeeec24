//! The six encryption modes against real servers with real certificates, and what each failure
//! says. The mode that was negotiated is asserted, never assumed.

#![allow(clippy::print_stdout, reason = "it says how many cases ran")]
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rowcast_core::{Check, CheckStatus, Code, Reason};
use rowcast_postgres::check::{CheckRequest, StatePlace, check};
use rowcast_postgres::connect::{
    ConnectConfig, Connection, Connector, RootCert, SslMode, Transport, Verified,
};
use rowcast_testkit::postgres::{Cluster, Options};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Certificate and key, PEM.
    fn issue(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn leaf(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn server(certificate: &str, key: &str, more: &[&str]) -> Cluster {
    let mut conf = vec![
        "ssl = on".to_owned(),
        "ssl_cert_file = 'server.crt'".to_owned(),
        "ssl_key_file = 'server.key'".to_owned(),
    ];
    conf.extend(more.iter().map(|&line| line.to_owned()));
    Cluster::start(&Options {
        conf,
        files: vec![
            ("server.crt".to_owned(), certificate.to_owned()),
            ("server.key".to_owned(), key.to_owned()),
        ],
        ..Options::default()
    })
}

/// Servers and root files of the matrix, made once.
struct World {
    authority: Authority,
    plain: &'static Cluster,
    /// Certificate for localhost.
    right: Cluster,
    /// Certificate for elsewhere.example.
    wrong: Cluster,
    expired: Cluster,
    folder: tempfile::TempDir,
}

impl World {
    fn root(&self) -> PathBuf {
        self.folder.path().join("root.crt")
    }

    fn stranger(&self) -> PathBuf {
        self.folder.path().join("stranger.crt")
    }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let authority = Authority::new("Test Root");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.crt"), authority.issuer.pem()).unwrap();
        let stranger = Authority::new("Stranger Root");
        std::fs::write(folder.path().join("stranger.crt"), stranger.issuer.pem()).unwrap();
        let (cert, key) = authority.issue(&leaf(&["localhost"], "right"));
        let right = server(&cert, &key, &[]);
        let (cert, key) = authority.issue(&leaf(&["elsewhere.example"], "wrong"));
        let wrong = server(&cert, &key, &[]);
        let mut params = leaf(&["localhost"], "expired");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let (cert, key) = authority.issue(&params);
        let expired = server(&cert, &key, &[]);
        World {
            authority,
            plain: Cluster::shared(),
            right,
            wrong,
            expired,
            folder,
        }
    })
}

fn config(cluster: &Cluster, mode: SslMode, root: Option<&Path>) -> ConnectConfig {
    let url = format!(
        "postgresql://postgres@localhost:{}/postgres?sslmode={mode}",
        cluster.port
    );
    let mut config = ConnectConfig::from_url(&url).unwrap();
    config.sslrootcert = root.map(|path| RootCert::File(path.to_path_buf()));
    config
}

async fn connect(
    cluster: &Cluster,
    mode: SslMode,
    root: Option<&Path>,
) -> Result<Connection, Reason> {
    Connector::new(config(cluster, mode, root)).connect().await
}

/// What the server itself says about the connection's encryption.
async fn encrypted_for_the_server(connection: &Connection) -> bool {
    connection
        .client
        .query_typed_one(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap()
        .get(0)
}

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
