//! From `host`, `port` and `tls` to an open stream: the one way out of this crate's brokers.
//!
//! Every address that is connected to was permitted by the address policy; a name that changes its
//! mind between a look-up and a connection gains nothing, because what was looked up is what is
//! connected to. Nothing here retries.

mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rowcast_core::address::AddressPolicy;
use rowcast_core::connector::Problems;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Code, DestinationConfig, Fault, Name, Reason, Secret, SettingValue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a connection: a host that answers at all answers within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a connection, alike for every kind: `host`, `port`, `tls`, `tls_ca`, `user`,
/// `password`.
pub(crate) fn settings(port: &'static str, user: &'static str) -> Vec<Setting> {
    let mut settings = vec![
        Setting::required("host", SettingKind::Text, "Server name or address.")
            .example("broker.internal"),
        Setting::optional("port", SettingKind::Integer, "Port.").default(port),
    ];
    settings.extend(access(user));
    settings
}

/// How a server is approached, wherever it is: `tls`, `tls_ca`, `user`, `password`.
pub(crate) fn access(user: &'static str) -> Vec<Setting> {
    vec![
        Setting::optional(
            "tls",
            SettingKind::Boolean,
            "Whether the connection is encrypted and the server's certificate checked.",
        )
        .default("true"),
        Setting::optional(
            "tls_ca",
            SettingKind::Text,
            "File of the authorities to trust, in PEM form, relative to the project's folder. Without it this machine's trust store decides.",
        ),
        Setting::optional("user", SettingKind::Text, user),
        Setting::optional("password", SettingKind::Secret, "Its password.")
            .example("${env:BROKER_PASSWORD}"),
    ]
}

/// A setting's text, whether it came in clear or from the environment.
pub(crate) fn text(config: &DestinationConfig, name: &str) -> Option<String> {
    let value = config.settings.get(name)?;
    value.as_secret().map(|secret| secret.reveal().clone())
}

/// A setting that is secret.
pub(crate) fn secret(config: &DestinationConfig, name: &str) -> Option<Secret<String>> {
    config.settings.get(name).and_then(SettingValue::as_secret)
}

/// A setting that is a whole number.
pub(crate) fn number(config: &DestinationConfig, name: &str) -> Option<u64> {
    config.settings.get(name).and_then(SettingValue::as_u64)
}

/// A setting that is yes or no.
pub(crate) fn flag(config: &DestinationConfig, name: &str) -> Option<bool> {
    config.settings.get(name).and_then(SettingValue::as_bool)
}

/// Where a server is, and how it may be reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    destination: Name,
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    policy: AddressPolicy,
    patience: Duration,
}

impl Endpoint {
    /// Reads the settings; `port` and `tls_port` are the defaults without and with encryption.
    pub(crate) fn read(
        config: &DestinationConfig,
        (port, tls_port): (u16, u16),
        problems: &mut Problems,
    ) -> Option<Self> {
        let encrypted = flag(config, "tls").unwrap_or(true);
        let port = match number(config, "port").map(u16::try_from) {
            None if encrypted => Some(tls_port),
            None => Some(port),
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => {
                problems.add("settings.port", "a port is 1 to 65535", "correct the port");
                None
            }
        };
        let host = text(config, "host").unwrap_or_default();
        // Also without a port: all that is wrong is said at once.
        let endpoint = Self::at(config, &host, port.unwrap_or(tls_port), problems);
        port.and(endpoint)
    }

    /// The endpoint at a place that no setting of its own names; the others are read.
    pub(crate) fn at(
        config: &DestinationConfig,
        host: &str,
        port: u16,
        problems: &mut Problems,
    ) -> Option<Self> {
        let policy = AddressPolicy::read(config, problems);
        let encrypted = flag(config, "tls").unwrap_or(true);
        let authorities = text(config, "tls_ca").map(|path| config.project_dir.join(path));
        let tls = if encrypted {
            match tls::config(authorities.as_deref()) {
                Ok(tls) => Some(Some(tls)),
                Err(reason) => {
                    problems.push("settings.tls_ca", reason);
                    None
                }
            }
        } else {
            Some(None)
        };
        Some(Self {
            destination: config.name.clone(),
            host: host.to_owned(),
            port,
            tls: tls?,
            policy: policy?,
            patience: CONNECT_TIMEOUT.min(config.timeout.unwrap_or(CONNECT_TIMEOUT)),
        })
    }

