//! Connections of our own, for `http://`: each is driven by the request that uses it.
//!
//! A request without encryption is HTTP/1.1, where one request has a connection to itself; so it
//! needs no task beside it and no pool between (ADR 32). It must never connect where the resolver
//! does not permit it, follow a redirect, or send a request again that may have left.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName,
    HeaderValue, USER_AGENT,
};
use reqwest::{Body, Url};
use rowcast_core::{BoxFuture, Fault, Reason};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower_service::Service;
use url::Position;

use super::client::{
    AGENT, ANSWER_MAX, Answer, PolicyResolver, broke, cause, chain, ended_early, no_answer,
    unreachable,
};

/// A connection that nobody used for so long is not used again: what stands between may have
/// forgotten it. The same as `reqwest`'s.
const IDLE_MAX: Duration = Duration::from_secs(90);

/// Silence on a connection after which the system asks the other side for a sign of life, and how
/// often it asks. The same as `reqwest`'s.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long sent bytes may stay unacknowledged. The same as `reqwest`'s.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

type Request = hyper::Request<Body>;
type Driver = http1::Connection<TokioIo<TcpStream>, Body>;

/// The connections of one client.
pub(super) struct Connections {
    connector: HttpConnector<PolicyResolver>,
    idle: Mutex<VecDeque<Idle>>,
    timeout: Duration,
    connect_timeout: Duration,
}

/// A connection that no request has, and since when.
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

/// Where a connection leads.
struct Origin {
    /// Host and port as the URL writes them.
    authority: String,
    host: HeaderValue,
}

struct Connection {
    origin: Arc<Origin>,
    sender: SendRequest<Body>,
    /// `None` once it is over.
    driver: Option<Driver>,
    /// The end of the present request's time. One timer for all of them: to move it is cheaper than
    /// to set another.
    late: Pin<Box<Sleep>>,
    /// What the last request was for, as the URL and as the wire has it.
    target: (String, hyper::Uri),
}

/// Why an exchange came to nothing.
enum Broken {
    /// Its time was over.
    Late,
    /// Not a byte of the request was written.
    Unsent(Box<Request>, hyper::Error),
    /// No answer came.
    Unanswered(hyper::Error),
    /// Part of an answer came.
    Cut(Box<dyn std::error::Error + Send + Sync>),
}

impl Connections {
    /// None yet; new ones lead where `resolver` permits.
    pub(super) fn new(
        resolver: PolicyResolver,
        timeout: Duration,
        connect_timeout: Duration,
    ) -> Self {
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        Self {
            connector,
            idle: Mutex::default(),
            timeout,
            connect_timeout,
        }
    }

    /// Sends a request and reads its answer. A host that is written as an address has been asked
    /// about already.
    ///
    /// # Errors
    /// What happened to the connection; never a status of the service.
    pub(super) async fn send(
        &self,
        mut request: reqwest::Request,
        host: &str,
    ) -> Result<Answer, Fault> {
        let deadline = Instant::now() + self.timeout;
        let mut kept = self.take(authority(request.url()));
        let origin = match &kept {
            Some(connection) => Arc::clone(&connection.origin),
            None => Arc::new(Origin::of(request.url())?),
        };
        let target = kept.as_mut().map(|kept| std::mem::take(&mut kept.target));
        let target = target_of(request.url(), target)?;
        let mut request = prepared(&mut request, &origin, &target.1);
        loop {
            let (mut connection, reused) = match kept {
                Some(connection) => (connection, true),
                None => (self.connect(&origin, deadline, host).await?, false),
            };
            connection.late.as_mut().reset(deadline);
            match connection.exchange(request).await {
                Ok(answer) => {
                    connection.target = target;
                    self.keep(connection);
                    return Ok(answer);
                }
                // The service had closed it before.
                Err(Broken::Unsent(unsent, _)) if reused => {
                    request = *unsent;
                    kept = self.take(&origin.authority);
                }
                Err(Broken::Unsent(_, err) | Broken::Unanswered(err)) => {
                    return Err(broke(host, chain(&err)));
                }
                Err(Broken::Cut(err)) => return Err(ended_early(host, chain(err.as_ref()))),
                Err(Broken::Late) => return Err(no_answer(host, self.timeout)),
            }
        }
    }

    /// The connection to an origin that was used last.
    fn take(&self, authority: &str) -> Option<Box<Connection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while idle
            .front()
            .is_some_and(|oldest| now.duration_since(oldest.since) > IDLE_MAX)
        {
            idle.pop_front();
        }
        let position = idle
            .iter()
            .rposition(|idle| idle.connection.origin.authority == authority)?;
        idle.remove(position).map(|idle| idle.connection)
    }

    /// Keeps a connection for the next request, if it takes one.
    fn keep(&self, connection: Box<Connection>) {
        if connection.driver.is_none() || !connection.sender.is_ready() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(Idle {
            connection,
            since: Instant::now(),
        });
    }

    async fn connect(
        &self,
        origin: &Arc<Origin>,
        deadline: Instant,
        host: &str,
    ) -> Result<Box<Connection>, Fault> {
        let to = hyper::Uri::builder()
            .scheme("http")
            .authority(origin.authority.as_str())
            .path_and_query("/")
            .build()
            .map_err(|err| unbuilt(&err.to_string()))?;
        let connecting = self.connector.clone().call(to);
        let stream = match timeout(self.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(err)) => {
                return Err(match cause::<rowcast_core::address::Refused>(&err) {
                    Some(refused) => Fault::fatal(refused.reason(host)),
                    None => Fault::refused(unreachable(host, &chain(&err))),
                });
            }
            Err(_) => {
                let limit = self.connect_timeout.as_secs_f32();
                let detail = format!("no connection within {limit} s");
                return Err(Fault::refused(unreachable(host, &detail)));
            }
        };
        let (sender, driver) = http1::handshake(stream)
            .await
            .map_err(|err| Fault::refused(unreachable(host, &chain(&err))))?;
        Ok(Box::new(Connection {
            origin: Arc::clone(origin),
            sender,
            driver: Some(driver),
            late: Box::pin(sleep_until(deadline)),
            target: (String::new(), hyper::Uri::default()),
        }))
    }
}

