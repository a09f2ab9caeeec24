//! The two ways to a connector: an HTTP address, or a process that is ours.

use std::time::Duration;

use rowcast_core::{Applied, Check, Code, Fault, Reason, Value};

use super::protocol::{self, Request, RpcError};
use super::stdio::Process;
use super::web::Web;
use crate::http::service::Service;

/// How a connector is spoken to.
pub(super) enum Link {
    Web(Box<Web>),
    Process(Process),
}

/// What came back for a request.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The answer's text.
    pub(super) text: String,
    /// Requests a second that the whole connection may make (`X-RateLimit-Limit`).
    pub(super) requests_per_second: Option<u32>,
}

impl Link {
    /// Sends a request and waits for its answer. `key` is the idempotency key of what it writes.
    ///
    /// # Errors
    /// What happened on the way; whether the request can have had an effect is part of it.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        key: Option<&str>,
    ) -> Result<Exchange, Fault> {
        match self {
            Self::Web(web) => web.exchange(request, key).await,
            Self::Process(process) => process.exchange(request).await,
        }
    }

    /// The connector as messages name it, and what must be masked in its words.
    pub(super) fn service(&self) -> &Service {
        match self {
            Self::Web(web) => web.service(),
            Self::Process(process) => process.service(),
        }
    }

    /// Calls a method: its result, and how many requests a second may be made.
    ///
    /// # Errors
    /// What an error, an answer that is none, or no answer at all means.
    pub(super) async fn call(
        &self,
        request: &Request,
        key: Option<&str>,
    ) -> Result<(Value, Option<u32>), Fault> {
        let exchange = self.exchange(request, key).await?;
        match protocol::read(&exchange.text, &request.id) {
            Ok(Ok(result)) => Ok((result, exchange.requests_per_second)),
            Ok(Err(error)) => Err(fault(request.method, &error, self.service())),
            Err(why) => Err(Fault::lost(self.not_understood(request.method, &why))),
        }
    }

    /// An answer that is none.
    pub(super) fn not_understood(&self, method: &str, why: &str) -> Reason {
        Reason::new(
            Code::DestinationAnswer,
            format!(
                "the answer of {} to {method} can't be understood",
                self.service().host
            ),
        )
        .detail(self.service().tidy(why))
        .hint("`rowcast connectors test` shows what the connector is asked and what it answers")
    }

    /// Whether it can be reached; sends nothing. The second is whether it is worth going on.
    pub(super) async fn check(&self) -> (Vec<Check>, bool) {
        match self {
            Self::Web(web) => web.check().await,
            Self::Process(process) => match process.start().await {
                Ok(found) => (vec![Check::passed("start", found)], true),
                Err(fault) => (vec![Check::failed("start", fault.reason().clone())], false),
            },
        }
    }

    /// What would be sent, as text for people.
    pub(super) fn render(&self, request: &Request, key: Option<&str>) -> String {
        match self {
            Self::Web(web) => web.render(request, key),
            Self::Process(process) => process.render(request),
        }
    }
}

/// What an error that the connector answered with means.
///
/// | code | means |
/// |---|---|
/// | -32700, -32600, -32601, -32602 | the request was not understood: the run stops |
/// | 401, 403 | credentials: the run stops |
/// | 413 | too many records, nothing was written: halves |
/// | 429 | too fast, nothing was written: again after `data.retry_after` seconds |
/// | any other | it failed, and may have written some: again |
fn fault(method: &str, error: &RpcError, service: &Service) -> Fault {
    let said = service.tidy(&format!("error {}: {}", error.code, error.message));
    let host = &service.host;
    let reason = |code, message: String| Reason::new(code, message).detail(said.clone());
    match error.code {
        -32_700 | -32_602..=-32_600 => Fault::fatal(
            reason(
                Code::DestinationObject,
                format!("{host} does not understand {method}"),
            )
            .hint("`rowcast connectors test` shows what the connector is asked and what it answers"),
        ),
        401 | 403 => Fault::fatal(
            reason(
                Code::DestinationAuth,
                format!("{host} refused the credentials"),
            )
            .hint("look at the credentials of the destination, and at those the connector uses itself"),
        ),
        413 => Fault::Split {
            reason: reason(
                Code::RecordTooLarge,
                format!("{host} takes fewer records at once"),
            ),
        },
        429 => Fault::Transient {
            after: Some(error.retry_after.unwrap_or(Duration::from_secs(1))),
            applied: Applied::No,
            reason: reason(
                Code::DestinationBusy,
                format!("{host} asked to send slower"),
            ),
        },
        _ => Fault::Transient {
            after: error.retry_after,
            applied: Applied::Unknown,
            reason: reason(Code::DestinationBusy, format!("{method} of {host} failed")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_anything_can_have_been_written() {
        let service = Service {
            host: "connector".into(),
            secrets: vec!["hunter2".into()],
        };
        let of = |code| {
            let error = RpcError {
                code,
                message: "no: hunter2".into(),
                retry_after: None,
            };
            fault("sync_batch", &error, &service)
        };
        for code in [-32_700, -32_600, -32_601, -32_602, 401, 403] {
            assert!(matches!(of(code), Fault::Fatal { .. }), "{code}");
        }
        assert!(matches!(of(413), Fault::Split { .. }));
        assert_eq!(of(429).applied(), Applied::No);
        for code in [0, -32_603, -32_000, 500] {
            assert_eq!(of(code).applied(), Applied::Unknown, "{code}");
        }
        assert!(!format!("{:?}", of(0)).contains("hunter2"));
    }
}
