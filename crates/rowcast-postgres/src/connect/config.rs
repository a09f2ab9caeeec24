//! Where a server is and how to reach it: what `sources/*.yml` or a URL says, nothing resolved.
//!
//! Must never show a password: it is a `Secret`, and no error of this module prints the URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rowcast_core::Secret;

/// How long connecting may take, login included, unless configured.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// libpq's six modes, with libpq's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only when the server refuses the plain connection.
    Allow,
    /// Encrypted when the server offers it; nothing is verified.
    Prefer,
    /// Encrypted or nothing; the certificate is checked only when `sslrootcert` names a file.
    Require,
    /// The certificate must come from an authority in `sslrootcert`; its name is not compared.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must name the host.
    VerifyFull,
}

impl SslMode {
    /// All modes, from the weakest to the strongest.
    pub const ALL: [Self; 6] = [
        Self::Disable,
        Self::Allow,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// The mode as libpq and our files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not one of the six modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSslMode;

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or(UnknownSslMode)
    }
}

/// Which authorities may have issued the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// A PEM file. A self-signed server certificate in it is accepted as its own root.
    File(PathBuf),
    /// The machine's own trust store. Only with `verify-full`, as in libpq: anyone can get a
    /// certificate from a public authority, so the name is what protects.
    System,
}

impl RootCert {
    /// `system`, or a path.
    pub fn parse(text: &str) -> Self {
        if text == "system" {
            Self::System
        } else {
            Self::File(PathBuf::from(text))
        }
    }
}

/// Whether the login must be bound to the TLS channel (SCRAM only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    Disable,
    #[default]
    Prefer,
    Require,
}

/// Where the password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    Secret(Secret<String>),
    /// A file, read at each connection, so that a rotated password is taken up; its content without
    /// the trailing line break is the password.
    File(PathBuf),
    /// A program and its arguments, run at each connection; its standard output, without the
    /// trailing line break, is the password. No shell is involved.
    Command(Vec<String>),
}

/// A server that forwards connections to the database, as `ssh -L` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshConfig {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub user: String,
    /// The private key's text, in OpenSSH's own or a PEM form; read at each connection.
    pub key: Password,
    /// What the key is encrypted with.
    pub passphrase: Option<Password>,
    /// The one host key to accept: `ssh-ed25519 AAAA…`, or `SHA256:…` of it. Without it nothing is
    /// accepted, and the error says what was offered.
    pub host_key: Option<String>,
}

impl SshConfig {
    /// Which server, for messages: `bastion:22`.
    pub fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// How to reach one database as one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectConfig {
    /// A name, an address, or the directory of a unix socket.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Password>,
    /// Ignored on unix sockets, which never use TLS.
    pub sslmode: SslMode,
    pub sslrootcert: Option<RootCert>,
    /// The client's certificate chain, PEM.
    pub sslcert: Option<PathBuf>,
    /// The client's key, PEM, not encrypted.
    pub sslkey: Option<PathBuf>,
    pub channel_binding: ChannelBinding,
    /// Pinned in each transaction; empty keeps the role's own.
    pub search_path: Vec<String>,
    /// The longest a statement may run; enforced by the server and from here.
    pub statement_timeout: Option<Duration>,
    /// For the whole of connecting: name lookup, TCP, TLS, login.
    pub connect_timeout: Duration,
    pub application_name: String,
    /// Startup options (`options=` of a URL). Transaction-mode poolers refuse most of them.
    pub options: Option<String>,
    /// Reaches `host` from there instead of from here, and looks its name up there.
    pub ssh: Option<SshConfig>,
}

impl ConnectConfig {
    /// A configuration with the product's defaults: port 5432, `verify-full`, no password.
    pub fn new(
        host: impl Into<String>,
        database: impl Into<String>,
        user: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            port: 5432,
            database: database.into(),
            user: user.into(),
            password: None,
            sslmode: SslMode::VerifyFull,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            channel_binding: ChannelBinding::Prefer,
            search_path: Vec::new(),
            statement_timeout: None,
            connect_timeout: CONNECT_TIMEOUT,
            application_name: "rowcast".to_owned(),
            options: None,
            ssh: None,
        }
    }

    /// Whether the host is the directory of a unix socket.
    pub fn is_unix_socket(&self) -> bool {
        self.host.starts_with('/') || self.host.starts_with('@')
    }

    /// Which database on which server, for messages: `"shop" at db.internal:5432`.
    pub fn place(&self) -> String {
        match &self.ssh {
            Some(ssh) => format!("{} through SSH host {}", self.server(), ssh.place()),
            None => self.server(),
        }
    }

    fn server(&self) -> String {
        if self.is_unix_socket() {
            format!(
                "\"{}\" at {}/.s.PGSQL.{}",
                self.database, self.host, self.port
            )
        } else if self.host.contains(':') {
            format!("\"{}\" at [{}]:{}", self.database, self.host, self.port)
        } else {
            format!("\"{}\" at {}:{}", self.database, self.host, self.port)
        }
    }
}
