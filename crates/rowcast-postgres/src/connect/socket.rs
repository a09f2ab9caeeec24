//! From a host to an open socket: name lookup, every address in turn, one deadline for all.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rowcast_core::{Code, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::{ConnectConfig, SshConfig};
#[cfg(feature = "ssh")]
use super::ssh;

/// An open byte stream of either kind. A type of its own and not a `Box<dyn …>`: with the hidden
/// lifetime of the latter the compiler can't prove that connecting may move between threads.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    #[cfg(feature = "ssh")]
    Tunnel(ssh::Stream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "ssh")]
            Self::Tunnel(stream) => Pin::new(stream).poll_read(cx, buf),
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
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "ssh")]
            Self::Tunnel(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "ssh")]
            Self::Tunnel(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "ssh")]
            Self::Tunnel(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The one address that answered; cancel requests go to the same.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
    #[cfg(feature = "ssh")]
    Tunnel(ssh::Exit),
}

// A half-dead path is noticed after 60 + 6 × 10 seconds; most firewalls forget idle flows later.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 6;

pub(super) const NETWORK_HINT: &str = "check that a firewall, security group or the provider's allow-list lets this machine's address in, and that host and port are right";

pub(super) fn unreachable(config: &ConnectConfig, detail: impl Into<String>, hint: &str) -> Reason {
    Reason::new(
        Code::ConnectFailed,
        format!("can't reach the database {}", config.place()),
    )
    .detail(detail)
    .hint(hint)
}

pub(super) fn timed_out(config: &ConnectConfig, during: &str) -> Reason {
    unreachable(
        config,
        format!(
            "no answer within {} s while {during}",
            config.connect_timeout.as_secs_f32()
        ),
        NETWORK_HINT,
    )
}

/// Opens an address known from before.
pub(super) async fn reopen(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        Address::Tcp(address) => tcp(*address).await.map(Stream::Tcp),
        #[cfg(feature = "ssh")]
        Address::Tunnel(exit) => exit.reopen().await.map(Stream::Tunnel),
    }
}

/// A TCP connection whose silent death is noticed.
pub(super) async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // Best effort: a kernel without these options still has our deadlines.
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE);
    let _ = rustix::net::sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL);
    let _ = rustix::net::sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES);
    Ok(stream)
}

async fn addresses(config: &ConnectConfig, deadline: Instant) -> Result<Vec<Address>, Reason> {
    if config.is_unix_socket() {
        let path = PathBuf::from(&config.host).join(format!(".s.PGSQL.{}", config.port));
        return Ok(vec![Address::Unix(path)]);
    }
    let lookup = tokio::net::lookup_host((config.host.as_str(), config.port));
    let found = timeout_at(deadline, lookup)
        .await
        .map_err(|_| timed_out(config, "looking up the host's name"))?
        .map_err(|error| {
            unreachable(
                config,
                format!("the host name \"{}\" can't be resolved: {error}", config.host),
                "check the spelling of host, and that this machine's DNS knows it (a private name may only resolve inside its network)",
            )
        })?;
    Ok(found.map(Address::Tcp).collect())
}

/// Opens a socket to the first address that answers.
pub(super) async fn open(
    config: &ConnectConfig,
    deadline: Instant,
) -> Result<(Stream, Address), Reason> {
    if let Some(through) = &config.ssh {
        return tunnel(config, through, deadline).await;
    }
    let addresses = addresses(config, deadline).await?;
    let mut last = None;
    let count = addresses.len();
    for (tried, address) in addresses.into_iter().enumerate() {
        // An address that swallows packets must not eat the time of those after it.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - tried).unwrap_or(1);
        match timeout(share, reopen(&address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => last = Some(refused(config, &address, &error)),
            Err(_) => last = Some(timed_out(config, "opening the TCP connection")),
        }
    }
    Err(last.unwrap_or_else(|| {
        unreachable(
            config,
            "the host name has no address",
            "check the spelling of host",
        )
    }))
}

#[cfg(feature = "ssh")]
async fn tunnel(
    config: &ConnectConfig,
    through: &SshConfig,
    deadline: Instant,
) -> Result<(Stream, Address), Reason> {
    let (stream, exit) = Box::pin(ssh::open(config, through, deadline)).await?;
    Ok((Stream::Tunnel(stream), Address::Tunnel(exit)))
}

#[cfg(not(feature = "ssh"))]
async fn tunnel(
    config: &ConnectConfig,
    _: &SshConfig,
    _: Instant,
) -> Result<(Stream, Address), Reason> {
    Err(unreachable(
        config,
        "this program was built without SSH tunnels",
        "use a program built with the feature `ssh`, or forward a port with `ssh -L`",
    ))
}

fn refused(config: &ConnectConfig, address: &Address, error: &io::Error) -> Reason {
    match (address, error.kind()) {
        (Address::Unix(_), io::ErrorKind::NotFound) => unreachable(
            config,
            "there is no such socket",
            "check that the server runs, that host is its socket directory (SHOW unix_socket_directories) and port its port",
        ),
        (Address::Unix(_), io::ErrorKind::PermissionDenied) => unreachable(
            config,
            "this process may not open the socket",
            "run rowcast as a user that may enter the directory, or connect over TCP",
        ),
        (Address::Unix(_), _) => {
            unreachable(config, error.to_string(), "check that the server runs")
        }
        (Address::Tcp(address), io::ErrorKind::ConnectionRefused) => unreachable(
            config,
            format!("{address} refused the connection"),
            "check that the server runs and listens there: port, listen_addresses; a firewall that rejects looks the same",
        ),
        (Address::Tcp(address), _) => {
            unreachable(config, format!("{address}: {error}"), NETWORK_HINT)
        }
        #[cfg(feature = "ssh")]
        (Address::Tunnel(_), _) => unreachable(config, error.to_string(), NETWORK_HINT),
    }
}
