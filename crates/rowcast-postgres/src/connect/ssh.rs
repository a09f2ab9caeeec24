//! A tunnel through an SSH server: the stream of a connection is one forwarded channel.
//!
//! Every database connection has an SSH connection of its own, so that one lost tunnel is one lost
//! connection. Must never accept a host key that is not pinned, never forward an agent, and never
//! show a private key.

mod client;
mod host_key;
mod key;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use rowcast_core::{Code, Reason};
use russh::client::{self as driver, AuthResult, Handle, Msg};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{AlgorithmKind, ChannelOpenFailure, ChannelStream, Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::config::{ConnectConfig, SshConfig};
use super::socket::{self, NETWORK_HINT};
use client::{Client, SharedHeard};
use host_key::Pin as Pinned;

/// How long a server may be silent before it is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// That many questions without an answer end the connection.
const KEEPALIVE_MAX: usize = 3;

/// An open SSH connection; it ends when the stream through it is dropped.
struct Tunnel {
    session: Handle<Client>,
    /// The database as the SSH server is asked for it.
    target: Target,
}

enum Target {
    Tcp(String, u16),
    Unix(String),
}

impl Tunnel {
    async fn channel(&self) -> Result<ChannelStream<Msg>, russh::Error> {
        let session = &self.session;
        let channel = match &self.target {
            // The originator is only told to the server's log.
            Target::Tcp(host, port) => {
                session
                    .channel_open_direct_tcpip(host, u32::from(*port), "127.0.0.1", 0)
                    .await?
            }
            Target::Unix(path) => session.channel_open_direct_streamlocal(path).await?,
        };
        Ok(channel.into_stream())
    }
}

/// The bytes of one forwarded connection.
pub(in crate::connect) struct Stream {
    channel: ChannelStream<Msg>,
    /// Keeps the SSH connection while this is in use.
    _tunnel: Arc<Tunnel>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.channel).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_shutdown(cx)
    }
}

/// Where a tunnel comes out, as long as it stands: cancel requests take the same way.
#[derive(Clone)]
pub(in crate::connect) struct Exit(Weak<Tunnel>);

impl std::fmt::Debug for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exit")
    }
}

impl Exit {
    /// One more connection through the same tunnel.
    pub(in crate::connect) async fn reopen(&self) -> io::Result<Stream> {
        let Some(tunnel) = self.0.upgrade() else {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the connection has ended, and its SSH tunnel with it",
            ));
        };
        let channel = tunnel.channel().await.map_err(io::Error::other)?;
        Ok(Stream {
            channel,
            _tunnel: tunnel,
        })
    }
}

/// Opens a tunnel and a connection through it.
///
/// # Errors
/// `E0216` the SSH server can't be reached, `E0217` its host key is not the pinned one, `E0218` it
/// refused the login, `E0219` it refuses to forward, `E0201` it can't reach the database.
pub(in crate::connect) async fn open(
    config: &ConnectConfig,
    ssh: &SshConfig,
    deadline: Instant,
) -> Result<(Stream, Exit), Reason> {
    let pinned = ssh.host_key.as_deref().map(host_key::parse).transpose()?;
    let key = key::read(ssh).await?;
    let heard = SharedHeard::default();
    let late = |step: &'static str| move |_| timed_out(config, ssh, step);

    let mut session = Box::pin(shake_hands(config, ssh, pinned.as_ref(), &heard, deadline)).await?;
    timeout_at(deadline, Box::pin(log_in(ssh, &mut session, key)))
        .await
        .map_err(late("logging in"))??;
    let tunnel = Arc::new(Tunnel {
        session,
        target: if config.is_unix_socket() {
            Target::Unix(format!("{}/.s.PGSQL.{}", config.host, config.port))
        } else {
            Target::Tcp(config.host.clone(), config.port)
        },
    });
    let channel = timeout_at(deadline, tunnel.channel())
        .await
        .map_err(late("waiting for it to connect to the database"))?
        .map_err(|error| not_forwarded(config, ssh, &heard, &error))?;
    let exit = Exit(Arc::downgrade(&tunnel));
    let stream = Stream {
        channel,
        _tunnel: tunnel,
    };
    Ok((stream, exit))
}

fn unreachable(ssh: &SshConfig, detail: impl Into<String>, hint: &str) -> Reason {
    Reason::new(
        Code::SshUnreachable,
        format!("can't reach the SSH server {}", ssh.place()),
    )
    .detail(detail)
    .hint(hint)
}

fn timed_out(config: &ConnectConfig, ssh: &SshConfig, step: &str) -> Reason {
    unreachable(
        ssh,
        format!(
            "no answer within {} s while {step}",
            config.connect_timeout.as_secs_f32()
        ),
        NETWORK_HINT,
    )
}

/// A TCP connection to the first address of the SSH server that answers.
async fn reach(
    config: &ConnectConfig,
    ssh: &SshConfig,
    deadline: Instant,
) -> Result<TcpStream, Reason> {
    let lookup = tokio::net::lookup_host((ssh.host.as_str(), ssh.port));
    let addresses: Vec<_> = timeout_at(deadline, lookup)
        .await
        .map_err(|_| timed_out(config, ssh, "looking up its name"))?
        .map_err(|error| {
            unreachable(
                ssh,
                format!("the host name \"{}\" can't be resolved: {error}", ssh.host),
                "check the spelling of ssh.host, and that this machine's DNS knows it",
            )
        })?
        .collect();
    let mut last = None;
    let count = addresses.len();
    for (tried, address) in addresses.into_iter().enumerate() {
        // An address that swallows packets must not eat the time of those after it.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - tried).unwrap_or(1);
        match timeout(share, socket::tcp(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = Some(unreachable(
                    ssh,
                    format!("{address} refused the connection"),
                    "check that sshd runs and listens there: ssh.host and ssh.port; a firewall that rejects looks the same",
                ));
            }
            Ok(Err(error)) => {
                last = Some(unreachable(
                    ssh,
                    format!("{address}: {error}"),
                    NETWORK_HINT,
                ));
            }
            Err(_) => last = Some(timed_out(config, ssh, "opening the TCP connection")),
        }
    }
    Err(last.unwrap_or_else(|| {
        unreachable(
            ssh,
            "the host name has no address",
            "check the spelling of ssh.host",
        )
    }))
}

