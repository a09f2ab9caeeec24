//! The one way out: a client that connects only where the address policy permits.
//!
//! No redirects, no proxies from the environment, answers of bounded size. The policy is asked for
//! the addresses that are connected to, not for an earlier look-up: a name that changes its mind
//! between check and connection gains nothing.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rowcast_core::{BoxFuture, Code, Fault, Reason};
use url::{Host, Url};

use super::connections::Connections;
use super::tls;
use rowcast_core::address::AddressPolicy;

/// Answers are read up to here; what comes after is not looked at.
pub const ANSWER_MAX: usize = 1 << 20;

/// Longest wait for a connection: a host that answers at all answers within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The agent names the product and its version: services ask for it when they ask us to stop.
pub(super) const AGENT: &str = concat!("rowcast/", env!("CARGO_PKG_VERSION"));

/// Looks a name up. The system's resolver outside tests.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a host.
    fn addresses(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// The system's resolver (`getaddrinfo`).
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// What a destination sends with.
#[derive(Clone)]
pub struct Client {
    /// For `https`, where services speak HTTP/2.
    http: reqwest::Client,
    /// For `http`.
    plain: Arc<Connections>,
    policy: Arc<AddressPolicy>,
    lookup: Arc<dyn Lookup>,
    tls: Arc<rustls::ClientConfig>,
    timeout: Duration,
}

/// An answer, read up to `ANSWER_MAX`.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
    /// There was more than `ANSWER_MAX`.
    pub cut: bool,
}

impl Client {
    /// A client with its own connections. `secure` is whether TLS will be spoken: without it the
    /// system's certificates are not loaded.
    ///
    /// # Errors
    /// The system's certificates can't be loaded.
    pub fn new(
        policy: AddressPolicy,
        lookup: Arc<dyn Lookup>,
        timeout: Duration,
        secure: bool,
    ) -> Result<Self, Reason> {
        let policy = Arc::new(policy);
        let tls = tls::config(secure)?;
        let resolver = PolicyResolver {
            policy: Arc::clone(&policy),
            lookup: Arc::clone(&lookup),
        };
        let connect_timeout = CONNECT_TIMEOUT.min(timeout);
        let http = reqwest::Client::builder()
            .user_agent(AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(connect_timeout)
            .dns_resolver(Arc::new(resolver.clone()))
            .tls_backend_preconfigured(tls.clone())
            .build()
            .map_err(|err| Reason::defect(format!("the HTTP client can't be built: {err}")))?;
        Ok(Self {
            http,
            plain: Arc::new(Connections::new(resolver, timeout, connect_timeout)),
            policy,
            lookup,
            tls: Arc::new(tls),
            timeout,
        })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// What happened to the connection; never a status of the service.
    pub async fn send(&self, request: reqwest::Request, host: &str) -> Result<Answer, Fault> {
        // Hosts written as an address never reach the resolver.
        if let Some(address) = literal(request.url()) {
            self.policy
                .permit(address)
                .map_err(|refused| Fault::fatal(refused.reason(host)))?;
        }
        if request.url().scheme() == "http" {
            return self.plain.send(request, host).await;
        }
        let mut response = self
            .http
            .execute(request)
            .await
            .map_err(|err| connection_fault(&err.without_url(), host, self.timeout))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        let mut cut = false;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|err| ended_early(host, chain(&err.without_url())))?
        {
            let room = ANSWER_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Answer {
            status,
            headers,
            body,
            cut,
        })
    }

    /// Sends a request given in its parts, and reads its answer.
    ///
    /// # Errors
    /// As `send`.
    pub async fn exchange(
        &self,
        method: reqwest::Method,
        url: Url,
        headers: reqwest::header::HeaderMap,
        body: bytes::Bytes,
        host: &str,
    ) -> Result<Answer, Fault> {
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        self.send(request, host).await
    }

    /// Resolves a URL's host and keeps what the policy permits.
    ///
    /// # Errors
    /// The name does not resolve, or no address of it is permitted.
    pub async fn resolve(&self, url: &Url, host: &str) -> Result<Vec<IpAddr>, Fault> {
        if let Some(address) = literal(url) {
            return match self.policy.permit(address) {
                Ok(()) => Ok(vec![address]),
                Err(refused) => Err(Fault::fatal(refused.reason(host))),
            };
        }
        let name = url.host_str().unwrap_or_default().to_owned();
        let found = self
            .lookup
            .addresses(name)
            .await
            .map_err(|err| Fault::refused(unresolved(host, &err.to_string())))?;
        permitted(&self.policy, found).map_err(|refused| match refused {
            Some(refused) => Fault::fatal(refused.reason(host)),
            None => Fault::refused(unresolved(host, "the name has no address")),
        })
    }

    /// Makes a TCP connection to one of the addresses and, for https, a TLS handshake; sends
    /// nothing. Says what was reached.
    ///
    /// # Errors
    /// Which step failed.
    pub async fn connect(
        &self,
        url: &Url,
        addresses: Vec<IpAddr>,
        host: &str,
    ) -> Result<String, Reason> {
        let port = url.port_or_known_default().unwrap_or(443);
        let secure = url.scheme() == "https";
        let name = url.host_str().unwrap_or_default().to_owned();
        let tls = Arc::clone(&self.tls);
        let limit = CONNECT_TIMEOUT.min(self.timeout);
        let shown = host.to_owned();
        tokio::task::spawn_blocking(move || {
            let (stream, address) = open(&addresses, port, limit, &shown)?;
            if !secure {
                return Ok(format!("connected to {address}, not encrypted"));
            }
            let version = tls::handshake(stream, tls, &name, limit)
                .map_err(|err| tls::explain(&shown, err.as_ref()))?;
            Ok(format!("connected to {address}, {version}, verified"))
        })
        .await
        .unwrap_or_else(|_| Err(Reason::defect("the connection check ended early")))
    }
}

fn open(
    addresses: &[IpAddr],
    port: u16,
    limit: Duration,
    host: &str,
) -> Result<(std::net::TcpStream, SocketAddr), Reason> {
    let mut last = String::from("the name has no address");
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match std::net::TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok((stream, address)),
            Err(err) => last = format!("{address}: {err}"),
        }
    }
    Err(unreachable(host, &last))
}