impl Origin {
    fn of(url: &Url) -> Result<Self, Fault> {
        let authority = authority(url);
        Ok(Self {
            authority: authority.to_owned(),
            host: HeaderValue::from_str(authority).map_err(|err| unbuilt(&err.to_string()))?,
        })
    }
}

impl Connection {
    async fn exchange(&mut self, request: Request) -> Result<Answer, Broken> {
        let sending = self.sender.try_send_request(request);
        let response = match drive(&mut self.driver, &mut self.late, sending).await? {
            Ok(response) => response,
            Err(mut err) => {
                return Err(match err.take_message() {
                    Some(unsent) => Broken::Unsent(Box::new(unsent), err.into_error()),
                    None => Broken::Unanswered(err.into_error()),
                });
            }
        };
        let (mut head, mut body) = response.into_parts();
        let mut content = Content::of(&mut head.headers);
        while !content.is_cut() && !body.is_end_stream() {
            let frame = drive(&mut self.driver, &mut self.late, body.frame()).await?;
            let Some(frame) = frame else {
                break;
            };
            let frame = frame.map_err(|err| Broken::Cut(err.into()))?;
            if let Ok(chunk) = frame.into_data() {
                let taken = content.push(&chunk);
                taken.map_err(|err| Broken::Cut(err.into()))?;
            }
        }
        let Bounded { bytes, cut } = content.end().map_err(|err| Broken::Cut(err.into()))?;
        if cut {
            // What is left of the answer would be taken for the next one's.
            self.driver = None;
        }
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: bytes,
            cut,
        })
    }
}

/// Waits for something a connection brings, and drives the connection meanwhile.
///
/// # Errors
/// The time was over before it came: nothing more is written then.
async fn drive<F: Future>(
    driver: &mut Option<Driver>,
    late: &mut Pin<Box<Sleep>>,
    wanted: F,
) -> Result<F::Output, Broken> {
    let mut wanted = pin!(wanted);
    poll_fn(|cx| {
        if late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Broken::Late));
        }
        // First what is wanted, so that the connection knows of it.
        if let Poll::Ready(came) = wanted.as_mut().poll(cx) {
            return Poll::Ready(Ok(came));
        }
        let over = match driver {
            Some(driver) => Pin::new(driver).poll(cx).is_ready(),
            None => true,
        };
        if over {
            // Who waits for it learns of its end when it is dropped.
            *driver = None;
        }
        wanted.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// What a request asks for, as the URL and as the wire has it; `last` if that is the same.
fn target_of(url: &Url, last: Option<(String, hyper::Uri)>) -> Result<(String, hyper::Uri), Fault> {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    match last {
        Some(last) if last.0 == path => Ok(last),
        _ => {
            let target = hyper::Uri::try_from(path).map_err(|err| unbuilt(&err.to_string()))?;
            Ok((path.to_owned(), target))
        }
    }
}

/// The request as the wire has it, with the headers that the client adds.
fn prepared(request: &mut reqwest::Request, origin: &Origin, target: &hyper::Uri) -> Request {
    let mut wire = Request::new(request.body_mut().take().unwrap_or_default());
    *wire.method_mut() = request.method().clone();
    *wire.uri_mut() = target.clone();
    let mut headers = std::mem::take(request.headers_mut());
    let mut add = |name: HeaderName, value: HeaderValue| {
        if let Entry::Vacant(free) = headers.entry(name) {
            free.insert(value);
        }
    };
    add(ACCEPT, HeaderValue::from_static("*/*"));
    add(USER_AGENT, HeaderValue::from_static(AGENT));
    add(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    add(HOST, origin.host.clone());
    *wire.headers_mut() = headers;
    wire
}

fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

fn unbuilt(detail: &str) -> Fault {
    Fault::fatal(Reason::defect(format!(
        "a request can't be built: {detail}"
    )))
}

/// An answer's body, as it comes.
enum Content {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>, bool),
}

impl Content {
    /// For an answer with these headers; those that no longer apply are removed.
    fn of(headers: &mut HeaderMap) -> Self {
        let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        if encoding == Some(b"gzip") {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            let decoder = MultiGzDecoder::new(Bounded::default());
            Self::Gzip(Box::new(decoder), false)
        } else {
            Self::Plain(Bounded::default())
        }
    }

    fn is_cut(&self) -> bool {
        match self {
            Self::Plain(bounded) => bounded.cut,
            Self::Gzip(decoder, _) => decoder.get_ref().cut,
        }
    }

    fn push(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(bounded) => bounded.write_all(chunk),
            Self::Gzip(decoder, begun) => {
                *begun |= !chunk.is_empty();
                decoder.write_all(chunk)
            }
        }
    }

    fn end(self) -> std::io::Result<Bounded> {
        match self {
            Self::Plain(bounded) => Ok(bounded),
            Self::Gzip(mut decoder, begun) => {
                // Nothing at all is no truncated stream.
                if begun && !decoder.get_ref().cut {
                    decoder.try_finish()?;
                }
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

/// The first `ANSWER_MAX` bytes; the others are dropped.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    cut: bool,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        let room = ANSWER_MAX - self.bytes.len();
        self.bytes
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.cut |= chunk.len() > room;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Service<Name> for PolicyResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        self.permitted(name.as_str().to_owned())
    }
}
