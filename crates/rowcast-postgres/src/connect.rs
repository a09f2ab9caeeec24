//! Connections to PostgreSQL: name, socket, TLS as libpq means it, login, and who answered.
//!
//! Only unnamed statements and no session state, so that poolers in transaction mode work. The
//! encryption mode must never silently weaken, and no error may show a password.

mod cancel;
mod certificate;
mod config;
mod deadline;
mod farewell;
mod idle;
mod password;
mod reason;
mod socket;
#[cfg(feature = "ssh")]
mod ssh;
mod tls;
mod url;
mod verify;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use rowcast_core::{BoxFuture, Code, Reason};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::SslMode as DriverMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use cancel::{CancelHandle, cancels_delivered};
pub use config::{
    CONNECT_TIMEOUT, ChannelBinding, ConnectConfig, Password, RootCert, SshConfig, SslMode,
    UnknownSslMode,
};
pub(crate) use idle::{Idle, Lent};
pub use reason::{db_error, for_role, is_connection_lost};
pub use tls::{EXPIRY_WARNING_S, Negotiated, Transport, Verified};

use reason::LoginFailure;
use socket::{Address, Stream};
use watch::{Patience, Watched, WatchedTls};

/// The oldest server Rowcast works with, as `server_version_num`: 14.
pub const SERVER_VERSION_MIN: i32 = 140_000;

/// How long an ended connection may take to say goodbye before its socket is just closed.
const GOODBYE: Duration = Duration::from_secs(2);

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `150004`.
    pub version_num: i32,
    /// `15.4 (Debian 15.4-1)`.
    pub version: String,
    /// A replica, or a server being restored.
    pub in_recovery: bool,
    /// Transactions are read-only unless they say otherwise.
    pub default_read_only: bool,
    /// The role that is in force, as the server knows it.
    pub user: String,
    pub database: String,
    /// Identity of the cluster; `None` when the role may not read it.
    pub system_identifier: Option<i64>,
}

/// Opens connections to one database.
#[derive(Debug, Clone)]
pub struct Connector {
    config: Arc<ConnectConfig>,
}

/// An open connection; it ends when this is dropped.
pub struct Connection {
    pub client: Client,
    pub tls: Negotiated,
    pub server: ServerInfo,
    config: Arc<ConnectConfig>,
    cancel: CancelHandle,
    patience: Arc<Patience>,
    /// Dropping it tells the task that nobody listens any more.
    _alive: oneshot::Sender<()>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.config.place())
            .field("tls", &self.tls)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

fn rustls_connect(
    config: &ConnectConfig,
    client: rustls::ClientConfig,
) -> <MakeRustlsConnect as MakeTlsConnect<Stream>>::TlsConnect {
    let made: Result<_, std::convert::Infallible> = MakeTlsConnect::<Stream>::make_tls_connect(
        &mut MakeRustlsConnect::new(client),
        &config.host,
    );
    match made {
        Ok(connect) => connect,
        Err(never) => match never {},
    }
}

/// A login's client and what drives its connection. Boxed: the driver's types name a stream whose
/// erased lifetime would keep every caller's future from being `Send`.
type Login<'a> = BoxFuture<
    'a,
    Result<
        (
            Client,
            BoxFuture<'static, Result<(), tokio_postgres::Error>>,
        ),
        tokio_postgres::Error,
    >,
>;

fn login_encrypted<'a>(
    config: &ConnectConfig,
    driver: &'a tokio_postgres::Config,
    stream: Stream,
    client: rustls::ClientConfig,
    patience: Arc<Patience>,
) -> Login<'a> {
    let inner = rustls_connect(config, client);
    let login = driver.connect_raw(stream, WatchedTls { inner, patience });
    Box::pin(login.map_ok(|(client, connection)| {
        let drive: BoxFuture<'static, _> = Box::pin(connection);
        (client, drive)
    }))
}

