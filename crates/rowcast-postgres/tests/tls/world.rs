//! The authorities, certificates and servers that the tests of TLS connect to, made once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rowcast_core::Reason;
use rowcast_postgres::connect::{ConnectConfig, Connection, Connector, RootCert, SslMode};
use rowcast_testkit::postgres::{Cluster, Options};

pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Certificate and key, PEM.
    pub(crate) fn issue(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

pub(crate) fn leaf(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

pub(crate) fn server(certificate: &str, key: &str, more: &[&str]) -> Cluster {
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
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) plain: &'static Cluster,
    /// Certificate for localhost.
    pub(crate) right: Cluster,
    /// Certificate for elsewhere.example.
    pub(crate) wrong: Cluster,
    pub(crate) expired: Cluster,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root.crt")
    }

    pub(crate) fn stranger(&self) -> PathBuf {
        self.folder.path().join("stranger.crt")
    }
}

pub(crate) fn world() -> &'static World {
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

pub(crate) fn config(cluster: &Cluster, mode: SslMode, root: Option<&Path>) -> ConnectConfig {
    let url = format!(
        "postgresql://postgres@localhost:{}/postgres?sslmode={mode}",
        cluster.port
    );
    let mut config = ConnectConfig::from_url(&url).unwrap();
    config.sslrootcert = root.map(|path| RootCert::File(path.to_path_buf()));
    config
}

pub(crate) async fn connect(
    cluster: &Cluster,
    mode: SslMode,
    root: Option<&Path>,
) -> Result<Connection, Reason> {
    Connector::new(config(cluster, mode, root)).connect().await
}

/// What the server itself says about the connection's encryption.
pub(crate) async fn encrypted_for_the_server(connection: &Connection) -> bool {
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