    /// Another server that is approached alike: what may be connected to and who is trusted stay.
    #[cfg(feature = "kafka")]
    pub(crate) fn elsewhere(&self, host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            ..self.clone()
        }
    }

    /// The server in messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// How the connection is protected, for `check`.
    pub(crate) fn protection(&self) -> &'static str {
        if self.tls.is_some() {
            "encrypted, certificate verified"
        } else {
            "not encrypted"
        }
    }

    /// Longest wait for a connection.
    #[cfg(feature = "kafka")]
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(feature = "mysql")]
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    #[cfg(feature = "mysql")]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn destination(&self) -> &str {
        &self.destination
    }

    /// The addresses of the host that may be connected to.
    ///
    /// # Errors
    /// The name does not resolve, or no address of it is permitted.
    pub(crate) async fn addresses(&self) -> Result<Vec<IpAddr>, Fault> {
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = match timeout(self.patience, lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(Fault::refused(self.unresolved(&error.to_string()))),
            Err(_) => return Err(Fault::refused(self.unresolved("the look-up took too long"))),
        };
        let mut refused = None;
        let mut kept = Vec::new();
        for address in found.map(|address| address.ip()) {
            match self.policy.permit(address) {
                Ok(()) if kept.contains(&address) => {}
                Ok(()) => kept.push(address),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        match refused {
            _ if !kept.is_empty() => Ok(kept),
            Some(why) => Err(Fault::fatal(why.reason(&self.host))),
            None => Err(Fault::refused(self.unresolved("the name has no address"))),
        }
    }

    /// An open connection, encrypted when the settings say so.
    ///
    /// # Errors
    /// Nothing was sent but the handshake.
    pub(crate) async fn open(&self) -> Result<Stream, Fault> {
        let stream = self.open_plain().await?;
        self.secure(stream).await
    }

    /// An open connection before any encryption.
    ///
    /// # Errors
    /// No address answers.
    pub(crate) async fn open_plain(&self) -> Result<TcpStream, Fault> {
        let mut last = None;
        for address in self.addresses().await? {
            let address = SocketAddr::new(address, self.port);
            last = Some(match timeout(self.patience, connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => format!("{address}: {error}"),
                Err(_) => format!(
                    "{address}: no answer within {} s",
                    self.patience.as_secs_f32()
                ),
            });
        }
        Err(Fault::refused(self.unreachable(&last.unwrap_or_default())))
    }

    /// Encrypts a connection when the settings say so.
    ///
    /// # Errors
    /// The server does not speak TLS, or its certificate is not trusted.
    pub(crate) async fn secure(&self, stream: TcpStream) -> Result<Stream, Fault> {
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        let shaking = tls::shake(tls.clone(), &self.host, stream);
        match timeout(self.patience, shaking).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(tls::refused(&self.place(), &error)),
            Err(_) => Err(Fault::refused(
                self.unreachable("no answer to the TLS handshake"),
            )),
        }
    }

    fn unresolved(&self, detail: &str) -> Reason {
        Reason::new(
            Code::DestinationUnreachable,
            format!("the name {} can't be resolved", self.host),
        )
        .detail(detail)
        .hint("check the spelling of the host and the machine's DNS")
    }

    pub(crate) fn unreachable(&self, detail: &str) -> Reason {
        Reason::new(
            Code::DestinationUnreachable,
            format!("can't connect to {}", self.place()),
        )
        .detail(detail)
        .hint("check the host, the port, that the server runs and that the network lets this machine out")
    }

    /// A library's connection failed before anything was sent: untrusted, or not there at all.
    #[cfg(feature = "mysql")]
    pub(crate) fn not_opened(&self, error: &io::Error) -> Fault {
        if error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            return tls::refused(&self.place(), error);
        }
        Fault::refused(self.unreachable(&error.to_string()))
    }

    /// The connection broke or said nothing more after something was sent.
    pub(crate) fn lost(&self, detail: &str) -> Fault {
        Fault::lost(
            Reason::new(
                Code::DestinationUnreachable,
                format!(
                    "the connection to {} broke before an answer came",
                    self.place()
                ),
            )
            .detail(detail)
            .hint("whether the records arrived is not known; they are sent again"),
        )
    }

    /// A conversation that broke off before anything was sent.
    pub(crate) fn early(&self, error: &io::Error) -> Fault {
        if error.kind() == io::ErrorKind::InvalidData {
            return Fault::fatal(self.garbled(&error.to_string()));
        }
        Fault::refused(self.unreachable(&error.to_string()))
    }

    /// The other side speaks another protocol.
    pub(crate) fn garbled(&self, detail: &str) -> Reason {
        Reason::new(
            Code::DestinationAnswer,
            format!("the answer of {} can't be understood", self.place()),
        )
        .detail(detail)
        .hint("check that host and port are those of the right kind of server, and that `tls` says whether it is encrypted")
    }

    /// The server refused the login.
    pub(crate) fn login_refused(&self, said: &str) -> Fault {
        Fault::fatal(
            Reason::new(
                Code::DestinationAuth,
                format!(
                    "{} refused the login of destination `{}`",
                    self.place(),
                    self.destination
                ),
            )
            .detail(said)
            .hint("correct `user` and `password`, then run `rowcast check`"),
        )
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An open byte stream.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