/// Opens an SSH connection to the server whose key is pinned. A server has several host keys and
/// shows one; a fingerprint does not say of which kind it is, so each kind is asked for in turn.
async fn shake_hands(
    config: &ConnectConfig,
    ssh: &SshConfig,
    pinned: Option<&Pinned>,
    heard: &SharedHeard,
    deadline: Instant,
) -> Result<Handle<Client>, Reason> {
    let mut kinds = host_key::kinds(pinned);
    let mut offered: Vec<PublicKey> = Vec::new();
    loop {
        let stream = reach(config, ssh, deadline).await?;
        let client = Client {
            pinned: pinned.cloned(),
            heard: heard.clone(),
        };
        let settings = Arc::new(driver::Config {
            client_id: SshId::Standard("SSH-2.0-rowcast".into()),
            keepalive_interval: Some(KEEPALIVE_INTERVAL),
            keepalive_max: KEEPALIVE_MAX,
            preferred: Preferred {
                key: kinds.clone().into(),
                ..Preferred::DEFAULT
            },
            ..driver::Config::default()
        });
        let shaking = Box::pin(driver::connect_stream(settings, stream, client));
        let error = match timeout_at(deadline, shaking).await {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(error)) => error,
            Err(_) => return Err(timed_out(config, ssh, "agreeing on keys")),
        };
        match (error, heard.with(|heard| heard.host_key.take())) {
            (russh::Error::UnknownKey, Some(key)) => {
                kinds.retain(|kind| !host_key::same_kind(kind, &key.algorithm()));
                offered.push(key);
                if !pinned.is_some_and(Pinned::is_of_any_kind) || kinds.is_empty() {
                    return Err(host_key::refused(ssh, pinned, &offered));
                }
            }
            (
                russh::Error::NoCommonAlgo {
                    kind: AlgorithmKind::Key,
                    ..
                },
                _,
            ) if !offered.is_empty() => return Err(host_key::refused(ssh, pinned, &offered)),
            (error, _) => {
                return Err(unreachable(
                    ssh,
                    format!("the SSH handshake failed: {error}"),
                    "check that ssh.host and ssh.port are those of an SSH server; its log may say more",
                ));
            }
        }
    }
}

async fn log_in(
    ssh: &SshConfig,
    session: &mut Handle<Client>,
    key: russh::keys::PrivateKey,
) -> Result<(), Reason> {
    let public = key.public_key().clone();
    let hash = if key.algorithm().is_rsa() {
        // Never SHA-1, whatever the server would take.
        let best = session.best_supported_rsa_hash().await;
        best.ok().flatten().flatten().or(Some(HashAlg::Sha512))
    } else {
        None
    };
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
    let refused = |detail: String| {
        Reason::new(
            Code::SshAuth,
            format!(
                "the SSH server {} refused the user \"{}\"",
                ssh.place(),
                ssh.user
            ),
        )
        .detail(detail)
    };
    match session.authenticate_publickey(&ssh.user, key).await {
        Ok(AuthResult::Success) => Ok(()),
        Ok(AuthResult::Failure {
            partial_success: true,
            ..
        }) => Err(
            refused("it took the key and asks for a second proof".to_owned())
                .hint("let this user log in with the key alone: AuthenticationMethods publickey"),
        ),
        Ok(AuthResult::Failure { .. }) => Err(refused(format!(
            "it did not take the key {}",
            host_key::described(&public)
        ))
        .hint(format!(
            "add this line to ~/.ssh/authorized_keys of that user: restrict,port-forwarding {}",
            host_key::line(&public)
        ))),
        Err(error) => Err(refused(error.to_string())
            .hint("the server ended the connection during the login; its log may say why")),
    }
}

fn not_forwarded(
    config: &ConnectConfig,
    ssh: &SshConfig,
    heard: &SharedHeard,
    error: &russh::Error,
) -> Reason {
    let words = heard.with(|heard| heard.refusal.take());
    let said = |otherwise: &str| words.clone().unwrap_or_else(|| otherwise.to_owned());
    match error {
        russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => {
            socket::unreachable(
                config,
                format!(
                    "the SSH server could not connect to it: {}",
                    said("it did not say why")
                ),
                "host and port are those of the database as the SSH host sees it; try there: nc -vz HOST PORT",
            )
        }
        russh::Error::ChannelOpenFailure(_) => Reason::new(
            Code::SshForwarding,
            format!(
                "the SSH server {} refused to forward to the database {}",
                ssh.place(),
                config.place()
            ),
        )
        .detail(said(&error.to_string()))
        .hint(
            "allow it in sshd_config (AllowTcpForwarding local, PermitOpen HOST:PORT; AllowStreamLocalForwarding for a socket) and in authorized_keys (port-forwarding)",
        ),
        error => unreachable(
            ssh,
            format!("it ended the connection: {error}"),
            "its log may say why",
        ),
    }
}