impl Connector {
    pub fn new(config: ConnectConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// What this connects to.
    pub fn config(&self) -> &ConnectConfig {
        &self.config
    }

    /// Opens a connection, runs the password command if there is one, and asks who answered.
    ///
    /// # Errors
    /// `E0201` unreachable, `E0202` login refused, `E0203` TLS not as demanded, `E0204` the server
    /// is older than 14.
    pub async fn connect(&self) -> Result<Connection, Reason> {
        let connection = self.connect_any_version().await?;
        require_version(&connection.server)?;
        Ok(connection)
    }

    /// As `connect`, whatever the server's version is: for the checks, which judge it apart.
    ///
    /// # Errors
    /// As `connect`, without `E0204`.
    pub async fn connect_any_version(&self) -> Result<Connection, Reason> {
        let config = &self.config;
        let password = password::obtain(config).await?;
        let deadline = Instant::now() + config.connect_timeout;
        let mut refusal = None;
        for encrypted in attempts(config) {
            // A second attempt is made only for the reasons libpq makes one.
            match self
                .attempt(*encrypted, password.as_deref(), deadline)
                .await
            {
                Ok(connection) => return Ok(connection),
                Err(LoginFailure::Final(reason)) => return Err(reason),
                // A rule of the server says more than that it has no TLS, whichever came first.
                Err(LoginFailure::Encryption(reason)) => refusal = Some(reason),
                Err(LoginFailure::NoTls(reason)) => {
                    refusal.get_or_insert(reason);
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Reason::defect("a connection was never attempted")))
    }

    async fn attempt(
        &self,
        encrypted: bool,
        password: Option<&str>,
        deadline: Instant,
    ) -> Result<Connection, LoginFailure> {
        let config = &self.config;
        let tls = encrypted
            .then(|| tls::Client::new(config))
            .transpose()
            .map_err(LoginFailure::Final)?;
        let (stream, address) = socket::open(config, deadline)
            .await
            .map_err(LoginFailure::Final)?;
        let driver = driver_config(config, encrypted, password);
        let late = |_| {
            LoginFailure::Final(socket::timed_out(
                config,
                "waiting for the TLS handshake and the login",
            ))
        };
        let patience = Patience::new(config.statement_timeout.map(answer_limit));
        let (client, connection, negotiated): (_, BoxFuture<'static, _>, _) = if let Some(tls) = tls
        {
            let (observed, verified) = (tls.observed.clone(), tls.verified());
            let login = login_encrypted(config, &driver, stream, tls.config, patience.clone());
            let (client, connection) = timeout_at(deadline, login)
                .await
                .map_err(late)?
                .map_err(|error| reason::login(config, &error, Some(&observed)))?;
            let negotiated = tls::negotiated(config, &observed, verified);
            (client, connection, negotiated)
        } else {
            let stream = Watched::new(stream, patience.clone());
            let (client, connection) = timeout_at(deadline, driver.connect_raw(stream, NoTls))
                .await
                .map_err(late)?
                .map_err(|error| reason::login(config, &error, None))?;
            let transport = match address {
                Address::Unix(_) => Transport::UnixSocket,
                _ => Transport::Plain,
            };
            let negotiated = Negotiated::plain(config.sslmode, transport);
            (client, Box::pin(connection), negotiated)
        };
        let cancel = CancelHandle::new(client.cancel_token(), address, encrypted, config.clone());
        let (alive, ended) = oneshot::channel();
        tokio::spawn(drive(connection, ended, patience.clone(), cancel.clone()));
        let server = timeout_at(deadline, server_info(&client))
            .await
            .map_err(late)?
            .map_err(|error| {
                LoginFailure::Final(db_error(&error, "asking the server who it is"))
            })?;
        Ok(Connection {
            client,
            tls: negotiated,
            server,
            config: config.clone(),
            cancel,
            patience,
            _alive: alive,
        })
    }
}

impl Connection {
    /// What cancels this connection's running query.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// From the next statement on, the server may be silent for at most so long before the statement
    /// is cancelled and, when that has no answer either, the connection given up. `None`: as long as
    /// the configuration says.
    pub fn wait_at_most(&self, limit: Option<Duration>) {
        let limit = limit.or(self.config.statement_timeout.map(answer_limit));
        self.patience.set(limit);
    }

    /// What this is connected to.
    pub fn config(&self) -> &ConnectConfig {
        &self.config
    }
}

/// The server's own limit comes first, if it is there to keep it.
fn answer_limit(statement_timeout: Duration) -> Duration {
    statement_timeout + (statement_timeout / 2).min(Duration::from_secs(5))
}

/// Encrypted or not, in order.
fn attempts(config: &ConnectConfig) -> &'static [bool] {
    if config.is_unix_socket() {
        return &[false];
    }
    match config.sslmode {
        SslMode::Disable => &[false],
        SslMode::Allow => &[false, true],
        SslMode::Prefer => &[true, false],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[true],
    }
}

fn driver_config(
    config: &ConnectConfig,
    encrypted: bool,
    password: Option<&str>,
) -> tokio_postgres::Config {
    use tokio_postgres::config::ChannelBinding as Binding;
    let mut driver = tokio_postgres::Config::new();
    driver
        .user(&config.user)
        .dbname(&config.database)
        .application_name(&config.application_name)
        // Never the driver's own "prefer": which attempt this is was decided before.
        .ssl_mode(if encrypted {
            DriverMode::Require
        } else {
            DriverMode::Disable
        })
        .channel_binding(match config.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
    if let Some(password) = password {
        driver.password(password);
    }
    if let Some(options) = &config.options {
        driver.options(options);
    }
    driver
}

/// Carries messages until the client is gone. A connection that is still busy then (a query whose
/// rows nobody reads) is closed after a moment instead of being read to its end. A server that has
/// been silent for too long is asked to cancel.
async fn drive(
    mut connection: BoxFuture<'static, Result<(), tokio_postgres::Error>>,
    mut ended: oneshot::Receiver<()>,
    patience: Arc<Patience>,
    cancel: CancelHandle,
) {
    let result = loop {
        tokio::select! {
            result = &mut connection => break Some(result),
            _ = &mut ended => {
                break tokio::time::timeout(GOODBYE, &mut connection).await.ok();
            }
            () = patience.ended() => cancel.begin(),
        }
    };
    if let Some(Err(error)) = result {
        tracing::debug!(error = %error, "a PostgreSQL connection ended with an error");
    }
}

async fn server_info(client: &Client) -> Result<ServerInfo, tokio_postgres::Error> {
    let row = client
        .query_typed_one(
            "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
             pg_catalog.pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool, \
             current_user::text, pg_catalog.current_database()::text",
            &[],
        )
        .await?;
    // Some providers take this function away; the rest must not depend on it.
    let system_identifier = client
        .query_typed_one(
            "SELECT system_identifier FROM pg_catalog.pg_control_system()",
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .ok();
    Ok(ServerInfo {
        version_num: row.try_get(0)?,
        version: row.try_get(1)?,
        in_recovery: row.try_get(2)?,
        default_read_only: row.try_get(3)?,
        user: row.try_get(4)?,
        database: row.try_get(5)?,
        system_identifier,
    })
}

/// Refuses servers older than 14.
///
/// # Errors
/// `E0204`.
pub fn require_version(server: &ServerInfo) -> Result<(), Reason> {
    if server.version_num >= SERVER_VERSION_MIN {
        return Ok(());
    }
    Err(Reason::new(
        Code::ServerTooOld,
        format!("the server runs PostgreSQL {}", server.version),
    )
    .detail("rowcast needs PostgreSQL 14 or newer")
    .hint("upgrade the server, or use a newer replica of it as the source"))
}
