//! The stores' way out: every request of the library goes through the HTTP toolkit's client, so
//! that the address policy holds, TLS is ours, and answers are bounded.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, RetryConfig};
use rowcast_core::address::AddressPolicy;
use rowcast_core::connector::Problems;
use rowcast_core::{Applied, DestinationConfig, Fault, Reason};
use rowcast_destinations::http::client::{Client, SystemLookup};
use url::Url;

/// How often one request is tried again: the engine can't, because a run is published at once.
const RETRIES: usize = 4;

/// A store's service: where it is and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Service {
    client: Client,
    root: Url,
    host: String,
}

impl Service {
    /// From the root of the service's addresses.
    pub(crate) fn new(
        config: &DestinationConfig,
        root: Url,
        timeout: Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let policy = AddressPolicy::read(config, problems)?;
        let secure = root.scheme() == "https";
        let host = root.host_str().unwrap_or_default().to_owned();
        match Client::new(policy, Arc::new(SystemLookup), timeout, secure) {
            Ok(client) => Some(Self { client, root, host }),
            Err(reason) => {
                problems.push("settings", reason);
                None
            }
        }
    }

    /// Looks the host up and connects to it; sends nothing.
    pub(crate) async fn connect(&self) -> Result<String, Reason> {
        let addresses = self.client.resolve(&self.root, &self.host).await;
        let addresses = addresses.map_err(|fault| fault.reason().clone())?;
        self.client.connect(&self.root, addresses, &self.host).await
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({})", self.host)
    }
}

impl HttpConnector for Service {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|err| HttpError::new(HttpErrorKind::Unknown, err))?;
        let body = body.collect().await?.to_bytes();
        let answer = self
            .client
            .exchange(parts.method, url, parts.headers, body, &self.host)
            .await
            .map_err(|fault| HttpError::new(kind(&fault), Failed(fault)))?;
        if answer.cut {
            let reason = Reason::defect(format!("an answer of {} is too long", self.host));
            return Err(HttpError::new(
                HttpErrorKind::Decode,
                Failed(Fault::fatal(reason)),
            ));
        }
        let body = Full::new(Bytes::from(answer.body));
        let body = HttpResponseBody::new(body.map_err(|never| match never {}));
        let mut response = HttpResponse::new(body);
        *response.status_mut() = http::StatusCode::from_u16(answer.status)
            .map_err(|err| HttpError::new(HttpErrorKind::Decode, err))?;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// What the library may try again: never what a person must mend.
fn kind(fault: &Fault) -> HttpErrorKind {
    match fault {
        Fault::Transient {
            applied: Applied::No,
            ..
        } => HttpErrorKind::Connect,
        Fault::Transient { .. } => HttpErrorKind::Interrupted,
        Fault::Split { .. } | Fault::Fatal { .. } => HttpErrorKind::Unknown,
    }
}

/// Our own fault on its way through the library's errors.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) Fault);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.reason().fmt(f)
    }
}

impl std::error::Error for Failed {}

/// How often requests are tried again, and for how long.
pub(crate) fn retries(timeout: Duration) -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES,
        retry_timeout: timeout,
        ..RetryConfig::default()
    }
}
