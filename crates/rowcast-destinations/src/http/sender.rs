//! Sends prepared requests: the client, who we are, and whom we speak to.

use std::time::UNIX_EPOCH;

use reqwest::header::HeaderValue;
use rowcast_core::{Check, Fault, Reason};
use url::Url;

use super::auth::Auth;
use super::client::{Answer, Client, wall_clock};
use super::request::Prepared;
use super::service::Service;
use crate::signature;

/// Everything between a prepared request and its answer.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) auth: Auth,
    pub(crate) service: Service,
}

impl Sender {
    /// Sends one request; `id` is what a signature signs beside the body.
    ///
    /// # Errors
    /// What happened to the connection; never a status of the service.
    pub(crate) async fn send(&self, prepared: &Prepared, id: &str) -> Result<Answer, Fault> {
        let mut request = reqwest::Request::new(prepared.method.clone(), prepared.url.clone());
        for (name, value) in &prepared.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let body = prepared.body.clone().unwrap_or_default();
        if let Auth::Hmac(key) = &self.auth {
            let now = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
            let signature = signature::sign(key, id, now.as_secs(), &body);
            let texts = [
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", now.as_secs().to_string()),
                ("webhook-signature", signature),
            ];
            for (name, text) in texts {
                let value = HeaderValue::from_str(&text).map_err(|_| {
                    Fault::fatal(Reason::defect("a signature is not a header value"))
                })?;
                request.headers_mut().insert(name, value);
            }
        }
        if prepared.body.is_some() {
            *request.body_mut() = Some(body.into());
        }
        self.client.send(request, &self.service.host).await
    }

    /// Looks the host up and connects to it; sends nothing. Whether it worked, too.
    pub(crate) async fn check_connection(&self, root: &Url) -> (Vec<Check>, bool) {
        let host = &self.service.host;
        let addresses = match self.client.resolve(root, host).await {
            Ok(addresses) => addresses,
            Err(fault) => {
                let checks = vec![
                    Check::failed("resolve", fault.reason().clone()),
                    Check::skipped("connect", "the name must resolve first"),
                ];
                return (checks, false);
            }
        };
        let found: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let resolved = Check::passed("resolve", found.join(", "));
        match self.client.connect(root, addresses, host).await {
            Ok(found) => (vec![resolved, Check::passed("connect", found)], true),
            Err(reason) => (vec![resolved, Check::failed("connect", reason)], false),
        }
    }
}