/// The time of day, for what other machines compare with theirs: signatures and `Retry-After`
/// dates.
#[expect(
    clippy::disallowed_methods,
    reason = "a signature's time is when it is sent, not when the run started"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The address of a host that is written as one, in any spelling: `url` has already turned
/// `0x7f.1` and `2130706433` into 127.0.0.1.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

/// The addresses a connection may use; `Err(None)` when there were none at all.
fn permitted(
    policy: &AddressPolicy,
    found: Vec<IpAddr>,
) -> Result<Vec<IpAddr>, Option<rowcast_core::address::Refused>> {
    let mut refused = None;
    let mut kept = Vec::with_capacity(found.len());
    for address in found {
        match policy.permit(address) {
            Ok(()) => kept.push(address),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    if kept.is_empty() {
        Err(refused)
    } else {
        Ok(kept)
    }
}

/// Looks names up and keeps what the policy permits.
#[derive(Clone)]
pub(super) struct PolicyResolver {
    policy: Arc<AddressPolicy>,
    lookup: Arc<dyn Lookup>,
}

impl PolicyResolver {
    /// The permitted addresses of a host, with the port of its scheme.
    pub(super) fn permitted(
        &self,
        host: String,
    ) -> BoxFuture<'static, Result<std::vec::IntoIter<SocketAddr>, Box<dyn StdError + Send + Sync>>>
    {
        let policy = Arc::clone(&self.policy);
        let found = self.lookup.addresses(host);
        Box::pin(async move {
            match permitted(&policy, found.await?) {
                Ok(kept) => {
                    let kept = kept.into_iter().map(|address| SocketAddr::new(address, 0));
                    Ok(kept.collect::<Vec<_>>().into_iter())
                }
                Err(Some(refused)) => Err(refused.into()),
                Err(None) => Err("the name has no address".into()),
            }
        })
    }
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.permitted(name.as_str().to_owned());
        Box::pin(async move {
            let addresses: Addrs = Box::new(found.await?);
            Ok(addresses)
        })
    }
}

/// What a failed exchange means: whether anything can have arrived decides.
fn connection_fault(err: &reqwest::Error, host: &str, timeout: Duration) -> Fault {
    if let Some(refused) = cause::<rowcast_core::address::Refused>(err) {
        return Fault::fatal(refused.reason(host));
    }
    if err.is_builder() {
        return Fault::fatal(Reason::defect(format!(
            "a request can't be built: {}",
            chain(err)
        )));
    }
    if err.is_connect() {
        if cause::<rustls::Error>(err).is_some() {
            return Fault::fatal(tls::explain(host, err));
        }
        return Fault::refused(unreachable(host, &chain(err)));
    }
    if err.is_timeout() {
        return no_answer(host, timeout);
    }
    broke(host, chain(err))
}

/// Nothing came in time.
pub(super) fn no_answer(host: &str, timeout: Duration) -> Fault {
    Fault::lost(
        Reason::new(
            Code::DestinationUnreachable,
            format!("{host} did not answer within {} s", timeout.as_secs_f32()),
        )
        .hint("whether the records arrived is not known; they are sent again. If the service is slow, raise timeout: or lower batch.max_records"),
    )
}

/// The connection ended before an answer.
pub(super) fn broke(host: &str, detail: String) -> Fault {
    Fault::lost(
        Reason::new(
            Code::DestinationUnreachable,
            format!("the connection to {host} broke before an answer came"),
        )
        .detail(detail)
        .hint("whether the records arrived is not known; they are sent again"),
    )
}

/// The connection ended within an answer.
pub(super) fn ended_early(host: &str, detail: String) -> Fault {
    Fault::lost(
        Reason::new(
            Code::DestinationUnreachable,
            format!("the answer of {host} ended early"),
        )
        .detail(detail)
        .hint("the records are sent again: whether they arrived is not known"),
    )
}

pub(super) fn unreachable(host: &str, detail: &str) -> Reason {
    Reason::new(
        Code::DestinationUnreachable,
        format!("can't connect to {host}"),
    )
    .detail(detail)
    .hint("check the host, the port and that the network lets this machine out")
}

fn unresolved(host: &str, detail: &str) -> Reason {
    Reason::new(
        Code::DestinationUnreachable,
        format!("the name {host} can't be resolved"),
    )
    .detail(detail)
    .hint("check the spelling of the host and the machine's DNS")
}

/// The first cause of a kind, io errors looked into.
pub(super) fn cause<'a, T: std::error::Error + 'static>(
    err: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = err
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            && let Some(found) = cause::<T>(inner)
        {
            return Some(found);
        }
        next = err.source();
    }
    None
}

/// The innermost cause: the only part that says something.
pub(super) fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let mut last = err;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
